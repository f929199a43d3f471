"""The class-style constructors: every topology with every kind of positions, run in the original's way."""

from __future__ import annotations

import copy
import pickle
from typing import get_args

import numpy as np
import pytest
import torch

import flexit
from flexit.configs import ModelConfig, PeType
from flexit.errors import UserError
from flexit.lower.torch.module import FlexitModule
from flexit.models import (
    BaseModel,
    FlexiBERT,
    FlexiGPT,
    FlexiTransformer,
    TransformerFactory,
    TransformerModel,
    create_model,
)  # fmt: skip
from flexit.runtime.bundles.bundle import open_bundle
from flexit.runtime.generation.generate import generate
from flexit.runtime.proof.stress import stress_weights
from flexit.runtime.sessions.torch_session import TorchSession

TOPOLOGIES = {
    "encoder-decoder": {"src_vocab": 40, "tgt_vocab": 30},
    "encoder-only": {"src_vocab": 40, "num_classes": 3},
    "decoder-only": {"tgt_vocab": 30},
}
SMALL = {"d_model": 16, "d_ff": 24, "n_heads": 2, "n_layers": 2, "max_seq_len": 24}
GRID = [
    pytest.param(
        (topology, pe_type, pre_norm), id=f"{topology}-{pe_type}-{'pre' if pre_norm else 'post'}",
        marks=() if pre_norm and topology != "encoder-only" else pytest.mark.slow,
    )
    for topology in TOPOLOGIES for pe_type in get_args(PeType) for pre_norm in (True, False)
]  # fmt: skip

POST = [each for each in GRID if not each.values[0][2]]
"""Those with a norm before each sub-layer are trained and exported in ``test_original_page``."""


def test_the_grid_is_whole():
    assert len(GRID) == 3 * 8 * 2
    assert len(POST) == 3 * 8


def stressed(model: BaseModel) -> BaseModel:
    """With weights that show faults, in place."""
    values = stress_weights(model.program)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(torch.as_tensor(values[name]))
    return model.eval()


@pytest.fixture(params=GRID, scope="module")
def model(request: pytest.FixtureRequest) -> BaseModel:
    topology, pe_type, pre_norm = request.param
    return stressed(TransformerModel(**TOPOLOGIES[topology], **SMALL, pe_type=pe_type, pre_norm=pre_norm))


def ids_of(model: BaseModel, rows: int = 2, length: int = 6, *, seed: int = 0) -> list[torch.Tensor]:
    """What the model reads, by position."""
    generator = torch.Generator().manual_seed(seed)
    sizes = {"encoder-decoder": (40, 30), "encoder-only": (40,), "decoder-only": (30,)}[model.model_type]
    return [torch.randint(size, (rows, length + i), generator=generator) for i, size in enumerate(sizes)]


def test_it_is_its_class_and_a_lowered_module(model):
    assert isinstance(model, TransformerModel)
    assert isinstance(model, FlexitModule)
    outputs = {"encoder-only": (2, 3)}.get(model.model_type, (2, ids_of(model)[-1].shape[1], 30))
    assert model(*ids_of(model)).shape == outputs


def test_decoders_do_not_see_the_future_and_encoders_do(model):
    inputs = ids_of(model)
    changed = [*inputs[:-1], inputs[-1].clone()]
    changed[-1][:, -1] = (changed[-1][:, -1] + 1) % 30
    before, hidden = model(*inputs, return_hidden=True)
    after, other = model(*changed, return_hidden=True)
    if model.model_type == "encoder-only":
        assert not torch.allclose(hidden[:, 0], other[:, 0], atol=1e-4)
        return
    assert torch.allclose(before[:, :-1], after[:, :-1], atol=1e-5)
    assert not torch.allclose(before[:, -1], after[:, -1], atol=1e-3)


def test_left_padding_changes_nothing(model):
    inputs = ids_of(model)
    masks = [torch.ones_like(ids) for ids in inputs]
    padded = [torch.cat([torch.full((2, 3), 7), ids], 1) for ids in inputs]
    shown = [torch.cat([torch.zeros_like(mask[:, :3]), mask], 1) for mask in masks]
    expected = model(*inputs)
    found = model(*padded, *[mask[:, None, None, :] for mask in shown])
    if model.model_type != "encoder-only":
        found = found[:, 3:]
    assert torch.allclose(found, expected, atol=2e-5, rtol=1e-4)


