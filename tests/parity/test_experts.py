"""How families choose among experts, against Hugging Face: the feed-forward of one layer alone."""

import importlib

import pytest
import torch
import transformers

from flexit.ir.language.written import Node
from flexit.ir.spec import Spec
from flexit.lower.torch.module import to_torch
from flexit.runtime.proof.compare import relative_error
from tests.parity.test_decoders import WIDTH, mapped, perturbed

FF, SHARED = 40, 24
SIZES = {"hidden_size": WIDTH, "moe_intermediate_size": FF, "num_attention_heads": 4, "num_hidden_layers": 1}
GATED = {"kind": "gated_mlp", "d_ff": FF}
SAME = [
    (r"moe\.router\.(weight|bias)", r"gate.\1", None),
    (r"moe\.router\.selection_bias", "gate.e_score_correction_bias", None),
    (r"moe\.experts\.gate_proj\.weight", "experts.gate_up_proj", lambda w: w[:, :FF]),
    (r"moe\.experts\.up_proj\.weight", "experts.gate_up_proj", lambda w: w[:, FF:]),
    (r"moe\.experts\.down_proj\.weight", "experts.down_proj", None),
    (r"moe\.shared\.(\w+)\.weight", r"shared_experts.\1.weight", None),
]
ROUTER = [(r"moe\.router\.(weight|bias)", r"router.\1", None)]
TURNED = [
    (r"moe\.experts\.gate_proj\.weight", "experts.gate_up_proj", lambda w: w[:, :, :FF].mT),
    (r"moe\.experts\.up_proj\.weight", "experts.gate_up_proj", lambda w: w[:, :, FF:].mT),
    (r"moe\.experts\.down_proj\.weight", "experts.down_proj", lambda w: w.mT),
]
IN_TURNS = [  # rows of gate and up take turns; what is added to up is in its bias
    (r"moe\.experts\.gate_proj\.weight", "experts.gate_up_proj", lambda w: w[:, :, ::2].mT),
    (r"moe\.experts\.up_proj\.weight", "experts.gate_up_proj", lambda w: w[:, :, 1::2].mT),
    (r"moe\.experts\.gate_proj\.bias", "experts.gate_up_proj_bias", lambda b: b[:, ::2]),
    (r"moe\.experts\.up_proj\.bias", "experts.gate_up_proj_bias", lambda b: b[:, 1::2] + 1),
    (r"moe\.experts\.down_proj\.bias", "experts.down_proj_bias", None),
    (r"moe\.experts\.down_proj\.weight", "experts.down_proj", lambda w: w.mT),
]


def chosen(n_experts, top_k, **more):
    return {"kind": "moe", "n_experts": n_experts, "top_k": top_k, "expert": GATED, **more}


