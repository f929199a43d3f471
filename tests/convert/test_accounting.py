"""A checkpoint in which something does not add up: each fault is listed, the command ends with 2 and writes nothing."""

import json
from pathlib import Path
from random import Random

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file

from flexit.cli.app import run
from flexit.convert.layouts import LAYOUTS
from flexit.convert.mapping.forms import forms
from flexit.convert.pretrained import from_pretrained
from flexit.convert.tensors import LazyTensor, combined
from flexit.errors import SourceError, UserError
from tests.convert.families.drawn.llama import any_llama

EMBED, HEAD, NORM = "model.embed_tokens.weight", "lm_head.weight", "model.norm.weight"


@pytest.fixture
def theirs(tmp_path):
    """A Llama whose head is a table of its own."""
    torch.manual_seed(0)
    model = any_llama(Random(3), "causal")
    model.config.tie_word_embeddings = False
    model.lm_head.weight = torch.nn.Parameter(torch.randn_like(model.lm_head.weight))
    model.save_pretrained(tmp_path / "theirs")
    return tmp_path / "theirs"


def edit_tensors(folder, change):
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors")


def edit_config(folder, **entries):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **entries}))


FAULTS = {
    "FX1850": lambda folder: edit_config(folder, model_type="no_such_model"),
    "FX1853": lambda folder: edit_config(folder, architectures=["LlamaForEverything"]),
    "FX1854": lambda folder: edit_config(folder, swirl=3),
    "FX1855": lambda folder: edit_config(folder, pretraining_tp=2),
    "FX1856": lambda folder: edit_config(folder, num_hidden_layers=0),
    "FX1860": lambda folder: edit_tensors(folder, lambda tensors: tensors.pop(NORM)),
    "FX1861": lambda folder: edit_tensors(folder, lambda tensors: tensors.update(more=np.ones(2, np.float32))),
    "FX1862": lambda folder: edit_tensors(folder, lambda tensors: tensors.update({NORM: np.ones(3, np.float32)})),
}


@pytest.mark.parametrize("code", FAULTS)
def test_what_does_not_add_up_is_listed_and_nothing_is_written(theirs, tmp_path, capsys, code):
    FAULTS[code](theirs)
    with pytest.raises(SourceError) as told:
        from_pretrained(theirs)
    assert {problem.code for problem in told.value.problems} == {code}
    assert run(["import", str(theirs), "-o", str(tmp_path / "ours")]) == 2
    printed = capsys.readouterr().err
    assert code in printed
    assert "Traceback" not in printed
    assert not list(tmp_path.glob("ours*"))


def test_every_missing_tensor_is_listed(theirs):
    edit_tensors(theirs, lambda tensors: [tensors.pop(name) for name in (NORM, HEAD)])
    with pytest.raises(SourceError) as told:
        from_pretrained(theirs)
    assert sorted(problem.path for problem in told.value.problems) == sorted((NORM, HEAD))


def test_of_very_many_faults_of_one_kind_the_first_are_listed(theirs):
    more = {f"more.{index}": np.ones(1, np.float32) for index in range(150)}
    edit_tensors(theirs, lambda tensors: tensors.update(more))
    with pytest.raises(SourceError, match="and so 50 more") as told:
        from_pretrained(theirs)
    assert len(told.value.problems) == 100


def test_many_more_layers_than_tensors_are_refused_at_once(theirs):
    edit_config(theirs, num_hidden_layers=100_000)
    with pytest.raises(SourceError, match="tensors of 100,000 layers") as told:
        from_pretrained(theirs)
    assert [problem.path for problem in told.value.problems] == ["num_hidden_layers"]


@pytest.mark.parametrize("named", ["MyCausalLM", "MyForCausalLM", "MyModel"])
@pytest.mark.parametrize("mapping", [True, False])
def test_a_model_with_a_class_of_its_own_has_the_layers_of_a_family(theirs, tmp_path, named, mapping):
    known = from_pretrained(theirs)
    edit_config(theirs, model_type="mine", architectures=[named])
    family = tmp_path / "mine.yaml"
    family.write_text("family: mine\nextends: llama\n")
    if named == "MyModel":  # which has no head
        edit_tensors(theirs, lambda tensors: tensors.pop(HEAD))
    model = from_pretrained(theirs, family=family if mapping else "llama")
    assert model.head == ("hidden" if named == "MyModel" else "causal")
    assert list(model.weights) == [path for path in known.weights if named != "MyModel" or not path.startswith("head.")]


def test_a_class_of_its_own_says_what_its_head_is_for(theirs):
    width = load_file(theirs / "model.safetensors")[NORM].shape[0]
    scores = {"score.weight": np.ones((3, width), np.float32)}
    edit_tensors(theirs, lambda tensors: [tensors.pop(HEAD), tensors.update(scores)])
    own = {"model_type": "mine", "pad_token_id": 0, "id2label": {"0": "a", "1": "b", "2": "c"}}
    edit_config(theirs, architectures=["MyForSequenceClassification"], **own)
    assert from_pretrained(theirs, family="llama").head == "sequence"
    edit_tensors(theirs, lambda tensors: tensors.update({"score.bias": np.ones(3, np.float32)}))
    edit_config(theirs, architectures=["MyForTokenClassification"])
    assert from_pretrained(theirs, family="llama").head == "token"