def test_masks_of_padding_and_causality_together_are_understood(model):
    inputs = ids_of(model)
    length = inputs[-1].shape[1]
    shown = torch.ones(2, length, dtype=torch.bool)
    shown[1, :2] = False
    square = shown[:, None, None, :].expand(2, 1, length, length)
    square = square if model.model_type == "encoder-only" else square.tril()
    name = "src_mask" if model.model_type == "encoder-only" else "tgt_mask"
    assert torch.equal(model(*inputs, **{name: square}), model(*inputs, **{name: shown}))
    hidden = square & shown[:, None, :, None]  # from pads, whose results nobody reads
    assert torch.equal(model(*inputs, **{name: hidden}), model(*inputs, **{name: shown}))
    assert not torch.allclose(model(*inputs, **{name: shown}), model(*inputs), atol=1e-4)
    other = square.clone()
    other[:, :, -1, :] = True
    other[:, :, 2, 1:] = False
    with pytest.raises(UserError, match=f"{name} says more than padding"):
        model(*inputs, **{name: other})


@pytest.mark.slow
@pytest.mark.ort
@pytest.mark.parametrize("model", POST, indirect=True, scope="module")
def test_it_is_exported_with_evidence_and_decodes_with_a_cache_as_without(model, tmp_path):
    bundle = flexit.export(model, tmp_path / "bundle")
    assert bundle.manifest["evidence"]["error"] <= 1e-4
    if model.model_type == "encoder-only":
        return
    source = ids_of(model)[0].numpy()
    others = {"input_ids": source} if model.model_type == "encoder-decoder" else None
    prompts = [[3, 4, 5], [6]]
    rows = [generate(session, prompts, max_new_tokens=5, others=others) for session in sessions(model, tmp_path)]
    assert rows[0] == rows[1]
    for row, (prompt, found) in enumerate(zip(prompts, rows[0], strict=True)):
        text = list(prompt)
        for _ in range(5):
            inputs = [torch.tensor([text])]
            if others is not None:
                inputs.insert(0, torch.as_tensor(source[row : row + 1]))
            text.append(int(model(*inputs)[0, -1].argmax()))
        assert text[len(prompt) :] == found


def sessions(model, tmp_path):
    return TorchSession(model), open_bundle(tmp_path / "bundle")


# ---- constructors


def test_the_quick_start_with_keywords():
    model = TransformerModel(
        src_vocab=1000, tgt_vocab=1000, d_model=96, n_heads=12, n_layers=6, pe_type="absolute",
        init_method="xavier_uniform", pre_norm=True,
    )  # fmt: skip
    assert model.model_type == "encoder-decoder"
    same = TransformerModel({
        "src_vocab": 1000, "tgt_vocab": 1000, "d_model": 96, "n_heads": 12, "n_layers": 6, "pe_type": "absolute",
        "init_method": "xavier_uniform", "pre_norm": True,
    })  # fmt: skip
    assert same.spec == model.spec
    assert same.config.d_ff == 4 * 96


def test_bert_and_gpt_have_their_own_defaults():
    bert = FlexiBERT.configure(src_vocab=32000, num_classes=2)
    gpt = FlexiGPT.configure(tgt_vocab=50000, d_model=1024)
    assert (bert.d_model, bert.n_heads, bert.n_layers, bert.d_ff, bert.pre_norm) == (768, 12, 12, 3072, False)
    assert (gpt.d_model, gpt.n_heads, gpt.d_ff, gpt.norm_type, gpt.ff_activation) == (
        1024,
        16,
        4096,
        "rmsnorm",
        "swiglu",
    )


def test_defaults_of_the_config():
    config = ModelConfig()
    assert (config.d_model, config.d_ff, config.n_heads, config.n_layers) == (512, 2048, 8, 6)
    assert (config.pe_type, config.norm_eps, config.dropout, config.ff_activation) == ("rotary", 1e-6, 0.1, "gelu")
    assert ModelConfig(d_model=768, n_heads=12, pe_type="relative", ff_activation="gelu").d_model == 768
    assert ModelConfig.from_dict(config.to_dict()) == config
    assert ModelConfig(n_layers=[2, 3]).n_layers == (2, 3)


def test_the_factory_takes_the_class_of_the_topology():
    model = TransformerFactory.from_config(ModelConfig(tgt_vocab=20, **SMALL))
    assert isinstance(model, FlexiGPT)
    assert model.config.norm_type == "layernorm"
    assert isinstance(create_model(src_vocab=20, **SMALL), FlexiBERT)
    assert isinstance(create_model({"src_vocab": 20, "tgt_vocab": 30, **SMALL}), FlexiTransformer)
    from flexit import factory

    assert factory.create_model is create_model