FAMILIES = {
    "mixtral": (
        "mixtral.modeling_mixtral.MixtralSparseMoeBlock", "MixtralConfig",
        {"intermediate_size": FF, "num_local_experts": 5, "num_experts_per_tok": 3},
        chosen(5, 3, router={"normalize": True}), SAME,
    ),
    "qwen 2": (
        "qwen2_moe.modeling_qwen2_moe.Qwen2MoeSparseMoeBlock", "Qwen2MoeConfig",
        {"shared_expert_intermediate_size": SHARED, "num_experts": 6, "num_experts_per_tok": 2,
         "norm_topk_prob": False},
        chosen(6, 2, shared={"kind": "gated_mlp", "d_ff": SHARED}, shared_gate=True),
        [(r"moe\.shared\.(\w+)\.weight", r"shared_expert.\1.weight", None),
         (r"moe\.shared_gate\.weight", "shared_expert_gate.weight", None), *SAME],
    ),
    "qwen 3": (
        "qwen3_moe.modeling_qwen3_moe.Qwen3MoeSparseMoeBlock", "Qwen3MoeConfig",
        {"num_experts": 6, "num_experts_per_tok": 3, "norm_topk_prob": True},
        chosen(6, 3, router={"normalize": True}), SAME,
    ),
    "deepseek 2": (
        "deepseek_v2.modeling_deepseek_v2.DeepseekV2Moe", "DeepseekV2Config",
        {"n_routed_experts": 8, "num_experts_per_tok": 3, "n_shared_experts": 2, "n_group": 4, "topk_group": 2,
         "topk_method": "group_limited_greedy", "routed_scaling_factor": 2.5},
        chosen(8, 3, router={"scale": 2.5, "groups": {"n_groups": 4, "top_k": 2}},
               shared={"kind": "gated_mlp", "d_ff": 2 * FF}), SAME,
    ),
    "deepseek 2 lite": (
        "deepseek_v2.modeling_deepseek_v2.DeepseekV2Moe", "DeepseekV2Config",
        {"n_routed_experts": 8, "num_experts_per_tok": 3, "n_shared_experts": 1, "topk_method": "greedy",
         "routed_scaling_factor": 1.0, "n_group": 1, "topk_group": 1},
        chosen(8, 3, shared=GATED), SAME,
    ),
    "deepseek 3": (
        "deepseek_v3.modeling_deepseek_v3.DeepseekV3MoE", "DeepseekV3Config",
        {"n_routed_experts": 12, "num_experts_per_tok": 4, "n_shared_experts": 1, "n_group": 4, "topk_group": 2,
         "norm_topk_prob": True, "routed_scaling_factor": 2.5},
        chosen(12, 4, shared=GATED, router={
            "score": "sigmoid", "selection_bias": True, "normalize": True, "scale": 2.5,
            "groups": {"n_groups": 4, "top_k": 2, "score": "top2_sum"},
        }), SAME,
    ),
    "granite": (
        "granitemoe.modeling_granitemoe.GraniteMoeMoE", "GraniteMoeConfig",
        {"intermediate_size": FF, "num_local_experts": 6, "num_experts_per_tok": 3},
        chosen(6, 3, router={"score": "none", "after_top_k": "softmax"}), [*ROUTER, *SAME],
    ),
    "gpt-oss": (
        "gpt_oss.modeling_gpt_oss.GptOssMLP", "GptOssConfig",
        {"intermediate_size": FF, "num_local_experts": 6, "num_experts_per_tok": 3, "swiglu_limit": 1e4},
        chosen(6, 3, router={"bias": True, "score": "none", "after_top_k": "softmax"},
               expert={**GATED, "activation": "quick_gelu", "bias": True}), [*ROUTER, *IN_TURNS],
    ),
    "llama 4": (
        "llama4.modeling_llama4.Llama4TextMoe", "Llama4TextConfig",
        {"intermediate_size": FF, "num_local_experts": 5, "num_experts_per_tok": 2},
        chosen(5, 2, router={"score": "none", "after_top_k": "sigmoid", "weight_on": "input"}, shared=GATED),
        [*ROUTER, *TURNED, (r"moe\.shared\.(\w+)\.weight", r"shared_expert.\1.weight", None)],
    ),
}  # fmt: skip


def alone(block):
    inputs = {"inputs_embeds": {"kind": "sequence", "width": WIDTH}}
    return Spec.model_validate(
        Node.of({"flexit": 1, "name": "alone", "inputs": inputs, "blocks": {"moe": block}}).plain()
    )


def theirs_of(name):
    path, config, options, _, _ = FAMILIES[name]
    package, module, cls = path.split(".")
    modeling = importlib.import_module(f"transformers.models.{package}.{module}")
    torch.manual_seed(0)
    made = perturbed(getattr(modeling, cls)(getattr(transformers, config)(**{**SIZES, **options})))
    for buffer_name, buffer in made.named_buffers():  # the choice of DeepSeek-V3 is not trained
        assert buffer_name.endswith("e_score_correction_bias")
        buffer.copy_(0.3 * torch.randn(buffer.shape, generator=torch.Generator().manual_seed(4)))
    return made


@pytest.mark.parametrize("name", FAMILIES)
def test_experts_alone(name):
    theirs = theirs_of(name)
    spec, rules = alone(FAMILIES[name][3]), FAMILIES[name][4]
    ours = to_torch(spec, mapped(to_torch(spec), theirs.state_dict(), rules)).eval()
    x = torch.randn((3, 17, WIDTH), generator=torch.Generator().manual_seed(7))
    with torch.no_grad():
        expected, found = theirs(x), ours(inputs_embeds=x)["last_hidden_state"]
    expected = expected[0] if isinstance(expected, tuple) else expected
    assert relative_error(found.numpy(), expected.reshape(x.shape).numpy(), None) < 1e-5


def test_weights_that_sum_to_nothing_are_nothing():
    """Raw scores may: those of padding that nothing attends to are all 0."""
    moe = {
        "kind": "moe", "n_experts": 4, "top_k": 2, "expert": {"kind": "mlp", "d_ff": 8},
        "router": {"score": "none", "normalize": True},
    }  # fmt: skip
    blocks = {"attention": {"kind": "multi_head", "n_heads": 2, "mask": "causal"}, "moe": moe}
    data = {
        "flexit": 1, "name": "zero", "inputs": {"x": {"kind": "sequence", "width": 8}}, "blocks": blocks,
    }  # fmt: skip
    module = to_torch(Spec.model_validate(Node.of(data).plain()), seed=0)
    x = torch.randn(1, 4, 8)
    found = module(x=x, x_attention_mask=torch.tensor([[0, 0, 1, 1]]))["last_hidden_state"]
    assert torch.isfinite(found).all()
    found.sum().backward()
    assert all(torch.isfinite(value.grad).all() for value in module.parameters() if value.grad is not None)
