"""Decoders against Hugging Face: tiny random models, weights mapped here, equal logits padded and cached."""

import re

import pytest
import torch
import transformers

from flexit.ir.language.written import Node
from flexit.ir.spec import Spec
from flexit.lower.torch.module import to_torch
from flexit.runtime.proof.compare import relative_error

VOCAB, WIDTH, LAYERS = 97, 48, 3


def perturbed(model):
    """Weights on which faults show: gains not 1, biases not 0, softmax not flat."""
    generator = torch.Generator().manual_seed(3)
    for name, parameter in model.named_parameters():
        noise = torch.randn(parameter.shape, generator=generator) * 0.15
        gain = name.endswith("weight") and parameter.dim() == 1
        parameter.data = noise + 1.0 if gain else noise
    return model.eval()


def transposed(weight):
    """Matrices stored (in, out) turned; vectors as they are."""
    return weight.t()


def mapped(module, state, rules):
    """Our parameters from theirs: the first rule whose pattern is our path says their name and a transform."""
    found = {}
    for path in dict(module.named_parameters()):
        for pattern, name, change in rules:
            match = re.fullmatch(pattern, path)
            if match:
                value = state[match.expand(name)]
                found[path] = change(value) if change else value
                break
        else:
            raise AssertionError(f"no rule for {path}")
    return found


def spec_of(layer, *, embed=None, head=None, **stack):
    blocks = {
        "embed": {"kind": "embedding", "vocab_size": VOCAB, "d_model": WIDTH, **(embed or {})},
        "decoder": {
            "kind": "stack", "n_layers": LAYERS, "layer": {"kind": "transformer_layer", **layer}, "final_norm": True,
            **stack,
        },
        "head": {"kind": "lm_head", **(head or {})},
    }  # fmt: skip
    return Spec.model_validate(Node.of({"flexit": 1, "name": "parity", "blocks": blocks}).plain())


L = r"decoder\.layers\.(\d+)\."
LLAMA_RULES = [
    (r"embed\.tokens\.weight", "model.embed_tokens.weight", None),
    (r"decoder\.final_norm\.weight", "model.norm.weight", None),
    (r"head\.table\.weight", "lm_head.weight", None),
    (L + r"attention\.([qkvo]_(?:proj|norm))\.(weight|bias)", r"model.layers.\1.self_attn.\2.\3", None),
    (L + r"attention_input_norm\.weight", r"model.layers.\1.input_layernorm.weight", None),
    (L + r"feed_forward_input_norm\.weight", r"model.layers.\1.post_attention_layernorm.weight", None),
    (L + r"feed_forward\.(gate|up|down)_proj\.weight", r"model.layers.\1.mlp.\2_proj.weight", None),
]
COMMON = {
    "vocab_size": VOCAB, "hidden_size": WIDTH, "num_hidden_layers": LAYERS, "num_attention_heads": 4,
    "num_key_value_heads": 2, "intermediate_size": 80, "attn_implementation": "eager",
    "rope_parameters": {"rope_type": "default", "rope_theta": 5000.0},
}  # fmt: skip


def attention(**more):
    return {"kind": "multi_head", "n_heads": 4, "n_kv_heads": 2, "rotary": {"theta": 5000.0}, "mask": "causal", **more}


RMS = {"norm": {"kind": "rms_norm", "eps": 1e-6}, "norm_placement": "pre"}


GPT2_RULES = [
    (r"embed\.tokens\.weight", "transformer.wte.weight", None),
    (r"embed\.positions\.weight", "transformer.wpe.weight", None),
    (r"decoder\.final_norm\.(\w+)", r"transformer.ln_f.\1", None),
    (L + r"attention_input_norm\.(\w+)", r"transformer.h.\1.ln_1.\2", None),
    (L + r"feed_forward_input_norm\.(\w+)", r"transformer.h.\1.ln_2.\2", None),
    *[
        (L + rf"attention\.{p}_proj\.(\w+)", r"transformer.h.\1.attn.c_attn.\2",
         lambda w, part=part: transposed(w).chunk(3)[part])
        for part, p in enumerate("qkv")
    ],
    (L + r"attention\.o_proj\.(\w+)", r"transformer.h.\1.attn.c_proj.\2", transposed),
    (L + r"feed_forward\.up_proj\.(\w+)", r"transformer.h.\1.mlp.c_fc.\2", transposed),
    (L + r"feed_forward\.down_proj\.(\w+)", r"transformer.h.\1.mlp.c_proj.\2", transposed),
]  # fmt: skip