def test_tables_that_differ_are_not_tied(theirs):
    edit_config(theirs, tie_word_embeddings=True)
    differing = from_pretrained(theirs)
    assert "head.table.weight" in differing.weights
    edit_tensors(theirs, lambda tensors: tensors.update({HEAD: tensors[EMBED].copy()}))
    assert "head.table.weight" not in from_pretrained(theirs).weights
    edit_config(theirs, tie_word_embeddings=False)
    assert "head.table.weight" in from_pretrained(theirs).weights


def test_weights_that_are_no_numbers_are_told(theirs, tmp_path, capsys):
    edit_tensors(theirs, lambda tensors: tensors[NORM].__setitem__(1, np.nan))
    assert run(["import", str(theirs), "-o", str(tmp_path / "ours")]) == 0
    assert "FX1871 warning decoder.final_norm.weight" in capsys.readouterr().err
    assert (tmp_path / "ours" / "spec.yaml").is_file()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("family: x\n", "Field required"), ("family: x\nextends: llama\nswirl: 1\n", "Extra inputs"),
        ("family: x\nextends: llama\nkeys: {a: {$swirl: 1}}\n", "no form"),
        ('family: x\nextends: llama\ntensors: {a: {to: "b.{n}"}}\n', "not in the name"),
        ("family: x\nextends: llama\ntensors: {a: {to: b, layout: swirl}}\n", "no layout"),
        ("family: x\nextends: swirl\n", "no family"),
    ],
)  # fmt: skip
def test_mapping_files_that_are_none(theirs, tmp_path, text, said):
    (tmp_path / "mine.yaml").write_text(text)
    with pytest.raises(UserError) as told:
        from_pretrained(theirs, family=tmp_path / "mine.yaml")
    assert {problem.code for problem in told.value.problems} <= {"FX1850", "FX1851"}
    assert said in str(told.value)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("keys: {rms_norm_eps: $rms_norm_eps}\n", "FX1851"), ("ahead: {'x.{n}': [a, b]}\n", "FX1855"),
        ("tensors: {norm.weight: {to: decoder.final_norm.weight, stride: 0}}\n", "FX1855"),
        ("heads: {causal: {tensors: {lm_head.weight: {to: head.table.weight, tied_to: x, when: y}}}}\n", "FX1855"),
    ],
)  # fmt: skip
def test_mapping_files_that_come_to_nothing(theirs, tmp_path, text, code):
    config = json.loads((theirs / "config.json").read_text())
    (theirs / "config.json").write_text(json.dumps({key: config[key] for key in config if key != "rms_norm_eps"}))
    (tmp_path / "mine.yaml").write_text(f"family: x\nextends: llama\n{text}")
    with pytest.raises(SourceError) as told:
        from_pretrained(theirs, family=tmp_path / "mine.yaml")
    assert told.value.problems[0].code == code


def test_one_parameter_of_two_number_formats():
    parts = [
        LazyTensor((1,), "F32", lambda: np.ones(1, np.float32)),
        LazyTensor((1,), "F16", lambda: np.ones(1, np.float16)),
    ]
    with pytest.raises(SourceError, match="FX1864"):
        combined(parts, (2,), np.concatenate)


def test_the_page_has_every_form_and_layout():
    page = (Path(__file__).parents[2] / "docs" / "mapping-files.md").read_text(encoding="utf-8")
    assert [name for name in forms() if f"{{${name}:" not in page] == []
    assert [name for name in LAYOUTS if f"`{name}`" not in page and f"`{{{name}:" not in page] == []


def test_a_checkpoint_of_theirs_is_evaluated_as_it_is(theirs, tmp_path, capsys):
    from flexit.runtime.tokenizer import Tokenizer

    edit_config(theirs, vocab_size=300, tie_word_embeddings=False)
    width = load_file(theirs / "model.safetensors")[EMBED].shape[1]
    table = np.random.default_rng(0).standard_normal((300, width)).astype(np.float32)
    edit_tensors(theirs, lambda tensors: tensors.update({EMBED: table, HEAD: table + 1}))
    words = "words that are predicted, one after the other"
    (theirs / "tokenizer.json").write_text(Tokenizer.train([words] * 3, vocab_size=290).dumps())
    (tmp_path / "text.txt").write_text(words)
    assert run(["eval", str(theirs), "--data", str(tmp_path / "text.txt"), "--json"]) == 0
    told = capsys.readouterr()
    found = json.loads(told.out)
    assert (found["bytes"], told.err.count("FX1871")) == (len(words), 0)
    edit_tensors(theirs, lambda tensors: tensors[EMBED].__setitem__((299, 0), np.nan))  # of a token that is not there
    assert run(["import", str(theirs), "-o", str(tmp_path / "ours")]) == 0
    for place in (theirs, tmp_path / "ours"):
        capsys.readouterr()
        assert run(["eval", str(place), "--data", str(tmp_path / "text.txt"), "--json"]) == 0
        told = capsys.readouterr()
        assert json.loads(told.out) == found
        assert told.err.count("FX1871 warning embed.tokens.weight") == 1
