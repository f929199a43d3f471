"""DeepSeek-V2 and V3 against Hugging Face, whole models: what decoding keeps is keys and values, or the latent."""

from itertools import pairwise

import numpy as np
import pytest
import torch
import transformers

from flexit.ir.analysis.cost import cost
from flexit.lower.torch.module import to_torch
from flexit.runtime.bundles.bundle import open_bundle
from flexit.runtime.bundles.export import export
from flexit.runtime.proof.compare import relative_error
from flexit.runtime.sessions.torch_session import TorchSession
from tests.parity.test_decoders import LAYERS, LLAMA_RULES, RMS, VOCAB, WIDTH, L, batch, mapped, perturbed, spec_of

HEADS, RANK, NOPE, ROPE, VALUE, FF = 4, 16, 8, 6, 10, 40
YARN = {"factor": 4.0, "mscale": 0.8, "mscale_all_dim": 0.6, "beta_fast": 4.0, "beta_slow": 0.5}
SIZES = {
    "vocab_size": VOCAB, "hidden_size": WIDTH, "num_hidden_layers": LAYERS, "num_attention_heads": HEADS,
    "num_key_value_heads": HEADS, "intermediate_size": 80, "moe_intermediate_size": FF, "kv_lora_rank": RANK,
    "qk_nope_head_dim": NOPE, "qk_rope_head_dim": ROPE, "v_head_dim": VALUE, "n_shared_experts": 1,
    "first_k_dense_replace": 1, "attn_implementation": "eager", "tie_word_embeddings": False,
    "n_routed_experts": 8, "num_experts_per_tok": 3, "n_group": 4, "topk_group": 2, "routed_scaling_factor": 1.5,
}  # fmt: skip
RULES = [
    (L + r"attention\.kv_a_proj\.(\w+)", r"model.layers.\1.self_attn.kv_a_proj_with_mqa.\2", None),
    (L + r"attention\.(q|kv)_a_norm\.(\w+)", r"model.layers.\1.self_attn.\2_a_layernorm.\3", None),
    (L + r"attention\.(\w+_proj)\.(\w+)", r"model.layers.\1.self_attn.\2.\3", None),
    (L + r"feed_forward\.router\.weight", r"model.layers.\1.mlp.gate.weight", None),
    (L + r"feed_forward\.router\.selection_bias", r"model.layers.\1.mlp.gate.e_score_correction_bias", None),
    (L + r"feed_forward\.experts\.gate_proj\.weight", r"model.layers.\1.mlp.experts.gate_up_proj", lambda w: w[:, :FF]),
    (L + r"feed_forward\.experts\.up_proj\.weight", r"model.layers.\1.mlp.experts.gate_up_proj", lambda w: w[:, FF:]),
    (L + r"feed_forward\.experts\.down_proj\.weight", r"model.layers.\1.mlp.experts.down_proj", None),
    (L + r"feed_forward\.shared\.(\w+)\.weight", r"model.layers.\1.mlp.shared_experts.\2.weight", None),
    *LLAMA_RULES,
]


def layers(*, rotary, router, **attention):
    mixer = {
        "kind": "mla", "n_heads": HEADS, "kv_lora_rank": RANK, "qk_nope_head_dim": NOPE, "qk_rope_head_dim": ROPE,
        "v_head_dim": VALUE, "mask": "causal", "rotary": {"theta": 5000.0, **rotary}, **attention,
    }  # fmt: skip
    expert = {"kind": "gated_mlp", "d_ff": FF}
    router = {**router, "groups": {"n_groups": 4, "top_k": 2, **router["groups"]}, "scale": 1.5}
    experts = {"kind": "moe", "n_experts": 8, "top_k": 3, "expert": expert, "shared": expert, "router": router}
    return spec_of(
        {**RMS, "attention": mixer, "feed_forward": experts},
        variants={"dense": {"feed_forward": {"kind": "gated_mlp", "d_ff": 80}}}, layers={"0": "dense"},
    )  # fmt: skip


def deepseek_2():
    config = transformers.DeepseekV2Config(
        **SIZES, q_lora_rank=None, topk_method="group_limited_greedy", attention_bias=False,
        rope_parameters={"rope_type": "default", "rope_theta": 5000.0},
    )  # fmt: skip
    spec = layers(rotary={"style": "interleaved"}, router={"groups": {"score": "max"}})
    return transformers.DeepseekV2ForCausalLM(config), spec


def deepseek_2_long():
    config = transformers.DeepseekV2Config(
        **SIZES, q_lora_rank=20, topk_method="group_limited_greedy", attention_bias=True,
        rope_parameters={"rope_type": "yarn", "rope_theta": 5000.0, "original_max_position_embeddings": 8, **YARN},
    )  # fmt: skip
    scaling = {"kind": "yarn", "original_max_len": 8, **YARN}
    rotary = {"style": "interleaved", "scaling": scaling}
    spec = layers(rotary=rotary, router={"groups": {"score": "max"}}, q_lora_rank=20, bias=True)
    return transformers.DeepseekV2ForCausalLM(config), spec


