"""What families do around attention (parallel branches, norms, feed-forwards), against Hugging Face: equal logits,
padded and cached.
"""

import pytest
import torch
import transformers
from transformers.models.gpt_oss import modeling_gpt_oss

from flexit.ir.language.written import Node
from flexit.ir.spec import Spec
from flexit.lower.torch.module import to_torch
from flexit.runtime.proof.compare import relative_error
from tests.parity.test_decoders import LAYERS, VOCAB, WIDTH, L, batch, mapped, perturbed, spec_of

HEADS, HEAD_DIM = 4, WIDTH // 4
ROPE = {"rope_type": "default", "rope_theta": 5000.0}
SIZES = {
    "vocab_size": VOCAB, "hidden_size": WIDTH, "num_hidden_layers": LAYERS, "num_attention_heads": HEADS,
    "attn_implementation": "eager", "tie_word_embeddings": False,
}  # fmt: skip
LN = {"kind": "layer_norm", "eps": 1e-5}
ENDS = [
    (r"embed\.tokens\.weight", "model.embed_tokens.weight", None),
    (r"decoder\.final_norm\.(\w+)", r"model.norm.\1", None),
    (r"head\.table\.weight", "lm_head.weight", None),
]
NAMED_LIKE_LLAMA = [
    *ENDS,
    (L + r"attention\.(\w+_proj|[qk]_norm)\.(\w+)", r"model.layers.\1.self_attn.\2.\3", None),
    (L + r"(?:attention_)?input_norm\.(\w+)", r"model.layers.\1.input_layernorm.\2", None),
    (L + r"feed_forward_input_norm\.(\w+)", r"model.layers.\1.post_attention_layernorm.\2", None),
    (L + r"feed_forward\.(\w+_proj)\.(\w+)", r"model.layers.\1.mlp.\2.\3", None),
]


def heads(**more):
    return {"kind": "multi_head", "n_heads": HEADS, "mask": "causal", **more}


def fused(part, of=3):
    """One of the equal parts that lie side by side within each head."""
    return lambda w: w.unflatten(0, (-1, of, HEAD_DIM))[:, part].flatten(0, 1)


def gptj():
    config = transformers.GPTJConfig(
        vocab_size=VOCAB, n_embd=WIDTH, n_layer=LAYERS, n_head=HEADS, n_inner=80, rotary_dim=8, n_positions=64,
        attn_implementation="eager",
    )  # fmt: skip
    layer = {
        "norm": LN, "norm_placement": "pre", "residual": "parallel",
        "attention": heads(rotary={"style": "interleaved", "dim": 8}),
        "feed_forward": {"kind": "mlp", "d_ff": 80, "activation": "gelu_tanh", "bias": True},
    }  # fmt: skip
    rules = [
        (r"embed\.tokens\.weight", "transformer.wte.weight", None),
        (r"decoder\.final_norm\.(\w+)", r"transformer.ln_f.\1", None),
        (r"head\.table\.weight", "lm_head.weight", None),
        (r"head\.bias", "lm_head.bias", None),
        (L + r"input_norm\.(\w+)", r"transformer.h.\1.ln_1.\2", None),
        (L + r"attention\.o_proj\.weight", r"transformer.h.\1.attn.out_proj.weight", None),
        (L + r"attention\.(\w)_proj\.weight", r"transformer.h.\1.attn.\2_proj.weight", None),
        (L + r"feed_forward\.up_proj\.(\w+)", r"transformer.h.\1.mlp.fc_in.\2", None),
        (L + r"feed_forward\.down_proj\.(\w+)", r"transformer.h.\1.mlp.fc_out.\2", None),
    ]
    return transformers.GPTJForCausalLM(config), spec_of(layer, head={"bias": True}), rules