def gpt2(scores=None, **options):
    config = transformers.GPT2Config(
        vocab_size=VOCAB, n_embd=WIDTH, n_layer=LAYERS, n_head=4, n_positions=64, attn_implementation="eager", **options
    )
    layer = {
        "norm": "layer_norm", "norm_placement": "pre",
        "attention": {"kind": "multi_head", "n_heads": 4, "bias": True, "mask": "causal", "scores": scores or {}},
        "feed_forward": {"kind": "mlp", "d_ff": 4 * WIDTH, "activation": "gelu_tanh", "bias": True},
    }  # fmt: skip
    embed = {"position": {"kind": "learned", "max_len": 64}}
    return transformers.GPT2LMHeadModel(config), spec_of(layer, embed=embed, head={"tied_to": "embed"}), GPT2_RULES


def gpt2_by_layer():
    return gpt2({"inverse_layer_scale": True}, scale_attn_by_inverse_layer_idx=True)


def llama():
    config = transformers.LlamaConfig(**COMMON, rms_norm_eps=1e-6, tie_word_embeddings=False)
    layer = {**RMS, "attention": attention(), "feed_forward": {"kind": "gated_mlp", "d_ff": 80}}
    return transformers.LlamaForCausalLM(config), spec_of(layer), LLAMA_RULES


def mistral():
    config = transformers.MistralConfig(**COMMON, rms_norm_eps=1e-6, sliding_window=5, tie_word_embeddings=False)
    layer = {
        **RMS,
        "attention": attention(mask={"kind": "causal", "window": 5}),
        "feed_forward": {"kind": "gated_mlp", "d_ff": 80},
    }
    return transformers.MistralForCausalLM(config), spec_of(layer), LLAMA_RULES


def qwen3():
    config = transformers.Qwen3Config(**COMMON, rms_norm_eps=1e-6, head_dim=16, tie_word_embeddings=True)
    layer = {
        **RMS, "attention": attention(head_dim=16, qk={"norm": {"kind": "rms_norm", "eps": 1e-6}}),
        "feed_forward": {"kind": "gated_mlp", "d_ff": 80},
    }  # fmt: skip
    return transformers.Qwen3ForCausalLM(config), spec_of(layer, head={"tied_to": "embed"}), LLAMA_RULES


def mixtral():
    config = transformers.MixtralConfig(
        **COMMON, rms_norm_eps=1e-6, num_local_experts=4, num_experts_per_tok=2, tie_word_embeddings=False
    )
    layer = {
        **RMS, "attention": attention(),
        "feed_forward": {
            "kind": "moe", "n_experts": 4, "top_k": 2, "expert": {"kind": "gated_mlp", "d_ff": 80},
            "router": {"normalize": True},
        },
    }  # fmt: skip
    rules = [
        (L + r"feed_forward\.router\.weight", r"model.layers.\1.mlp.gate.weight", None),
        (
            L + r"feed_forward\.experts\.gate_proj\.weight",
            r"model.layers.\1.mlp.experts.gate_up_proj",
            lambda w: w[:, :80],
        ),
        (
            L + r"feed_forward\.experts\.up_proj\.weight",
            r"model.layers.\1.mlp.experts.gate_up_proj",
            lambda w: w[:, 80:],
        ),
        (L + r"feed_forward\.experts\.down_proj\.weight", r"model.layers.\1.mlp.experts.down_proj", None),
        *LLAMA_RULES,
    ]
    return transformers.MixtralForCausalLM(config), spec_of(layer), rules