def deepseek_3(*, interleaved):
    config = transformers.DeepseekV3Config(
        **SIZES, q_lora_rank=20, norm_topk_prob=True, attention_bias=True, rope_interleave=interleaved,
        rope_parameters={"rope_type": "yarn", "rope_theta": 5000.0, "original_max_position_embeddings": 8, **YARN},
    )  # fmt: skip
    router = {"score": "sigmoid", "selection_bias": True, "normalize": True, "groups": {"score": "top2_sum"}}
    style, scaling = "interleaved" if interleaved else "half", {"kind": "yarn", "original_max_len": 8, **YARN}
    spec = layers(rotary={"style": style, "scaling": scaling}, router=router, q_lora_rank=20, bias=True)
    return transformers.DeepseekV3ForCausalLM(config), spec


FAMILIES = {
    "deepseek 2": deepseek_2, "deepseek 2 long": deepseek_2_long,
    "deepseek 3": lambda: deepseek_3(interleaved=True), "deepseek 3 by halves": lambda: deepseek_3(interleaved=False),
}  # fmt: skip


@pytest.fixture(params=FAMILIES)
def family(request):
    """Their model, our spec, and its weights."""
    torch.manual_seed(0)
    theirs, spec = FAMILIES[request.param]()
    theirs = perturbed(theirs)
    for name, buffer in theirs.named_buffers():
        if name.endswith("e_score_correction_bias"):
            buffer.copy_(0.2 * torch.randn(buffer.shape, generator=torch.Generator().manual_seed(4)))
    return theirs, spec, mapped(to_torch(spec), theirs.state_dict(), RULES)


def expected(theirs, ids, mask):
    with torch.no_grad():
        return theirs(ids, attention_mask=mask, position_ids=(mask.cumsum(1) - 1).clamp(min=0)).logits.numpy()


@pytest.mark.parametrize("padding", ["none", "left", "right"])
def test_same_logits_with_either_states(family, padding):
    theirs, spec, weights = family
    ids, mask = batch(padding)
    right = expected(theirs, ids, mask)
    for states in ("full", "compact"):
        ours = to_torch(spec, weights, states=states).eval()
        with torch.no_grad():
            found = ours(input_ids=ids, attention_mask=mask)["logits"].numpy()
        assert relative_error(found, right, mask.bool().numpy()) < 1e-5, states


def test_same_logits_step_by_step_with_either_states(family):
    theirs, spec, weights = family
    ids, mask = batch("left")
    right = expected(theirs, ids, mask)
    for states in ("full", "compact"):
        found = stepwise(TorchSession(to_torch(spec, weights, states=states)), ids.numpy(), mask.numpy())
        assert relative_error(found, right[:, 4:], mask[:, 4:].bool().numpy()) < 1e-5, states


@pytest.mark.slow
@pytest.mark.ort
def test_bundles_of_either_states_agree_with_theirs(tmp_path):
    torch.manual_seed(0)
    theirs, spec = FAMILIES["deepseek 2 long"]()
    theirs = perturbed(theirs)
    weights = mapped(to_torch(spec), theirs.state_dict(), RULES)
    ids, mask = batch("left")
    right = expected(theirs, ids, mask)
    kept = {"full": "value", "compact": "latent"}
    for states, name in kept.items():
        bundle = export(to_torch(spec, weights), tmp_path / states, states=states)
        paths = {state["path"] for state in bundle.manifest["models"]["model.onnx"]["states"]}
        assert f"decoder.layers.2.attention.{name}" in paths
        assert len(paths) == LAYERS * (2 if states == "full" else 1)
        found = stepwise(open_bundle(tmp_path / states), ids.numpy(), mask.numpy())
        assert relative_error(found, right[:, 4:], mask[:, 4:].bool().numpy()) < 1e-5, states


def stepwise(session, ids, mask):
    """Scores from the fifth token on: the first five at once, then two, then one at a time."""
    parts = [session.start({"input_ids": ids[:, :5], "attention_mask": mask[:, :5]})[:, None]]
    cuts = [5, 7, 8, 9, 10, 11]
    parts += [session.step(ids[:, a:b], mask[:, a:b]) for a, b in pairwise(cuts)]
    return np.concatenate(parts, axis=1)


def test_the_latent_is_what_costs_memory():
    _, spec = deepseek_2()
    assert cost(spec).cache_per_token == 4 * LAYERS * HEADS * (NOPE + ROPE + VALUE)
    assert cost(spec, states="compact").cache_per_token == 4 * LAYERS * (RANK + ROPE)
    assert cost(spec, states="compact").parameters == cost(spec).parameters