def neox(side_by_side):
    rope = {**ROPE, "partial_rotary_factor": 1 / 3}
    config = transformers.GPTNeoXConfig(
        **SIZES, intermediate_size=80, use_parallel_residual=side_by_side, rope_parameters=rope, layer_norm_eps=1e-5
    )
    layer = {
        "norm": LN, "norm_placement": "pre", "attention": heads(bias=True, rotary={"theta": 5000.0, "dim": 4}),
        "feed_forward": {"kind": "mlp", "d_ff": 80, "bias": True},
        "residual": {"kind": "parallel", "norms": "separate"} if side_by_side else "sequential",
    }  # fmt: skip
    rules = [
        (r"embed\.tokens\.weight", "gpt_neox.embed_in.weight", None),
        (r"decoder\.final_norm\.(\w+)", r"gpt_neox.final_layer_norm.\1", None),
        (r"head\.table\.weight", "lm_head.weight", None),
        (L + r"attention_input_norm\.(\w+)", r"gpt_neox.layers.\1.input_layernorm.\2", None),
        (L + r"feed_forward_input_norm\.(\w+)", r"gpt_neox.layers.\1.post_attention_layernorm.\2", None),
        *[
            (L + rf"attention\.{p}_proj\.(\w+)", r"gpt_neox.layers.\1.attention.query_key_value.\2", fused(part))
            for part, p in enumerate("qkv")
        ],
        (L + r"attention\.o_proj\.(\w+)", r"gpt_neox.layers.\1.attention.dense.\2", None),
        (L + r"feed_forward\.up_proj\.(\w+)", r"gpt_neox.layers.\1.mlp.dense_h_to_4h.\2", None),
        (L + r"feed_forward\.down_proj\.(\w+)", r"gpt_neox.layers.\1.mlp.dense_4h_to_h.\2", None),
    ]
    return transformers.GPTNeoXForCausalLM(config), spec_of(layer), rules


def gpt_neox():
    return neox(side_by_side=True)


def gpt_neox_in_sequence():
    return neox(side_by_side=False)


def phi():
    rope = {**ROPE, "partial_rotary_factor": 0.5}
    config = transformers.PhiConfig(**SIZES, intermediate_size=80, rope_parameters=rope, layer_norm_eps=1e-5)
    layer = {
        "norm": LN, "norm_placement": "pre", "residual": "parallel",
        "attention": heads(bias=True, rotary={"theta": 5000.0, "dim": 6}),
        "feed_forward": {"kind": "mlp", "d_ff": 80, "activation": "gelu_tanh", "bias": True},
    }  # fmt: skip
    rules = [
        (r"decoder\.final_norm\.(\w+)", r"model.final_layernorm.\1", None),
        (r"head\.bias", "lm_head.bias", None),
        (L + r"attention\.o_proj\.(\w+)", r"model.layers.\1.self_attn.dense.\2", None),
        (L + r"feed_forward\.up_proj\.(\w+)", r"model.layers.\1.mlp.fc1.\2", None),
        (L + r"feed_forward\.down_proj\.(\w+)", r"model.layers.\1.mlp.fc2.\2", None),
        *NAMED_LIKE_LLAMA,
    ]
    return transformers.PhiForCausalLM(config), spec_of(layer, head={"bias": True}), rules


def falcon(groups, **options):
    """Queries of a group, then its key and value."""
    config = transformers.FalconConfig(
        **{**SIZES, "attn_implementation": "sdpa"}, num_kv_heads=groups, ffn_hidden_size=80, rope_parameters=ROPE,
        layer_norm_epsilon=1e-5, alibi=False, bias=False, parallel_attn=True, **options,
    )  # fmt: skip
    separate = options["new_decoder_architecture"] and options["num_ln_in_parallel_attn"] == 2
    layer = {
        "norm": LN, "norm_placement": "pre", "attention": heads(n_kv_heads=groups, rotary={"theta": 5000.0}),
        "feed_forward": {"kind": "mlp", "d_ff": 80},
        "residual": {"kind": "parallel", "norms": "separate" if separate else "shared"},
    }  # fmt: skip
    shares = {"q": slice(None, -2), "k": slice(-2, -1), "v": slice(-1, None)}
    rules = [
        (r"embed\.tokens\.weight", "transformer.word_embeddings.weight", None),
        (r"decoder\.final_norm\.(\w+)", r"transformer.ln_f.\1", None),
        (r"head\.table\.weight", "lm_head.weight", None),
        (L + r"attention_input_norm\.(\w+)", r"transformer.h.\1.ln_attn.\2", None),
        (L + r"feed_forward_input_norm\.(\w+)", r"transformer.h.\1.ln_mlp.\2", None),
        (L + r"input_norm\.(\w+)", r"transformer.h.\1.input_layernorm.\2", None),
        *[
            (L + rf"attention\.{p}_proj\.weight", r"transformer.h.\1.self_attention.query_key_value.weight",
             lambda w, share=share: w.unflatten(0, (groups, -1, HEAD_DIM))[:, share].flatten(0, 2))
            for p, share in shares.items()
        ],
        (L + r"attention\.o_proj\.weight", r"transformer.h.\1.self_attention.dense.weight", None),
        (L + r"feed_forward\.up_proj\.weight", r"transformer.h.\1.mlp.dense_h_to_4h.weight", None),
        (L + r"feed_forward\.down_proj\.weight", r"transformer.h.\1.mlp.dense_4h_to_h.weight", None),
    ]  # fmt: skip
    return transformers.FalconForCausalLM(config), spec_of(layer), rules


