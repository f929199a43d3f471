"""Folders of sentence-transformers, made by hand: the vectors against numpy on the encoder's own states."""

import json
from random import Random

import numpy as np
import pytest
import torch
import transformers as hf
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace

from flexit.cli.app import run
from flexit.convert.pretrained import from_pretrained, spec_of
from flexit.convert.to_pretrained import to_pretrained
from flexit.errors import SourceError
from flexit.lower.torch.module import to_torch
from tests.convert.families.drawn.qwen3 import any_qwen3

MASK = np.array([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]])
IDS = np.array([[5, 6, 7, 8, 9], [9, 8, 7, 1, 1]])
POOLED = {
    "pooling_mode_cls_token": lambda states: states[0],
    "pooling_mode_mean_tokens": lambda states: states.mean(axis=0),
    "pooling_mode_max_tokens": lambda states: states.max(axis=0),
    "pooling_mode_lasttoken": lambda states: states[-1],
}
SIZES = {"vocab_size": 30, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 20}


def encoder(kind):
    torch.manual_seed(0)
    longest = {"max_position_embeddings": 20}
    if kind == "mpnet":
        return hf.MPNetModel(hf.MPNetConfig(**SIZES, **longest))
    return hf.BertModel(hf.BertConfig(**SIZES, **longest, pad_token_id=1), add_pooling_layer=kind == "bert")


