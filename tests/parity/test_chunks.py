"""Chunks against Hugging Face's Llama 4, whose chunks too begin at the first token that is no padding."""

import pytest
import torch
import transformers

from flexit.lower.torch.module import to_torch
from flexit.runtime.proof.compare import relative_error
from tests.parity.test_decoders import COMMON, LAYERS, LLAMA_RULES, RMS, L, attention, batch, mapped, perturbed, spec_of


@pytest.fixture(scope="module")
def pair():
    """Every second layer sees all, without rotation; dense throughout, since the experts are tested apart."""
    torch.manual_seed(0)
    config = transformers.Llama4TextConfig(
        **COMMON, intermediate_size_mlp=80, head_dim=12, rms_norm_eps=1e-6, moe_layers=[], attention_chunk_size=3,
        no_rope_layers=[1, 0, 1], attn_temperature_tuning=False, use_qk_norm=True, tie_word_embeddings=False,
        pad_token_id=0,
    )  # fmt: skip
    theirs = perturbed(transformers.Llama4ForCausalLM(config))
    norm = {"norm": {"kind": "rms_norm", "eps": 1e-6, "gain": False}, "at": "after_rotary"}
    near = attention(
        head_dim=12, rotary={"theta": 5000.0, "style": "interleaved"}, mask={"kind": "causal", "chunk": 3}, qk=norm
    )
    far = {"attention": {"rotary": None, "mask": "causal", "qk": {"norm": None, "at": "before_rotary"}}}
    layer = {**RMS, "attention": near, "feed_forward": {"kind": "gated_mlp", "d_ff": 80}}
    spec = spec_of(layer, variants={"far": far}, pattern=["default", "far"])
    assert len(config.no_rope_layers) == LAYERS
    rules = [
        (L + r"feed_forward\.(gate|up|down)_proj\.weight", r"model.layers.\1.feed_forward.\2_proj.weight", None),
        *LLAMA_RULES,
    ]
    ours = to_torch(spec)
    return theirs, to_torch(spec, mapped(ours, theirs.state_dict(), rules)).eval()


@pytest.mark.parametrize("padding", ["none", "left", "right"])
def test_same_logits(pair, padding):
    theirs, ours = pair
    ids, mask = batch(padding)
    positions = (mask.cumsum(1) - 1).clamp(min=0)
    with torch.no_grad():
        expected = theirs(ids, attention_mask=mask, position_ids=positions).logits
        found = ours(input_ids=ids, attention_mask=mask)["logits"]
    assert relative_error(found.numpy(), expected.numpy(), mask.bool().numpy()) < 1e-5