def falcon_40b():
    return falcon(2, new_decoder_architecture=True, num_ln_in_parallel_attn=2)


def falcon_11b():
    return falcon(2, new_decoder_architecture=True, num_ln_in_parallel_attn=1)


def falcon_7b():
    return falcon(1, new_decoder_architecture=False, multi_query=True, num_ln_in_parallel_attn=None)


def cohere():
    config = transformers.CohereConfig(
        **SIZES, num_key_value_heads=2, intermediate_size=80, rope_parameters=ROPE, layer_norm_eps=1e-5,
        use_qk_norm=True, logit_scale=0.25,
    )  # fmt: skip
    norm = {**LN, "bias": False}
    layer = {
        "norm": norm, "norm_placement": "pre", "residual": "parallel",
        "attention": heads(
            n_kv_heads=2, rotary={"theta": 5000.0, "style": "interleaved"}, qk={"norm": norm, "gain": "per_head"}
        ),
        "feed_forward": {"kind": "gated_mlp", "d_ff": 80},
    }  # fmt: skip
    return transformers.CohereForCausalLM(config), spec_of(layer, head={"multiplier": 0.25}), NAMED_LIKE_LLAMA


def nemotron():
    rope = {**ROPE, "partial_rotary_factor": 0.5}
    config = transformers.NemotronConfig(
        **SIZES, num_key_value_heads=2, intermediate_size=80, rope_parameters=rope, norm_eps=1e-5, hidden_act="relu2"
    )
    layer = {
        "norm": {**LN, "gain_offset": 1.0}, "norm_placement": "pre",
        "attention": heads(n_kv_heads=2, rotary={"theta": 5000.0, "dim": 6}),
        "feed_forward": {"kind": "mlp", "d_ff": 80, "activation": "relu2"},
    }  # fmt: skip
    return transformers.NemotronForCausalLM(config), spec_of(layer), NAMED_LIKE_LLAMA


def bloom():
    """With the skip from the norm, a flag; without its position bias on either side."""
    config = transformers.BloomConfig(
        vocab_size=VOCAB, hidden_size=WIDTH, n_layer=LAYERS, n_head=HEADS, attn_implementation="eager",
        apply_residual_connection_post_layernorm=True, tie_word_embeddings=False,
    )  # fmt: skip
    theirs = transformers.BloomForCausalLM(config)
    theirs.transformer.build_alibi_tensor = lambda mask, n_heads, dtype: torch.zeros(
        len(mask) * n_heads, 1, mask.shape[1], dtype=dtype
    )
    layer = {
        "norm": LN, "norm_placement": "pre", "residual": {"kind": "sequential", "skip_from": "normed"},
        "attention": heads(bias=True),
        "feed_forward": {"kind": "mlp", "d_ff": 4 * WIDTH, "activation": "gelu_tanh", "bias": True},
    }  # fmt: skip
    rules = [
        (r"embed\.tokens\.weight", "transformer.word_embeddings.weight", None),
        (r"embed\.norm\.(\w+)", r"transformer.word_embeddings_layernorm.\1", None),
        (r"decoder\.final_norm\.(\w+)", r"transformer.ln_f.\1", None),
        (r"head\.table\.weight", "lm_head.weight", None),
        (L + r"attention_input_norm\.(\w+)", r"transformer.h.\1.input_layernorm.\2", None),
        (L + r"feed_forward_input_norm\.(\w+)", r"transformer.h.\1.post_attention_layernorm.\2", None),
        *[
            (L + rf"attention\.{p}_proj\.(\w+)", r"transformer.h.\1.self_attention.query_key_value.\2", fused(part))
            for part, p in enumerate("qkv")
        ],
        (L + r"attention\.o_proj\.(\w+)", r"transformer.h.\1.self_attention.dense.\2", None),
        (L + r"feed_forward\.up_proj\.(\w+)", r"transformer.h.\1.mlp.dense_h_to_4h.\2", None),
        (L + r"feed_forward\.down_proj\.(\w+)", r"transformer.h.\1.mlp.dense_4h_to_h.\2", None),
    ]
    return theirs, spec_of(layer, embed={"norm": LN}), rules