def lfm2():
    """Without convolution biases: the reference masks before its first projection, so a bias there leaks from pads."""
    config = transformers.Lfm2Config(
        **COMMON, norm_eps=1e-5, conv_L_cache=3, conv_bias=False, layer_types=["conv", "full_attention", "conv"],
        block_auto_adjust_ff_dim=False, tie_word_embeddings=True,
    )  # fmt: skip
    norm = {"kind": "rms_norm", "eps": 1e-5}
    layer = {
        "norm": norm, "norm_placement": "pre", "attention": {"kind": "short_conv", "kernel": 3},
        "feed_forward": {"kind": "gated_mlp", "d_ff": 80},
    }  # fmt: skip
    variants = {"heads": {"attention": attention(qk={"norm": norm})}}
    rules = [
        (r"embed\.tokens\.weight", "model.embed_tokens.weight", None),
        (r"decoder\.final_norm\.weight", "model.embedding_norm.weight", None),
        (L + r"attention\.o_proj\.(\w+)", r"model.layers.\1.self_attn.out_proj.\2", None),
        (L + r"attention\.([qk])_norm\.(\w+)", r"model.layers.\1.self_attn.\2_layernorm.\3", None),
        (L + r"attention\.([qkv]_proj)\.(\w+)", r"model.layers.\1.self_attn.\2.\3", None),
        (L + r"attention\.(in_proj|out_proj|conv)\.(\w+)", r"model.layers.\1.conv.\2.\3", None),
        (L + r"attention_input_norm\.weight", r"model.layers.\1.operator_norm.weight", None),
        (L + r"feed_forward_input_norm\.weight", r"model.layers.\1.ffn_norm.weight", None),
        (L + r"feed_forward\.gate_proj\.weight", r"model.layers.\1.feed_forward.w1.weight", None),
        (L + r"feed_forward\.up_proj\.weight", r"model.layers.\1.feed_forward.w3.weight", None),
        (L + r"feed_forward\.down_proj\.weight", r"model.layers.\1.feed_forward.w2.weight", None),
    ]
    spec = spec_of(layer, head={"tied_to": "embed"}, variants=variants, pattern=["default", "heads"])
    return transformers.Lfm2ForCausalLM(config), spec, rules


@pytest.fixture(params=[gpt2, gpt2_by_layer, llama, mistral, qwen3, mixtral, lfm2], ids=lambda family: family.__name__)
def pair(request):
    torch.manual_seed(0)
    theirs, spec, rules = request.param()
    theirs = perturbed(theirs)
    ours = to_torch(spec)
    ours = to_torch(spec, mapped(ours, theirs.state_dict(), rules)).eval()
    return theirs, ours


def batch(padding):
    ids = torch.randint(0, VOCAB, (3, 11), generator=torch.Generator().manual_seed(5))
    mask = torch.ones_like(ids)
    if padding == "left":
        mask[1, :4], mask[2, :1] = 0, 0
    if padding == "right":
        mask[1, 7:], mask[2, 10:] = 0, 0
    return ids, mask


@pytest.mark.parametrize("padding", ["none", "left", "right"])
def test_same_logits(pair, padding):
    theirs, ours = pair
    ids, mask = batch(padding)
    positions = (mask.cumsum(1) - 1).clamp(min=0)
    with torch.no_grad():
        expected = theirs(ids, attention_mask=mask, position_ids=positions).logits
        found = ours(input_ids=ids, attention_mask=mask)["logits"]
    assert relative_error(found.numpy(), expected.numpy(), mask.bool().numpy()) < 1e-5


def test_same_logits_with_a_cache(pair):
    theirs, ours = pair
    ids, mask = batch("left")
    with torch.no_grad():
        expected = theirs(ids, attention_mask=mask, position_ids=(mask.cumsum(1) - 1).clamp(min=0)).logits
        cache, parts = ours.empty_cache(3), []
        for start, stop in ((0, 6), (6, 8), (8, 9), (9, 10), (10, 11)):
            step = ours(input_ids=ids[:, start:stop], attention_mask=mask[:, :stop], cache=cache)
            cache, parts = step["cache"], [*parts, step["logits"]]
    assert relative_error(torch.cat(parts, 1).numpy(), expected.numpy(), mask.bool().numpy()) < 1e-5