def folder_of(tmp_path, model, *, pooling, normalize, architectures=None):
    """What ``SentenceTransformer.save`` leaves."""
    model.eval().save_pretrained(tmp_path)
    if architectures:
        config = json.loads((tmp_path / "config.json").read_text())
        (tmp_path / "config.json").write_text(json.dumps({**config, "architectures": architectures}))
    modules = [("", "Transformer"), ("1_Pooling", "Pooling"), *([("2_Normalize", "Normalize")] if normalize else [])]
    listed = [
        {"idx": index, "name": str(index), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for index, (path, kind) in enumerate(modules)
    ]
    (tmp_path / "modules.json").write_text(json.dumps(listed))
    (tmp_path / "1_Pooling").mkdir()
    (tmp_path / "1_Pooling" / "config.json").write_text(json.dumps(pooling))
    return tmp_path


def config_of(mode):
    return {"word_embedding_dimension": 16, **{key: key == mode for key in POOLED}, "include_prompt": True}


def by_numpy(model, mode, *, normalize):
    inputs = {"input_ids": torch.tensor(IDS), "attention_mask": torch.tensor(MASK)}
    with torch.no_grad():
        states = model(**inputs).last_hidden_state.double().numpy()
    rows = np.stack([POOLED[mode](row[mask > 0]) for row, mask in zip(states, MASK, strict=True)])
    return rows / np.linalg.norm(rows, axis=1, keepdims=True) if normalize else rows


@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("mode", POOLED)
def test_vectors_are_those_of_the_modules(tmp_path, mode, normalize):
    model = encoder("bert")
    folder = folder_of(tmp_path, model, pooling=config_of(mode), normalize=normalize)
    pretrained = from_pretrained(folder)
    assert (pretrained.family, pretrained.head) == ("bert", "embedding")
    assert pretrained.spec == spec_of(folder)
    module = to_torch(pretrained.spec, {name: each.torch() for name, each in pretrained.weights.items()}).eval()
    with torch.no_grad():
        found = module(
            input_ids=torch.tensor(IDS), token_type_ids=torch.zeros(2, 5, dtype=torch.int64),
            attention_mask=torch.tensor(MASK),
        )  # fmt: skip
    wanted = by_numpy(model, mode, normalize=normalize)
    assert np.abs(found["sentence_embedding"].numpy() - wanted).max() < 1e-5


@pytest.mark.parametrize("kind", ["bert without a pooler", "mpnet"])
def test_a_pooler_of_the_encoder_is_neither_needed_nor_in_the_way(tmp_path, kind):
    pooling = {"word_embedding_dimension": 16, "pooling_mode": "mean"}
    named = ["MPNetForMaskedLM"] if kind == "mpnet" else None
    folder = folder_of(tmp_path, encoder(kind), pooling=pooling, normalize=True, architectures=named)
    spec = from_pretrained(folder).spec
    assert list(spec.blocks)[-1] == "sentence"
    assert [name for name, block in spec.blocks.items() if type(block).__name__ == "Pool"] == ["sentence"]


def refused(tmp_path, **given):
    folder = folder_of(tmp_path, encoder("mpnet"), **{"pooling": config_of("pooling_mode_mean_tokens"), **given})
    with pytest.raises(SourceError) as caught:
        from_pretrained(folder)
    return caught.value.problems[0]


@pytest.mark.parametrize(
    "pooling",
    [
        config_of("none"),
        {**config_of("pooling_mode_mean_tokens"), "pooling_mode_max_tokens": True},
        {**config_of("none"), "pooling_mode_weightedmean_tokens": True},
        {**config_of("pooling_mode_mean_tokens"), "pooling_mode_other": True},
        {"pooling_mode": "mean_sqrt_len_tokens"},
    ],
)
def test_other_ways_to_pool_are_refused(tmp_path, pooling):
    problem = refused(tmp_path, pooling=pooling, normalize=False)
    assert (problem.code, problem.path) == ("FX1857", "1_Pooling/config.json")


@pytest.mark.parametrize(
    ("modules", "code"),
    [
        ([], "FX1857"),
        ([{"path": "", "type": "a.Transformer"}, {"path": "1_Pooling", "type": "a.Pooling"},
          {"path": "2_Dense", "type": "a.Dense"}], "FX1857"),
        ([{"path": "0_Transformer", "type": "a.Transformer"}, {"path": "1_Pooling", "type": "a.Pooling"}], "FX1857"),
        ([{"path": "", "type": "a.Transformer"}, {"path": "../1_Pooling", "type": "a.Pooling"}], "FX1805"),
        (["Transformer"], "FX1857"),
        ({"Transformer": 1}, "FX1857"),
    ],
)  # fmt: skip
def test_other_modules_are_refused(tmp_path, modules, code):
    folder = folder_of(tmp_path, encoder("mpnet"), pooling=config_of("pooling_mode_mean_tokens"), normalize=False)
    (folder / "modules.json").write_text(json.dumps(modules))
    with pytest.raises(SourceError) as caught:
        from_pretrained(folder)
    assert caught.value.problems[0].code == code


def test_what_is_done_to_texts_first_is_told(tmp_path):
    folder = folder_of(tmp_path, encoder("bert"), pooling=config_of("pooling_mode_cls_token"), normalize=False)
    assert from_pretrained(folder).warnings == ()
    about, calls = folder / "sentence_bert_config.json", folder / "config_sentence_transformers.json"
    about.write_text(json.dumps({"max_seq_length": 20, "do_lower_case": False}))
    calls.write_text(json.dumps({"prompts": {"query": "query: "}, "default_prompt_name": None}))
    assert from_pretrained(folder).warnings == ()
    about.write_text(json.dumps({"max_seq_length": 12, "do_lower_case": True}))
    calls.write_text(json.dumps({"prompts": {"query": "query: "}, "default_prompt_name": "query"}))
    (warning,) = from_pretrained(folder).warnings
    assert (warning.code, warning.warning) == ("FX1858", True)
    assert warning.found == "texts cut at 12 tokens and texts in small letters and the prompt query before each text"
    about.write_text("[")
    with pytest.raises(SourceError, match="FX1803"):
        from_pretrained(folder)


def test_a_folder_of_version_6(tmp_path):
    """Its tokenizer cuts texts, and its normalisation has settings."""
    folder = folder_of(
        tmp_path, encoder("bert"), pooling={"embedding_dimension": 16, "pooling_mode": "mean"}, normalize=True
    )
    (folder / "tokenizer_config.json").write_text(json.dumps({"model_max_length": 12}))
    (folder / "2_Normalize").mkdir()
    named = {"module_input_name": "sentence_embedding", "module_output_name": "sentence_embedding"}
    (folder / "2_Normalize" / "config.json").write_text(json.dumps(named))
    pretrained = from_pretrained(folder)
    assert [warning.found for warning in pretrained.warnings if warning.code == "FX1858"] == ["texts cut at 12 tokens"]
    assert json.loads(pretrained.files["sentence_bert_config.json"]) == {"max_seq_length": 12}
    (folder / "2_Normalize" / "config.json").write_text(json.dumps({"module_input_name": "token_embeddings"}))
    with pytest.raises(SourceError, match="FX1857"):
        from_pretrained(folder)


# ---- written back

MODULES = {
    "Transformer": "", "Pooling": "1_Pooling", "Normalize": "2_Normalize",
}  # fmt: skip
BACK = {
    "bert": lambda: encoder("bert"),
    "mpnet": lambda: encoder("mpnet"),
    "qwen3": lambda: any_qwen3(Random(1), "hidden"),
}
"""Encoders with a pooler, with their own positions, and one that only looks back."""


@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize(("kind", "mode"), list(zip(BACK, list(POOLED)[1:], strict=True)))
def test_the_folder_is_written_back(tmp_path, kind, mode, normalize):
    folder = folder_of(made(tmp_path), BACK[kind](), pooling=config_of(mode), normalize=normalize)
    calls = {"prompts": {"query": "q: "}, "default_prompt_name": "query", "similarity_fn_name": "dot"}
    (folder / "config_sentence_transformers.json").write_text(json.dumps(calls))
    pretrained = from_pretrained(folder)
    name = to_pretrained(pretrained.spec, pretrained.weights, tmp_path / "back", files=pretrained.files)
    assert name == json.loads((folder / "config.json").read_text())["architectures"][0]
    again = from_pretrained(tmp_path / "back")
    assert (again.family, again.head) == (pretrained.family, "embedding")
    assert (again.spec.blocks, again.spec.outputs) == (pretrained.spec.blocks, pretrained.spec.outputs)
    assert {path: each.numpy().tobytes() for path, each in again.weights.items()} == {
        path: each.numpy().tobytes() for path, each in pretrained.weights.items()
    }
    listed = json.loads((tmp_path / "back" / "modules.json").read_text())
    kinds = list(MODULES)[: 3 if normalize else 2]
    assert listed == [
        {"idx": at, "name": str(at), "path": MODULES[each], "type": f"sentence_transformers.models.{each}"}
        for at, each in enumerate(kinds)
    ]
    pooling = json.loads((tmp_path / "back" / "1_Pooling" / "config.json").read_text())
    assert {key for key, on in pooling.items() if on is True} == {mode, "include_prompt"}
    width = pretrained.spec.blocks["embed"].d_model
    assert pooling["word_embedding_dimension"] == width
    assert json.loads((tmp_path / "back" / "config_sentence_transformers.json").read_text()) == calls
    theirs, loaded = hf.AutoModel.from_pretrained(tmp_path / "back", output_loading_info=True)
    assert {key.partition(".")[0] for key in loaded["missing_keys"]} <= {"pooler"}  # which no vector is made with
    assert not loaded["unexpected_keys"]
    ids = torch.tensor(IDS[:1])
    states = [model.eval()(input_ids=ids).last_hidden_state for model in (theirs, hf.AutoModel.from_pretrained(folder))]
    assert torch.equal(*states)


def made(tmp_path):
    """A folder for theirs."""
    (tmp_path / "theirs").mkdir()
    return tmp_path / "theirs"


def test_what_is_not_said_has_a_bound_of_its_own(tmp_path):
    """Of a model without settings, the longest row is that of its position table."""
    folder = folder_of(made(tmp_path), encoder("bert"), pooling=config_of("pooling_mode_mean_tokens"), normalize=True)
    out = tmp_path / "back"
    assert run(["import", str(folder), "-o", str(tmp_path / "ours")]) == 0
    assert run(["convert", str(tmp_path / "ours"), "--to", "hf", "-o", str(out)]) == 0
    assert json.loads((out / "sentence_bert_config.json").read_text()) == {"max_seq_length": 20, "do_lower_case": False}
    calls = json.loads((out / "config_sentence_transformers.json").read_text())
    assert calls == {"prompts": {}, "default_prompt_name": None, "similarity_fn_name": "cosine"}
    assert run(["convert", str(folder), "--to", "hf", "-o", str(out), "--force"]) == 0  # every file of it is ours
    (out / "2_Normalize" / "mine").write_text("")
    assert run(["convert", str(folder), "--to", "hf", "-o", str(out), "--force"]) == 2


def test_a_vector_that_no_module_makes_is_refused(tmp_path, capsys):
    folder = folder_of(made(tmp_path), encoder("bert"), pooling=config_of("pooling_mode_mean_tokens"), normalize=True)
    assert run(["import", str(folder), "-o", str(tmp_path / "ours")]) == 0
    text = (tmp_path / "ours" / "spec.yaml").read_text()
    assert "d_ff: 20, bias: true" in text
    (tmp_path / "ours" / "spec.yaml").write_text(text.replace("d_ff: 20, bias: true", "d_ff: 20"))
    capsys.readouterr()
    assert run(["convert", str(tmp_path / "ours"), "--to", "hf", "-o", str(tmp_path / "back")]) == 2
    assert "FX1870 blocks.encoder" in capsys.readouterr().err
    assert not (tmp_path / "back").exists()


def test_the_library_makes_the_same_vectors(tmp_path):
    library = pytest.importorskip("sentence_transformers", reason="it is tried where it is installed")
    folder = folder_of(made(tmp_path), encoder("bert"), pooling=config_of("pooling_mode_mean_tokens"), normalize=True)
    write_tokenizer(folder)
    pretrained = from_pretrained(folder)
    to_pretrained(pretrained.spec, pretrained.weights, tmp_path / "back", files=pretrained.files)
    texts = ["a b c", "d e", "f g h i j a b c d e f g h i j a b c d e f g h i j"]
    found = [library.SentenceTransformer(str(each), device="cpu").encode(texts) for each in (folder, tmp_path / "back")]
    assert np.abs(found[0] - found[1]).max() < 1e-6


def write_tokenizer(folder):
    """Words of one letter, in a folder of theirs that cuts texts at 12 of them."""
    names = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *"abcdefghij"]
    inner = Tokenizer(WordLevel({name: at for at, name in enumerate(names)}, unk_token="[UNK]"))
    inner.pre_tokenizer = Whitespace()
    tokens = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    hf.PreTrainedTokenizerFast(tokenizer_object=inner, **tokens).save_pretrained(folder)
    (folder / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": 12, "do_lower_case": False}))