def apertus():
    """Its activation's scalars are perturbed with the other weights."""
    config = transformers.ApertusConfig(
        **SIZES, num_key_value_heads=2, intermediate_size=80, rope_parameters=ROPE, rms_norm_eps=1e-6,
        hidden_act="xielu", dtype="float32",
    )  # fmt: skip
    norm = {"kind": "rms_norm", "eps": 1e-6}
    layer = {
        "norm": norm, "norm_placement": "pre",
        "attention": heads(n_kv_heads=2, rotary={"theta": 5000.0}, qk={"norm": norm}),
        "feed_forward": {"kind": "mlp", "d_ff": 80, "activation": "xielu"},
    }  # fmt: skip
    rules = [
        (L + r"attention_input_norm\.(\w+)", r"model.layers.\1.attention_layernorm.\2", None),
        (L + r"feed_forward_input_norm\.(\w+)", r"model.layers.\1.feedforward_layernorm.\2", None),
        (L + r"feed_forward\.(alpha_[pn])", r"model.layers.\1.mlp.act_fn.\2", None),
        *NAMED_LIKE_LLAMA,
    ]
    return transformers.ApertusForCausalLM(config), spec_of(layer), rules


def bitnet():
    config = transformers.BitNetConfig(
        **SIZES,
        num_key_value_heads=2,
        intermediate_size=80,
        rope_parameters=ROPE,
        rms_norm_eps=1e-6,
        hidden_act="relu2",
    )
    norm = {"kind": "rms_norm", "eps": 1e-6}
    layer = {
        "norm": norm, "norm_placement": "pre",
        "attention": heads(n_kv_heads=2, rotary={"theta": 5000.0}, output={"norm": norm}),
        "feed_forward": {"kind": "gated_mlp", "d_ff": 80, "activation": "relu2", "norm": norm},
    }  # fmt: skip
    rules = [
        (L + r"attention\.norm\.weight", r"model.layers.\1.self_attn.attn_sub_norm.weight", None),
        (L + r"feed_forward\.norm\.weight", r"model.layers.\1.mlp.ffn_sub_norm.weight", None),
        *NAMED_LIKE_LLAMA,
    ]
    return transformers.BitNetForCausalLM(config), spec_of(layer), rules


FAMILIES = [
    gptj, gpt_neox, gpt_neox_in_sequence, phi, falcon_40b, falcon_11b, falcon_7b, cohere, nemotron, bloom, apertus,
    bitnet,
]  # fmt: skip


@pytest.fixture(params=FAMILIES, ids=lambda family: family.__name__)
def pair(request):
    torch.manual_seed(0)
    theirs, spec, rules = request.param()
    theirs = perturbed(theirs)
    ours = to_torch(spec)
    return theirs, to_torch(spec, mapped(ours, theirs.state_dict(), rules)).eval()


def expected(theirs, ids, mask):
    with torch.no_grad():
        return theirs(ids, attention_mask=mask, position_ids=(mask.cumsum(1) - 1).clamp(min=0)).logits.numpy()


