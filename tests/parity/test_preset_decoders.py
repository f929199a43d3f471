"""Presets of published decoders, in miniature, against Hugging Face with the settings of the published configuration.

Sizes follow the miniature; what else a configuration says (activations, eps, rotations, scales, which layer is which)
stands here as published, or is the default of the model's class.
"""

import inspect
from collections.abc import Callable
from typing import Any

import pytest
import torch
import transformers as hf

from flexit.lower.torch.module import FlexitModule, to_torch
from flexit.runtime.proof.compare import relative_error
from tests.miniature import WINDOW, miniature
from tests.parity.test_decoders import GPT2_RULES, LLAMA_RULES, L, batch, mapped, perturbed
from tests.parity.test_latent import RULES as LATENT_RULES
from tests.parity.test_score_biases import NAMES_OF_BLOOM

pytestmark = pytest.mark.slow

Sizes = dict[str, Any]
LATENT = ("kv_lora_rank", "qk_nope_head_dim", "qk_rope_head_dim", "v_head_dim")


def sizes_of(blocks: Any) -> Sizes:
    """Sizes of a decoder under the names that most configurations have."""
    embed, stack = blocks["embed"], blocks["decoder"]
    attention, forward = stack["layer"]["attention"], stack["layer"]["feed_forward"]
    return {
        "vocab_size": embed["vocab_size"],
        "hidden_size": embed["d_model"],
        "num_hidden_layers": stack["n_layers"],
        "num_attention_heads": attention["n_heads"],
        "num_key_value_heads": attention.get("n_kv_heads", attention["n_heads"]),
        "intermediate_size": forward["d_ff"] if "d_ff" in forward else forward["expert"]["d_ff"],
        "tie_word_embeddings": "tied_to" in blocks["head"],
        "attn_implementation": "eager",
        **({"head_dim": attention["head_dim"]} if "head_dim" in attention else {}),
    }


def rope(theta: float, **more: Any) -> Sizes:
    return {"rope_parameters": {"rope_type": "default", "rope_theta": theta, **more}}


def llama(sizes: Sizes, _: Any) -> Any:
    scaling = rope(
        500000.0, rope_type="llama3", factor=32.0, low_freq_factor=1.0, high_freq_factor=4.0,
        original_max_position_embeddings=8192,
    )  # fmt: skip
    return hf.LlamaForCausalLM(hf.LlamaConfig(**sizes, **scaling, rms_norm_eps=1e-5)), LLAMA_RULES


def mistral(sizes: Sizes, _: Any) -> Any:
    config = hf.MistralConfig(**sizes, **rope(10000.0), rms_norm_eps=1e-5, sliding_window=WINDOW)
    return hf.MistralForCausalLM(config), LLAMA_RULES


def qwen3(sizes: Sizes, _: Any) -> Any:
    return hf.Qwen3ForCausalLM(hf.Qwen3Config(**sizes, **rope(1000000.0), rms_norm_eps=1e-6)), LLAMA_RULES


def smollm3(sizes: Sizes, _: Any) -> Any:
    config = hf.SmolLM3Config(**sizes, **rope(5000000.0), rms_norm_eps=1e-6, no_rope_layer_interval=4, pad_token_id=0)
    return hf.SmolLM3ForCausalLM(config), LLAMA_RULES


NORMS_AFTER = [
    (L + r"attention_output_norm\.weight", r"model.layers.\1.post_attention_layernorm.weight", None),
    (L + r"feed_forward_output_norm\.weight", r"model.layers.\1.post_feedforward_layernorm.weight", None),
    (L + r"feed_forward_input_norm\.weight", r"model.layers.\1.pre_feedforward_layernorm.weight", None),
]


def olmo2(sizes: Sizes, _: Any) -> Any:
    config = hf.Olmo2Config(**sizes, **rope(500000.0), rms_norm_eps=1e-6)
    return hf.Olmo2ForCausalLM(config), [*NORMS_AFTER, *LLAMA_RULES]


def gemma2(sizes: Sizes, blocks: Any) -> Any:
    config = hf.Gemma2Config(
        **sizes, **rope(10000.0), query_pre_attn_scalar=256, attn_logit_softcapping=50.0, final_logit_softcapping=30.0,
        sliding_window=WINDOW,
    )  # fmt: skip
    return hf.Gemma2ForCausalLM(config), [*NORMS_AFTER, *LLAMA_RULES]


