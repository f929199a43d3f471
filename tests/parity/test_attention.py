"""What families do to attention, against Hugging Face: the attention of one layer alone, so that nothing else of the
family need be sayable, padded left and right.
"""

import importlib
import re

import pytest
import torch
import transformers

from flexit.ir.language.written import Node
from flexit.ir.spec import Spec
from flexit.lower.torch.module import to_torch
from flexit.runtime.proof.compare import relative_error
from tests.parity.test_decoders import WIDTH, mapped, perturbed
from tests.parity.test_decoders import batch as ids_and_mask

ROPE = {"rope_type": "default", "rope_theta": 5000.0}
SIZES = {
    "hidden_size": WIDTH, "num_attention_heads": 4, "num_key_value_heads": 2, "num_hidden_layers": 2,
    "attn_implementation": "eager", "rope_parameters": ROPE,
}  # fmt: skip
FOUR = {**SIZES, "num_key_value_heads": 4}
PROJECTIONS = r"mixer\.([qkvo]_proj)\.(weight|bias)"
SAME = [(PROJECTIONS, r"\1.\2", None)]
RMS_HEAD = {"norm": {"kind": "rms_norm", "eps": 1e-6}}


def heads(**more):
    return {"kind": "multi_head", "n_heads": 4, "n_kv_heads": 2, "mask": "causal", "rotary": {"theta": 5000.0}, **more}


def part_of_queries(gate):
    """Rows of a projection that has, for each head, queries and then gates."""
    return lambda w: w.unflatten(0, (4, 2, -1))[:, int(gate)].flatten(0, 1)


FAMILIES = {
    "olmo": ("olmo.modeling_olmo.OlmoAttention", {**SIZES, "clip_qkv": 0.4}, 0, heads(clip_qkv=0.4), SAME),
    "stablelm 12b": (
        "stablelm.modeling_stablelm.StableLmAttention",
        {**FOUR, "qk_layernorm": True, "use_qkv_bias": True, "layer_norm_eps": 1e-5,
         "rope_parameters": {**ROPE, "partial_rotary_factor": 0.5}}, 0,
        heads(n_kv_heads=4, rotary={"theta": 5000.0, "dim": 6}, bias={"q": True, "k": True, "v": True},
              qk={"norm": {"kind": "layer_norm", "bias": False}, "gain": "per_head"}),
        [*SAME, (r"mixer\.([qk])_norm\.weight", r"\1_layernorm.norms", None)],
    ),
    "cohere": (
        "cohere.modeling_cohere.CohereAttention", {**SIZES, "use_qk_norm": True, "layer_norm_eps": 1e-5}, 0,
        heads(rotary={"theta": 5000.0, "style": "interleaved"},
              qk={"norm": {"kind": "layer_norm", "bias": False}, "gain": "per_head"}),
        [*SAME, (r"mixer\.([qk]_norm)\.weight", r"\1.weight", None)],
    ),
    "gemma 2": (
        "gemma2.modeling_gemma2.Gemma2Attention",
        {**SIZES, "head_dim": 16, "query_pre_attn_scalar": 24, "attn_logit_softcapping": 0.5, "sliding_window": 4}, 0,
        heads(head_dim=16, mask={"kind": "causal", "window": 4}, scores={"scale": 24.0**-0.5, "softcap": 0.5}), SAME,
    ),
    "gpt-oss": (
        "gpt_oss.modeling_gpt_oss.GptOssAttention",
        {**SIZES, "head_dim": 16, "attention_bias": True, "sliding_window": 4}, 0,
        heads(head_dim=16, bias=True, mask={"kind": "causal", "window": 4}, scores={"sinks": "learned"}),
        [*SAME, (r"mixer\.sinks", "sinks", None)],
    ),
    "llama 4 without rotation": (
        "llama4.modeling_llama4.Llama4TextAttention",
        {**SIZES, "head_dim": 16, "floor_scale": 3, "attn_scale": 0.7, "no_rope_layers": [1, 0]}, 1,
        heads(head_dim=16, rotary=None, scores={"temperature": {"scale": 0.7, "floor": 3, "offset": 1}}), SAME,
    ),
    "ministral 3": (
        "ministral3.modeling_ministral3.Ministral3Attention",
        {**SIZES, "head_dim": 16, "rope_parameters": {
            **ROPE, "llama_4_scaling_beta": 0.7, "original_max_position_embeddings": 3}}, 0,
        heads(head_dim=16, scores={"temperature": {"scale": 0.7, "floor": 3}}), SAME,
    ),
    "bitnet": (
        "bitnet.modeling_bitnet.BitNetAttention", {**SIZES, "rms_norm_eps": 1e-5}, 0,
        heads(output={"norm": {"kind": "rms_norm", "eps": 1e-5}}),
        [*SAME, (r"mixer\.norm\.weight", "attn_sub_norm.weight", None)],
    ),
    "afmoe": (
        "afmoe.modeling_afmoe.AfmoeAttention",
        {**SIZES, "head_dim": 16, "rms_norm_eps": 1e-6, "sliding_window": 4,
         "layer_types": ["sliding_attention", "full_attention"]}, 0,
        heads(head_dim=16, qk=RMS_HEAD, output={"gate": "sigmoid"}, mask={"kind": "causal", "window": 4}),
        [*SAME, (r"mixer\.(gate_proj|[qk]_norm)\.weight", r"\1.weight", None)],
    ),
    "qwen 3 next": (
        "qwen3_next.modeling_qwen3_next.Qwen3NextAttention",
        {**SIZES, "head_dim": 16, "rms_norm_eps": 1e-6, "rope_parameters": {**ROPE, "partial_rotary_factor": 0.25}}, 0,
        heads(head_dim=16, rotary={"theta": 5000.0, "dim": 4}, output={"gate": "sigmoid"},
              qk={"norm": {"kind": "rms_norm", "eps": 1e-6, "gain_offset": 1.0}}),
        [(r"mixer\.q_proj\.weight", "q_proj.weight", part_of_queries(gate=False)),
         (r"mixer\.gate_proj\.weight", "q_proj.weight", part_of_queries(gate=True)),
         (r"mixer\.([qk]_norm)\.weight", r"\1.weight", None), *SAME],
    ),
}  # fmt: skip