@pytest.mark.parametrize("padding", ["none", "left", "right"])
def test_same_logits(pair, padding):
    theirs, ours = pair
    ids, mask = batch(padding)
    with torch.no_grad():
        found = ours(input_ids=ids, attention_mask=mask)["logits"]
    assert relative_error(found.numpy(), expected(theirs, ids, mask), mask.bool().numpy()) < 1e-5


def test_same_logits_with_a_cache(pair):
    theirs, ours = pair
    ids, mask = batch("left")
    cache, parts = ours.empty_cache(len(ids)), []
    with torch.no_grad():
        for start, stop in ((0, 6), (6, 8), (8, 9), (9, 10), (10, 11)):
            step = ours(input_ids=ids[:, start:stop], attention_mask=mask[:, :stop], cache=cache)
            cache, parts = step["cache"], [*parts, step["logits"]]
    assert relative_error(torch.cat(parts, 1).numpy(), expected(theirs, ids, mask), mask.bool().numpy()) < 1e-5


# ---- parts of a layer


def block_of(block):
    inputs = {"inputs_embeds": {"kind": "sequence", "width": WIDTH}}
    data = {"flexit": 1, "name": "alone", "inputs": inputs, "blocks": {"block": block}}
    return Spec.model_validate(Node.of(data).plain())


def test_experts_of_gpt_oss():
    """The limits cut off a good part of gates and values; the routing is that of our router."""
    torch.manual_seed(0)
    config = transformers.GptOssConfig(
        hidden_size=WIDTH, intermediate_size=40, num_local_experts=4, swiglu_limit=0.6, swiglu_alpha=1.702
    )
    theirs = perturbed(modeling_gpt_oss.GptOssExperts(config))
    expert = {
        "kind": "gated_mlp", "d_ff": 40, "activation": "quick_gelu", "bias": True,
        "clamp": {"gate_max": 0.6, "up_abs": 0.6, "up_offset": 1.0},
    }  # fmt: skip
    spec = block_of({"kind": "moe", "n_experts": 4, "top_k": 2, "expert": expert})
    router = torch.randn(4, WIDTH)
    turned = {
        "weight": lambda w, part: w.transpose(1, 2)[:, part::2], "bias": lambda b, part: b[:, part::2],
    }  # fmt: skip
    names = {"weight": "gate_up_proj", "bias": "gate_up_proj_bias"}
    at = "block.experts"
    state = theirs.state_dict()
    weights = {
        f"{at}.{side}_proj.{slot}": turned[slot](state[names[slot]], part)
        for part, side in enumerate(("gate", "up"))
        for slot in names
    } | {
        f"{at}.down_proj.weight": state["down_proj"].transpose(1, 2),
        f"{at}.down_proj.bias": state["down_proj_bias"],
        "block.router.weight": router,
    }
    x = torch.randn(3, 7, WIDTH)
    values, index = torch.softmax(x @ router.t(), -1).topk(2)
    gate_up = torch.einsum("bnd,edf->benf", x, state["gate_up_proj"])
    assert 0.05 < (gate_up.abs() > 0.6).float().mean() < 0.8
    with torch.no_grad():
        expected = theirs(x.flatten(0, 1), index.flatten(0, 1), values.flatten(0, 1)).view_as(x)
        found = to_torch(spec, weights).eval()(x)["last_hidden_state"]
    assert relative_error(found.numpy(), expected.numpy()) < 1e-5


def test_one_gain_is_scale_norm():
    """g * x / |x| (Nguyen and Salazar 2019), where g is ours times the root of the width."""
    spec = block_of({"kind": "rms_norm", "eps": 1e-30, "gain": "scalar"})
    x, gain = torch.randn(3, 7, WIDTH, dtype=torch.float64), 0.7
    module = to_torch(spec, {"block.weight": torch.tensor([gain])}, dtype=torch.float64).eval()
    with torch.no_grad():
        found = module(x)["last_hidden_state"]
    expected = gain * WIDTH**0.5 * x / x.norm(dim=-1, keepdim=True)
    assert relative_error(found.numpy(), expected.numpy()) < 1e-6