def gemma3(sizes: Sizes, _: Any) -> Any:
    config = hf.Gemma3TextConfig(
        **sizes, query_pre_attn_scalar=256, sliding_window=WINDOW,
        rope_parameters={
            "sliding_attention": {"rope_type": "default", "rope_theta": 10000.0},
            "full_attention": {"rope_type": "default", "rope_theta": 1000000.0},
        },
    )  # fmt: skip
    return hf.Gemma3ForCausalLM(config), [*NORMS_AFTER, *LLAMA_RULES]


def mixtral(sizes: Sizes, blocks: Any) -> Any:
    moe = blocks["decoder"]["layer"]["feed_forward"]
    config = hf.MixtralConfig(
        **sizes,
        **rope(1000000.0),
        rms_norm_eps=1e-5,
        num_local_experts=moe["n_experts"],
        num_experts_per_tok=moe["top_k"],
    )
    return hf.MixtralForCausalLM(config), [*experts(moe["expert"]["d_ff"]), *LLAMA_RULES]


def experts(inner: int) -> list[Any]:
    at, there = L + r"feed_forward\.", r"model.layers.\1.mlp."
    return [
        (at + r"router\.weight", there + "gate.weight", None),
        (at + r"experts\.gate_proj\.weight", there + "experts.gate_up_proj", lambda w: w[:, :inner]),
        (at + r"experts\.up_proj\.weight", there + "experts.gate_up_proj", lambda w: w[:, inner:]),
        (at + r"experts\.down_proj\.weight", there + "experts.down_proj", None),
        (at + r"shared\.(\w+)\.weight", there + r"shared_experts.\2.weight", None),
    ]


def gpt_oss(sizes: Sizes, blocks: Any) -> Any:
    moe = blocks["decoder"]["layer"]["feed_forward"]
    scaling = rope(
        150000.0, rope_type="yarn", factor=32.0, beta_fast=32.0, beta_slow=1.0, truncate=False,
        original_max_position_embeddings=4096,
    )  # fmt: skip
    config = hf.GptOssConfig(
        **sizes, **scaling, rms_norm_eps=1e-5, sliding_window=WINDOW, num_local_experts=moe["n_experts"],
        num_experts_per_tok=moe["top_k"], swiglu_limit=7.0, attention_bias=True, experts_implementation="eager",
    )  # fmt: skip
    at, there = L + r"feed_forward\.", r"model.layers.\1.mlp."
    rules = [  # rows of gate and up take turns
        (L + r"attention\.sinks", r"model.layers.\1.self_attn.sinks", None),
        (at + r"router\.(\w+)", there + r"router.\2", None),
        (at + r"experts\.gate_proj\.weight", there + "experts.gate_up_proj", lambda w: w[:, :, ::2].mT),
        (at + r"experts\.up_proj\.weight", there + "experts.gate_up_proj", lambda w: w[:, :, 1::2].mT),
        (at + r"experts\.gate_proj\.bias", there + "experts.gate_up_proj_bias", lambda b: b[:, ::2]),
        (at + r"experts\.up_proj\.bias", there + "experts.gate_up_proj_bias", lambda b: b[:, 1::2]),
        (at + r"experts\.down_proj\.weight", there + "experts.down_proj", lambda w: w.mT),
        (at + r"experts\.down_proj\.bias", there + "experts.down_proj_bias", None),
        *LLAMA_RULES,
    ]
    return hf.GptOssForCausalLM(config), rules


def deepseek2(sizes: Sizes, blocks: Any) -> Any:
    stack = blocks["decoder"]
    latent, moe = stack["layer"]["attention"], stack["layer"]["feed_forward"]
    inner, dense = moe["expert"]["d_ff"], stack["variants"]["dense"]["feed_forward"]["d_ff"]
    scaling = rope(
        10000.0, rope_type="yarn", factor=40.0, beta_fast=32.0, beta_slow=1.0, mscale=0.707, mscale_all_dim=0.707,
        original_max_position_embeddings=4096,
    )  # fmt: skip
    config = hf.DeepseekV2Config(
        **{**sizes, "intermediate_size": dense, **{name: latent[name] for name in LATENT}}, **scaling, q_lora_rank=None,
        moe_intermediate_size=inner, n_shared_experts=2, n_routed_experts=moe["n_experts"],
        num_experts_per_tok=moe["top_k"], first_k_dense_replace=1, topk_method="greedy", norm_topk_prob=False,
        routed_scaling_factor=1.0, n_group=1, topk_group=1, rms_norm_eps=1e-6,
    )  # fmt: skip
    return hf.DeepseekV2ForCausalLM(config), [*experts(inner), *LATENT_RULES]


