"""Folders of sentence-transformers, made by hand: the vectors against numpy on the encoder's own states."""

import json

import numpy as np
import pytest
import torch
import transformers as hf

from flexit.convert.pretrained import from_pretrained, spec_of
from flexit.errors import SourceError
from flexit.lower.torch.module import to_torch

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