def test_depths_as_a_pair():
    model = FlexiTransformer(src_vocab=20, tgt_vocab=20, **{**SMALL, "n_layers": (1, 3)})
    assert [model.spec.blocks[name].n_layers for name in ("encoder", "decoder")] == [1, 3]
    small = {name: value for name, value in SMALL.items() if name != "n_layers"}
    assert FlexiTransformer(src_vocab=20, tgt_vocab=20, **small, n_enc=1, n_dec=3).spec == model.spec


def test_the_generator_gives_the_logits_of_hidden_states():
    for tied in (True, False):
        for fields in (TOPOLOGIES["encoder-decoder"], TOPOLOGIES["decoder-only"]):
            model = stressed(TransformerModel(**fields, **SMALL, tie_word_embeddings=tied))
            logits, hidden = model(*ids_of(model), return_hidden=True)
            assert torch.allclose(model.generator(hidden), logits, atol=1e-5)
    with pytest.raises(UserError, match="writes no tokens"):
        _ = FlexiBERT(src_vocab=20, **SMALL).generator


def test_weights_follow_the_seed_of_pytorch():
    def weights():
        torch.manual_seed(5)
        return FlexiGPT(tgt_vocab=20, **SMALL).state_dict()

    first, second = weights(), weights()
    assert all(torch.equal(first[name], second[name]) for name in first)
    other = FlexiGPT(tgt_vocab=20, **SMALL).state_dict()
    assert not torch.equal(first["embed.tokens.weight"], other["embed.tokens.weight"])


@pytest.mark.parametrize(
    "method", ["xavier_uniform", "xavier_normal", "kaiming_uniform", "normal", "orthogonal", "scaled"]
)
def test_weights_are_drawn_as_asked(method):
    model = FlexiGPT(tgt_vocab=20, **{**SMALL, "d_model": 64, "d_ff": 256, "n_layers": 2}, init_method=method)
    up, down = (
        model.get_parameter(f"decoder.layers.0.feed_forward.{name}.weight") for name in ("up_proj", "down_proj")
    )
    expected = {
        "xavier_uniform": (2 / 320) ** 0.5, "xavier_normal": (2 / 320) ** 0.5, "kaiming_uniform": (2 / 64) ** 0.5,
        "normal": 0.02, "orthogonal": 256**-0.5, "scaled": 0.02,
    }[method]  # fmt: skip
    assert float(up.detach().std()) == pytest.approx(expected, rel=0.1)
    if method == "scaled":
        assert float(down.detach().std()) == pytest.approx(0.02 / 4**0.5, rel=0.1)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"tgt_vocab": 9, "d_modle": 16}, "write d_model"),
        ({"tgt_vocab": 9, "pe_type": "rotery"}, "write rotary"),
        ({}, "pass tgt_vocab for a decoder"),
        ({"tgt_vocab": 9, "d_model": 30, "n_heads": 8}, "a divisor of 30; found 8"),
        ({"tgt_vocab": 9, "n_layers": (2, 3)}, "a pair of depths for one stack"),
        ({"tgt_vocab": 9, "num_classes": 3}, "has no effect"),
        ({"tgt_vocab": 9, "rope_percentage": 1.5}, "at most 1"),
        ({"tgt_vocab": 9, "rope_percentage": 0.33, "d_model": 32, "n_heads": 2}, "odd number of channels"),
        ({"tgt_vocab": 9, "tgt_vocab_size": 8}, "are the same"),
        ({"tgt_vocab": "9"}, "expected integer"),
    ],
)
def test_mistakes_are_explained(fields, message):
    with pytest.raises(UserError, match=message):
        FlexiTransformer(**fields)


def test_a_call_that_does_not_fit_is_explained():
    model = FlexiGPT(tgt_vocab=20, **SMALL)
    with pytest.raises(UserError, match="these are not the inputs"):
        model(torch.zeros(1, 2, dtype=torch.int64), None, None)
    with pytest.raises(UserError, match="tgt_mask does not fit"):
        model(torch.zeros(1, 2, dtype=torch.int64), torch.ones(1, 5))
    with pytest.raises(UserError, match="takes keywords"):
        FlexiGPT(20)
    assert np.isfinite(model(torch.zeros(1, 2, dtype=torch.int64)).detach().numpy()).all()


def test_it_is_copied_and_pickled_with_its_class():
    model = stressed(FlexiGPT(tgt_vocab=20, **SMALL))
    ids = torch.tensor([[3, 4, 5]])
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert isinstance(other, FlexiGPT)
        assert torch.equal(other(ids), model(ids))
        assert other.config == model.config