def phi2(sizes: Sizes, _: Any) -> Any:
    config = hf.PhiConfig(**sizes, **rope(10000.0, partial_rotary_factor=0.4), layer_norm_eps=1e-5)
    rules = [
        (r"embed\.tokens\.weight", "model.embed_tokens.weight", None),
        (r"decoder\.final_norm\.(\w+)", r"model.final_layernorm.\1", None),
        (r"head\.table\.weight", "lm_head.weight", None),
        (r"head\.bias", "lm_head.bias", None),
        (L + r"attention\.([qkv]_proj)\.(\w+)", r"model.layers.\1.self_attn.\2.\3", None),
        (L + r"attention\.o_proj\.(\w+)", r"model.layers.\1.self_attn.dense.\2", None),
        (L + r"input_norm\.(\w+)", r"model.layers.\1.input_layernorm.\2", None),
        (L + r"feed_forward\.up_proj\.(\w+)", r"model.layers.\1.mlp.fc1.\2", None),
        (L + r"feed_forward\.down_proj\.(\w+)", r"model.layers.\1.mlp.fc2.\2", None),
    ]
    return hf.PhiForCausalLM(config), rules


def gpt2(sizes: Sizes, _: Any) -> Any:
    config = hf.GPT2Config(
        vocab_size=sizes["vocab_size"], n_embd=sizes["hidden_size"], n_layer=sizes["num_hidden_layers"],
        n_head=sizes["num_attention_heads"], n_inner=sizes["intermediate_size"], attn_implementation="eager",
    )  # fmt: skip
    return hf.GPT2LMHeadModel(config), GPT2_RULES


def bloom(sizes: Sizes, _: Any) -> Any:
    heads, width = sizes["num_attention_heads"], sizes["hidden_size"]
    config = hf.BloomConfig(
        vocab_size=sizes["vocab_size"], hidden_size=width, n_layer=sizes["num_hidden_layers"], n_head=heads,
        attn_implementation="eager",
    )  # fmt: skip

    def part(index: int) -> Callable[[torch.Tensor], torch.Tensor]:
        return lambda w: w.view(heads, 3, width // heads, *w.shape[1:])[:, index].reshape(width, *w.shape[1:])

    projections = [
        (L + rf"attention\.{p}_proj\.(\w+)", r"transformer.h.\1.self_attention.query_key_value.\2", part(index))
        for index, p in enumerate("qkv")
    ]
    return hf.BloomForCausalLM(config), [*projections, *NAMES_OF_BLOOM]


FAMILIES: dict[str, Callable[[Sizes, Any], Any]] = {
    "bloom-560m": bloom, "deepseek-v2-lite": deepseek2, "gemma2-2b": gemma2, "gemma3-1b": gemma3,
    "gpt-oss-20b": gpt_oss, "gpt2": gpt2, "llama-3.2-1b": llama, "mistral-7b": mistral, "mixtral-8x7b": mixtral,
    "olmo2-1b": olmo2, "phi-2": phi2, "qwen3-0.6b": qwen3, "smollm3-3b": smollm3,
}  # fmt: skip


@pytest.fixture(scope="module", params=FAMILIES)
def pair(request: pytest.FixtureRequest) -> tuple[Any, FlexitModule]:
    """Their model and our preset on its weights."""
    spec = miniature(request.param)
    assert spec.node is not None
    blocks = spec.node.plain()["blocks"]
    theirs, rules = FAMILIES[request.param](sizes_of(blocks), blocks)
    theirs = perturbed(theirs)
    ours = to_torch(spec, mapped(to_torch(spec, device="meta"), theirs.state_dict(), rules))
    return theirs, ours.eval()


@pytest.mark.parametrize("padding", ["none", "left", "right"])
def test_same_logits(pair: Any, padding: str) -> None:
    theirs, ours = pair
    ids, mask = batch(padding)
    positions = {"position_ids": (mask.cumsum(1) - 1).clamp(min=0)} if takes_positions(theirs) else {}
    with torch.no_grad():
        expected = theirs(ids, attention_mask=mask, **positions).logits
        found = ours(input_ids=ids, attention_mask=mask)["logits"]
    assert relative_error(found.numpy(), expected.numpy(), mask.bool().numpy()) < 1e-5


def takes_positions(theirs: Any) -> bool:
    return "position_ids" in inspect.signature(theirs.forward).parameters
