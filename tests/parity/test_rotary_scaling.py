"""Rotary scalings against Hugging Face: rows of a padded batch, below and above the original length, each row alone
in the reference, which takes the longest row of a batch for all of them.
"""

import pytest
import torch
import transformers

from flexit.lower.torch.module import to_torch
from flexit.runtime.proof.compare import relative_error
from tests.parity.test_decoders import COMMON, LLAMA_RULES, RMS, L, attention, batch, mapped, perturbed, spec_of

BANDS = {"factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
LISTS = {"short_factor": [1.0, 1.5, 1.1], "long_factor": [1.5, 4.0, 7.0]}
FEED_FORWARD = {"kind": "gated_mlp", "d_ff": 80}
QKV = [48, 24, 24]
"""Rows of the joint projection of q, k and v."""


def llama(theirs, ours, *, limit=64, rotary=None):
    config = {**COMMON, "rope_parameters": {"rope_theta": 500.0, **theirs}, "max_position_embeddings": limit}
    model = transformers.LlamaForCausalLM(transformers.LlamaConfig(**config, rms_norm_eps=1e-6))
    rotary = {"theta": 500.0, **(rotary or {}), "scaling": ours}
    return model, spec_of({**RMS, "attention": attention(rotary=rotary), "feed_forward": FEED_FORWARD}), LLAMA_RULES


def yarn(original=16, **more):
    names = {"original_max_len": "original_max_position_embeddings"}
    ours = {"kind": "yarn", "factor": 4.0, "original_max_len": original, **more}
    theirs = {names.get(key, key): value for key, value in ours.items() if key != "kind"}
    return llama({"rope_type": "yarn", **theirs}, ours)


def llama3(original):
    theirs = {"rope_type": "llama3", **BANDS, "original_max_position_embeddings": original}
    return llama(theirs, {"kind": "llama3", **BANDS, "original_max_len": original})


def dynamic(original):
    ours = {"kind": "dynamic", "factor": 3.0, "original_max_len": original}
    return llama({"rope_type": "dynamic", "factor": 3.0}, ours, limit=original)


def linear():
    return llama({"rope_type": "linear", "factor": 2.5}, {"kind": "linear", "factor": 2.5})


def proportional():
    theirs = {"rope_type": "proportional", "partial_rotary_factor": 0.5, "factor": 2.0}
    return llama(theirs, {"kind": "proportional", "factor": 2.0}, rotary={"dim": 6})


def phi3(original):
    """Half of the channels turn; q, k and v are one projection, gate and up another."""
    rope = {
        "rope_type": "longrope", "rope_theta": 500.0, "partial_rotary_factor": 0.5, **LISTS,
        "original_max_position_embeddings": original,
    }  # fmt: skip
    config = transformers.Phi3Config(
        **{**COMMON, "rope_parameters": rope}, max_position_embeddings=4 * original, pad_token_id=0,
        original_max_position_embeddings=original, rms_norm_eps=1e-6, tie_word_embeddings=False,
    )  # fmt: skip
    longrope = {"kind": "longrope", **LISTS, "original_max_len": original, "factor": 4.0}
    rotary = {"theta": 500.0, "dim": 6, "scaling": longrope}
    layer = {**RMS, "attention": attention(rotary=rotary), "feed_forward": FEED_FORWARD}
    joint = [
        (L + rf"attention\.{p}_proj\.weight", r"model.layers.\1.self_attn.qkv_proj.weight",
         lambda w, part=part: w.split(QKV)[part])
        for part, p in enumerate("qkv")
    ] + [
        (L + rf"feed_forward\.{name}_proj\.weight", r"model.layers.\1.mlp.gate_up_proj.weight",
         lambda w, part=part: w.chunk(2)[part])
        for part, name in enumerate(("gate", "up"))
    ]  # fmt: skip
    return transformers.Phi3ForCausalLM(config), spec_of(layer), [*joint, *LLAMA_RULES]


def hunyuan():
    """Norms of q and k after the rotation."""
    rope = {"rope_type": "dynamic", "rope_theta": 500.0, "alpha": 40.0, "factor": 1.0}
    config = transformers.HunYuanDenseV1Config(
        **{**COMMON, "rope_parameters": rope}, head_dim=12, rms_norm_eps=1e-6, tie_word_embeddings=False
    )
    norm = {"norm": {"kind": "rms_norm", "eps": 1e-6}, "at": "after_rotary"}
    heads = attention(rotary={"theta": 500.0, "scaling": {"kind": "ntk", "alpha": 40.0}}, qk=norm)
    rules = [
        (L + r"attention\.q_norm\.weight", r"model.layers.\1.self_attn.query_layernorm.weight", None),
        (L + r"attention\.k_norm\.weight", r"model.layers.\1.self_attn.key_layernorm.weight", None),
        *LLAMA_RULES,
    ]
    model = transformers.HunYuanDenseV1ForCausalLM(config)
    return model, spec_of({**RMS, "attention": heads, "feed_forward": FEED_FORWARD}), rules


FAMILIES = {
    "linear": linear,
    "dynamic below": lambda: dynamic(16),
    "dynamic above": lambda: dynamic(5),
    "ntk": hunyuan,
    "proportional": proportional,
    "yarn": yarn,
    "yarn, ends not rounded": lambda: yarn(40, truncate=False, beta_fast=16.0, beta_slow=0.5),
    "yarn, two scales": lambda: yarn(64, mscale=1.5, mscale_all_dim=0.5),
    "yarn, factor given": lambda: yarn(64, attention_factor=0.7),
    "llama3": lambda: llama3(64),
    "llama3, all slow": lambda: llama3(8),
    "longrope below": lambda: phi3(16),
    "longrope above": lambda: phi3(5),
    "longrope on both sides": lambda: phi3(8),
}


def alone(theirs, ids):
    """Logits of one row; what the reference remembers of longer rows is forgotten."""
    rotary = theirs.model.rotary_emb
    theirs.model.rotary_emb = type(rotary)(theirs.config)
    with torch.no_grad():
        return theirs(ids[None]).logits[0]


@pytest.mark.parametrize("padding", ["left", "right"])
@pytest.mark.parametrize("family", FAMILIES)
def test_same_logits(family, padding):
    torch.manual_seed(0)
    theirs, spec, rules = FAMILIES[family]()
    theirs = perturbed(theirs)
    ours = to_torch(spec)
    ours = to_torch(spec, mapped(ours, theirs.state_dict(), rules)).eval()
    ids, mask = batch(padding)
    with torch.no_grad():
        found = ours(input_ids=ids, attention_mask=mask)["logits"]
    for row, kept in enumerate(mask.bool()):
        assert relative_error(found[row][kept].numpy(), alone(theirs, ids[row][kept]).numpy()) < 1e-5