def alone(mixer):
    blocks = {"mixer": mixer}
    inputs = {"inputs_embeds": {"kind": "sequence", "width": WIDTH}}
    return Spec.model_validate(Node.of({"flexit": 1, "name": "alone", "inputs": inputs, "blocks": blocks}).plain())


def theirs_of(name):
    """Their attention, and what it is called with."""
    path, options, index, _, _ = FAMILIES[name]
    package, module, cls = path.split(".")
    modeling = importlib.import_module(f"transformers.models.{package}.{module}")
    prefix = cls.removesuffix("Attention").removesuffix("Text")
    config_class = getattr(transformers, cls.replace("Attention", "Config"))
    config = config_class(**options)
    torch.manual_seed(0)
    rotary = next(getattr(modeling, c) for c in dir(modeling) if re.fullmatch(rf"{prefix}\w*RotaryEmbedding", c)
                  and "Vision" not in c)  # fmt: skip
    return perturbed(getattr(modeling, cls)(config, index)), rotary(config)


def ours_of(name, state):
    mixer, rules = FAMILIES[name][3:]
    module = to_torch(alone(mixer))
    for side in ("q", "k") if "q_layernorm.norms.0.weight" in state else ():  # one module per head
        state[f"{side}_layernorm.norms"] = torch.stack(
            [state[f"{side}_layernorm.norms.{head}.weight"] for head in range(4)]
        )
    return to_torch(alone(mixer), mapped(module, state, rules)).eval()


def hidden_and_mask(padding):
    _, mask = ids_and_mask(padding)
    return torch.randn((*mask.shape, WIDTH), generator=torch.Generator().manual_seed(7)), mask


CASES = [(name, padding) for name in FAMILIES for padding in ("none", "left", "right")]
CASES.remove(("llama 4 without rotation", "left"))
"""Its temperature counts pads."""


@pytest.mark.parametrize(("name", "padding"), CASES)
def test_attention_alone(name, padding):
    theirs, rotary = theirs_of(name)
    ours = ours_of(name, theirs.state_dict())
    x, mask = hidden_and_mask(padding)
    positions = (mask.cumsum(1) - 1).clamp(min=0)
    order = torch.arange(mask.shape[1])
    seen = (order[None, :] <= order[:, None])[None] & mask[:, None, :].bool()
    window = FAMILIES[name][3]["mask"]["window"] if isinstance(FAMILIES[name][3]["mask"], dict) else None
    if window is not None:
        seen &= (order[:, None] - order[None, :] < window)[None]
    added = torch.where(seen, 0.0, torch.finfo(torch.float32).min)[:, None]
    with torch.no_grad():
        turns = rotary(x, positions)
        expected = theirs(x, position_embeddings=turns, attention_mask=added, position_ids=positions)[0]
        found = ours(inputs_embeds=x, attention_mask=mask)["last_hidden_state"]
    assert relative_error(found.numpy(), expected.numpy(), mask.bool().numpy()) < 1e-5
