"""Run configs: what is accepted, and the message for everything that is not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from flexit.errors import RunConfigError, UserError
from flexit.runtime.tokenizer import SEPARATOR, Tokenizer, may_be_learnt
from flexit.runtime.train.data.tokenizers.bpe import Bpe
from flexit.runtime.train.describe import config_data, to_yaml
from flexit.runtime.train.model import find_model
from flexit.runtime.train.optimizers.adamw import AdamW
from flexit.runtime.train.read import parse_config
from flexit.runtime.train.schedules.cosine import Cosine

GOOD = """\
flexit: 1
model: demo-decoder
task: causal_lm
data:
  train: {kind: text, files: [corpus/*.txt]}
  validation: {split: 0.05}
  seq_len: 64
  tokenizer: {kind: bpe, vocab_size: 4096}
batch: {size: 16, accumulate: 1}
optimizer: {kind: adamw, lr: 1e-3, weight_decay: 0.1, betas: [0.9, 0.95]}
schedule: {kind: cosine, warmup: 100}
steps: 1000
precision: fp32
evaluate: {every: 200}
checkpoint: {every: 200, keep_last: 2, keep_best: 1}
seed: 0
out: runs/tiny
"""


def test_a_good_one():
    config, _ = parse_config(GOOD)
    assert isinstance(config.optimizer, AdamW)
    assert isinstance(config.schedule, Cosine)
    assert isinstance(config.data.tokenizer, Bpe)
    assert (config.schedule.final, config.optimizer.eps, config.clip_norm, config.device) == (0.1, 1e-8, 1.0, "auto")


def test_the_smallest():
    config, _ = parse_config(
        "{flexit: 1, model: gpt2, task: causal_lm, steps: 5, out: x,"
        " data: {train: {kind: text, files: [a]}, seq_len: 8, tokenizer: bpe}}"
    )
    assert config.checkpoint.every == 200
    assert config.threads is None


def test_written_out_it_means_the_same():
    config, _ = parse_config(GOOD)
    assert parse_config(to_yaml(config_data(config)))[0] == config


@pytest.mark.parametrize(
    ("change", "cure"),
    [
        (("checkpoint: {every: 200, keep_last: 2, keep_best: 1}", "checkpoint: 10"), "write checkpoint: {every: 10}"),
        (("batch: {size: 16, accumulate: 1}", "batch: 8"), "write batch: {size: 8}"),
        (("batch: {size: 16, accumulate: 1}", "batch_size: 8"), "write batch: {size: 8}"),
        (("{split: 0.05}", "0.05"), "write validation: {split: 0.05}"),
        (("evaluate: {every: 200}", "evaluate: 50"), "write evaluate: {every: 50}"),
        (
            ("optimizer: {kind: adamw, lr: 1e-3, weight_decay: 0.1, betas: [0.9, 0.95]}", "optimizer: 3e-4"),
            "write optimizer: {kind: adamw, lr: 0.0003}",
        ),
    ],
)
def test_a_number_in_the_place_of_a_group_is_kept_in_the_cure(change: tuple[str, str], cure: str):
    with pytest.raises(RunConfigError) as caught:
        parse_config(GOOD.replace(*change))
    (problem,) = caught.value.problems
    assert problem.cure == cure
    parse_config(GOOD.replace(change[0], cure.partition(" ")[2].removeprefix("validation: ")))


@pytest.mark.parametrize(
    ("line", "cure"),
    [
        ("learning_rate: 1e-3", "write lr under optimizer"),
        ("seq_len: 32", "write it under data"),
        ("max_steps: 5", "write steps"),
        ("checkpoint_every: 5", "write checkpoint: {every: 5}"),
        ("nonsense: 5", "delete it, or write one of these fields"),
    ],
)
def test_a_field_that_stands_elsewhere(line: str, cure: str):
    with pytest.raises(RunConfigError) as caught:
        parse_config(f"{GOOD}{line}\n")
    (problem,) = caught.value.problems
    assert (problem.code, problem.cure) == ("FX0201", cure)


def test_overrides():
    config, _ = parse_config(GOOD, sets=["steps=7", "schedule=constant", "optimizer.lr=3e-4", "batch.accumulate=4"])
    assert (config.steps, config.schedule.kind, config.batch.size, config.batch.accumulate) == (7, "constant", 16, 4)
    assert isinstance(config.optimizer, AdamW)
    assert (config.optimizer.lr, config.optimizer.weight_decay) == (3e-4, 0.1)


GOLDEN = [
    (
        ("optimizer: {kind: adamw, lr: 1e-3,", "optimizer: {kind: adamw, lr: -1,"),
        """\
run.yaml:10:30: FX0206 optimizer.lr: out of range
  expected a number > 0; found -1
  do: write a number > 0""",
    ),
    (
        ("batch: {size: 16,", "batch: {sise: 16,"),
        """\
run.yaml:9:9: FX0201 batch.sise: unknown field
  expected one of size, accumulate; found sise
  do: write size""",
    ),
    (
        ("steps: 1000\n", ""),
        """\
run.yaml:1:1: FX0202 steps: required field is missing
  expected an integer >= 1 (there is no default); found nothing
  do: add steps: 1""",
    ),
    (
        ("kind: cosine", "kind: cosin"),
        """\
run.yaml:11:18: FX0203 schedule: no Schedule of this kind
  expected one of constant, cosine, inverse_sqrt, linear, wsd; found cosin
  do: write cosine""",
    ),
    (
        ("precision: fp32", "precision: fp8"),
        """\
run.yaml:13:12: FX0207 precision: not one of the words
  expected one of fp32, bf16, fp16; found fp8
  do: write one of them""",
    ),
    (
        ("seed: 0", "seed: null"),
        """\
run.yaml:16:7: FX0208 seed: null, but there is nothing to switch off
  expected an integer >= 0; found null
  do: leave seed out for its default, 0""",
    ),
    (
        ("flexit: 1", "flexit: 2"),
        """\
run.yaml:1:9: FX0108 flexit: not a version that can be read
  expected flexit: 1; found 2
  do: write flexit: 1, or use a flexit that reads that version""",
    ),
    (
        ("evaluate: {every: 200}\n", ""),
        """\
run.yaml:6:15: FX1505 data.validation: has no effect without evaluate
  expected both of them, or neither; found no evaluate
  do: add evaluate: {every: 200}, or delete data.validation
run.yaml:14:51: FX1509 checkpoint.keep_best: there is no best without evaluation
  expected evaluate and data.validation; found neither
  do: add evaluate: {every: 200} and validation: {split: 0.05} under data, or delete keep_best""",
    ),
    (
        ("  validation: {split: 0.05}\n", ""),
        """\
run.yaml:13:11: FX1505 evaluate: has no effect without data.validation
  expected both of them, or neither; found no data.validation
  do: add validation: {split: 0.05} under data, or delete evaluate""",
    ),
    (
        ("betas: [0.9, 0.95]", "betas: [0.9]"),
        """\
run.yaml:10:62: FX1506 optimizer.betas: not two numbers
  expected the decay of the first and the second moment; found 1 numbers
  do: write betas: [0.9, 0.95]""",
    ),
    (
        ("warmup: 100", "warmup: 1000"),
        """\
run.yaml:11:34: FX1507 schedule.warmup: the warm-up is as long as the run
  expected fewer than steps, 1000; found 1000
  do: set schedule.warmup to 100""",
    ),
    (
        ("checkpoint: {every: 200,", "checkpoint: {every: 500,"),
        """\
run.yaml:15:51: FX1509 checkpoint.keep_best: checkpoints fall between evaluations
  expected checkpoint.every a multiple of evaluate.every, 200; found 500
  do: set checkpoint.every to 400""",
    ),
    (
        ("keep_best: 1}", "keep_every: 500}"),
        """\
run.yaml:15:52: FX1509 checkpoint.keep_every: no checkpoint falls on these steps
  expected a multiple of checkpoint.every, 200; found 500
  do: set checkpoint.keep_every to 400""",
    ),
]


@pytest.mark.parametrize(("change", "message"), GOLDEN, ids=[change[0].strip() for change, _ in GOLDEN])
def test_messages(change: tuple[str, str], message: str):
    assert change[0] in GOOD
    with pytest.raises(RunConfigError) as caught:
        parse_config(GOOD.replace(*change), "run.yaml")
    assert str(caught.value) == message


MODEL = [
    (
        ("model: demo-decoder", "model: demo-decode"),
        "FX1501",
        "run.yaml:2:8: FX1501 model: no spec, preset or checkpoint of this name",
        "do: write demo-decoder",
    ),
    (
        ("model: demo-decoder", 'model: ""'),
        "FX1501",
        "run.yaml:2:8: FX1501 model: no spec, preset or checkpoint of this name",
        "found an empty text",
    ),
    (
        ("model: demo-decoder", "model: tiny-bert-classifier"),
        "FX0801",
        "run.yaml:3:7: FX0801 task: the model cannot do causal_lm",
        "do: name a decoder as model, such as tiny-llama, or train this one in Python with flexit.Trainer",
    ),
    (
        ("vocab_size: 4096", "vocab_size: 5000"),
        "FX1502",
        "run.yaml:8:38: FX1502 data.tokenizer.vocab_size: more tokens than the model has rows for",
        "do: set data.tokenizer.vocab_size to 4096 or less, or give the model a vocab_size of 5000 or more",
    ),
    (
        ("seed: 0", "losses: {router_balance: 0.01}"),
        "FX1508",
        "run.yaml:16:26: FX1508 losses.router_balance: the model routes nothing",
        "found none in demo-decoder",
    ),
    (
        ("seed: 0", "losses: {router_z: 0.01}"),
        "FX1508",
        "run.yaml:16:20: FX1508 losses.router_z: the model routes nothing",
        "found none in demo-decoder",
    ),
]


@pytest.mark.parametrize(
    ("change", "code", "head", "tail"), MODEL, ids=[f"{entry[1]}-{entry[0][1]}" for entry in MODEL]
)
def test_models_that_do_not_fit(tmp_path: Path, change: tuple[str, str], code: str, head: str, tail: str):
    config, root = parse_config(GOOD.replace(*change), "run.yaml")
    with pytest.raises(RunConfigError) as caught:
        find_model(config, root, tmp_path)
    assert caught.value.code == code
    assert str(caught.value).startswith(head)
    assert tail in str(caught.value)


def test_rows_longer_than_the_position_table(tmp_path: Path):
    text = GOOD.replace("demo-decoder", "gpt2").replace("seq_len: 64", "seq_len: 2000")
    with pytest.raises(RunConfigError, match="at most 1024; found 2000") as caught:
        find_model(*parse_config(text), tmp_path)
    assert caught.value.code == "FX1503"


def test_a_vocabulary_too_small_for_bytes(tmp_path: Path):
    text = GOOD.replace("demo-decoder", "tiny-llama").replace("{kind: bpe, vocab_size: 4096}", "bpe")
    with pytest.raises(RunConfigError, match="vocab_size of 257 or more"):
        find_model(*parse_config(text), tmp_path)


def test_a_folder_that_is_no_checkpoint(tmp_path: Path):
    (tmp_path / "demo-decoder").mkdir()
    with pytest.raises(UserError, match="is no checkpoint") as caught:
        find_model(*parse_config(GOOD), tmp_path)
    assert caught.value.code == "FX1201"
    with pytest.raises(UserError, match="fixed by its weights") as caught:
        find_model(*parse_config(GOOD, sets=["set=[blocks.decoder.n_layers=2]"]), tmp_path)
    assert caught.value.code == "FX1504"


def test_a_file_that_is_not_there(tmp_path: Path):
    from flexit.runtime.train.read import read_config

    with pytest.raises(RunConfigError, match="cannot be read"):
        read_config(tmp_path / "none.yaml")


@pytest.mark.parametrize("text", ["nonsense", "=5", "a..b=1"])
def test_an_override_that_is_none(text: str):
    with pytest.raises(RunConfigError, match="not an override"):
        parse_config(GOOD, sets=[text])


@pytest.mark.parametrize("separator", ["", "a", "the", "Ġthe", "!?", "12"])
def test_a_separator_that_text_may_become(separator: str):
    """Trained with such a one, the tokenizer has one token fewer than it should: they are the same."""
    text = ["the 12 that a the!? " * 50]
    assert may_be_learnt(separator)
    if separator:
        sizes = [Tokenizer.train(text, vocab_size=300, separator=each).vocab_size for each in (separator, SEPARATOR)]
        assert sizes[0] == sizes[1] - 1
    config = GOOD.replace("vocab_size: 4096", f"vocab_size: 4096, separator: {json.dumps(separator)}")
    with pytest.raises(RunConfigError, match="FX1606 data"):
        parse_config(config)


@pytest.mark.parametrize("separator", [SEPARATOR, "日", " ", "\n", "<eos>", "x1", "#end#"])
def test_a_separator_that_is_none_of_the_text(separator: str):
    text = ["the <eos> x1 #end# 日 \n" * 50]
    assert not may_be_learnt(separator)
    tokenizer = Tokenizer.train(text, vocab_size=400, separator=separator)
    assert tokenizer.separator_id == 0
    assert tokenizer.encode(text[0]).count(0) == 0
    assert tokenizer.decode(tokenizer.encode(text[0])) == text[0]
    parse_config(GOOD.replace("vocab_size: 4096", f"vocab_size: 4096, separator: {json.dumps(separator)}"))


def test_no_files():
    with pytest.raises(RunConfigError, match="no files to learn from") as caught:
        parse_config(GOOD.replace("[corpus/*.txt]", "[]"))
    cure = caught.value.problems[0].cure
    parse_config(GOOD.replace("files: [corpus/*.txt]", cure.removeprefix("write ").partition(", with")[0]))
