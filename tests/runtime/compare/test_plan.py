"""What a compare file means: its cases, their sizes, and what is refused before anything runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from flexit.errors import UserError
from flexit.ir.analysis.cost import count_parameters
from flexit.ir.compile import compile_spec
from flexit.runtime.compare.plan import plan

Write = Callable[..., Path]
DEEP = '{set: ["blocks.decoder.n_layers=99"]}'
NONE = '{set: ["blocks.decoder.layer.attention.rotary=null"]}'


def test_every_variant_with_every_combination_of_the_grid(write_compare: Write) -> None:
    found = plan(
        write_compare(
            set='["optimizer.lr=5e-4"]', variants=f"{{rotary: {{}}, none: {NONE}}}",
            grid="{optimizer.weight_decay: [0.0, 0.1], blocks.decoder.layer.dropout: [0.2]}",
        )
    )  # fmt: skip
    assert [case.name for case in found.cases] == [
        "rotary weight_decay=0.0 dropout=0.2", "rotary weight_decay=0.1 dropout=0.2",
        "none weight_decay=0.0 dropout=0.2", "none weight_decay=0.1 dropout=0.2",
    ]  # fmt: skip
    last = found.cases[-1].config
    assert (last.optimizer.lr, last.optimizer.weight_decay) == (5e-4, 0.1)
    assert last.set == [
        "blocks.embed.vocab_size=300", "blocks.decoder.layer.attention.rotary=null", "blocks.decoder.layer.dropout=0.2",
    ]  # fmt: skip
    assert found.cases[-1].sets == (*last.set[1:2], "optimizer.weight_decay=0.1", *last.set[2:])


def test_texts_of_a_grid_are_yaml_and_places_that_end_alike_are_told_in_full(write_compare: Write) -> None:
    found = plan(write_compare(grid="{schedule: [constant, '{kind: cosine, warmup: 2}'], ema.decay: [0.9]}"))
    assert [case.config.schedule.kind for case in found.cases] == ["constant", "cosine"]
    assert found.cases[1].name == "schedule={kind: cosine, warmup: 2} decay=0.9"
    assert "/" not in found.cases[1].folder and " " not in found.cases[1].folder
    alike = plan(write_compare(grid="{blocks.decoder.layer.dropout: [0.1], blocks.embed.dropout: [0.2]}"))
    assert alike.cases[0].name == "blocks.decoder.layer.dropout=0.1 blocks.embed.dropout=0.2"


def test_the_run_config_as_it_is(write_compare: Write) -> None:
    (case,) = plan(write_compare(seeds="[0, 1]")).cases
    assert case.name == "base" and case.sets == () and case.sized is None


def test_a_model_of_its_own(write_compare: Write, tmp_path: Path) -> None:
    found = plan(write_compare(variants="{llama: {}, gpt: {model: tiny-gpt2}}"))
    assert [case.spec.name for case in found.cases] == ["tiny-llama", "tiny-gpt2"]
    assert found.cases[1].parameters == count_parameters(compile_spec(found.cases[1].spec))


@pytest.mark.parametrize("to", ["null", "shallow"])
def test_sizes_are_matched(write_compare: Write, to: str) -> None:
    shallow = '{set: ["blocks.decoder.n_layers=1"]}'
    found = plan(write_compare(variants=f"{{deep: {{}}, shallow: {shallow}}}", match=f"{{to: {to}, vary: d_ff}}"))
    deep, other = found.cases
    fixed, changed = (deep, other) if to == "null" else (other, deep)
    assert fixed.sized is not None and fixed.sized.sets == ()
    assert changed.sized is not None and changed.sized.wanted == fixed.parameters
    assert changed.sized.sets[0].startswith("blocks.decoder.layer.feed_forward.d_ff=")
    assert changed.config.set[-1] == changed.sized.sets[0] == changed.sets[-1]
    assert changed.parameters == count_parameters(compile_spec(changed.spec)) == changed.sized.figure
    assert abs(changed.parameters / fixed.parameters - 1) < 0.002


@pytest.mark.parametrize(
    ("lines", "code", "message"),
    [
        ({"variants": "{a/b: {}}"}, "FX2301", "no name for a variant"),
        ({"variants": "{a: {}, A: {}}"}, "FX2301", "two variants would have one folder"),
        ({"seeds": "[1, 1]"}, "FX2301", "a seed stands twice"),
        ({"seeds": "[]"}, "FX2301", "no seed"),
        ({"grid": "{optimizer.lr: []}"}, "FX2301", "optimizer.lr has no values"),
        ({"grid": "{optimizer.lr: [1.0, 1.0]}"}, "FX2301", "a value twice"),
        ({"grid": "{optimiser.lr: [1.0]}"}, "FX2301", "an override of neither"),
        ({"set": '["seed=1"]'}, "FX2301", "an override of neither"),
        ({"set": '["steps"]'}, "FX2301", "cannot be read"),
        ({"variants": '{a: {set: ["model=x"]}}'}, "FX2301", "an override of neither"),
        ({"match": "{to: b}", "variants": "{a: {}}"}, "FX2301", "no variant of this name"),
        ({"variants": '{a: {}, b: {set: ["steps=20"]}}'}, "FX2302", "b would not be compared by its number of tokens"),
        ({"variants": '{a: {}, b: {set: ["data.seq_len=8"]}}'}, "FX2302", "b would not be compared by its data"),
        ({"set": '["evaluate=null", "data.validation=null"]'}, "FX2302", "does not look at held-out text"),
        ({"variants": '{a: {}, b: {set: ["optimizer.rl=1"]}}'}, "FX0201", "b: unknown field"),
        ({"variants": '{a: {model: tiny-lama}}'}, "FX1501", "a: no spec, preset or checkpoint"),
        ({"variants": f"{{a: {{}}, b: {DEEP}}}", "match": "{vary: d_ff}"}, "FX2303", "matches"),
        ({"run": "none.yaml"}, "FX0100", "none.yaml"),
        ({"varants": "{}"}, "FX0201", "unknown field"),
        ({"out": ""}, "FX0202", "missing"),
    ],
)  # fmt: skip
def test_what_is_refused(write_compare: Write, lines: dict[str, str], code: str, message: str) -> None:
    with pytest.raises(UserError, match=message) as refused:
        plan(write_compare(**lines))
    assert refused.value.code == code
    first = refused.value.problems[0]
    assert first.expected and first.found and first.cure


def test_lengths_of_a_task_with_a_row_per_record(write_compare: Write, tmp_path: Path) -> None:
    run = tmp_path / "run.yaml"
    text = (
        run.read_text()
        .replace("causal_lm", "sequence_classification")
        .replace("model: tiny-llama", "model: tiny-bert-classifier")
    )
    text = text.replace('set: ["blocks.embed.vocab_size=300"]\n', "").replace("tokenizer: bpe", "tokenizer: bytes")
    run.write_text(text)
    with pytest.raises(UserError, match="rows of sequence_classification are as long as its records") as refused:
        plan(write_compare(extrapolate="[32]", set='["blocks.embed.vocab_size=300"]'))
    assert refused.value.code == "FX2302"


def test_a_compare_file_in_the_place_of_a_run_config_and_the_reverse(write_compare: Write, tmp_path: Path) -> None:
    from flexit.runtime.compare.read import read_compare
    from flexit.runtime.train.read import read_config

    with pytest.raises(UserError, match="this is a compare file, not a run config") as refused:
        read_config(write_compare(seeds="[0]"))
    assert "flexit compare" in refused.value.problems[0].cure
    with pytest.raises(UserError, match="this is a run config, not a compare file") as refused:
        read_compare(tmp_path / "run.yaml")
    assert "run: run.yaml" in refused.value.problems[0].cure
