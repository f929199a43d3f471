"""Configurations as they stand on the Hub from before ``rope_parameters`` and ``layer_types``, read as ``transformers``
reads them.
"""

import json

import pytest
import torch
import transformers as hf

from flexit.convert.pretrained import from_pretrained
from tests.convert.families.comparing import TOLERANCE, errors, module_of
from tests.convert.families.models import all_drawn, made

pytestmark = pytest.mark.slow

SIZES = {
    "vocab_size": 61, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 4, "num_attention_heads": 2,
    "pad_token_id": 0, "max_position_embeddings": 64,
}  # fmt: skip
GROUPED = {**SIZES, "num_key_value_heads": 1}
YARN = {"factor": 4.0, "original_max_position_embeddings": 8, "beta_fast": 32, "beta_slow": 1}

OLDER = {
    "llama linear": ("LlamaForCausalLM", {**GROUPED, "rope_scaling": {"type": "linear", "factor": 2.0}}),
    "llama 3.1": (
        "LlamaForCausalLM",
        {
            **GROUPED,
            "rope_theta": 500000.0,
            "rope_scaling": {
                "rope_type": "llama3",
                "factor": 8.0,
                "low_freq_factor": 1.0,
                "high_freq_factor": 4.0,
                "original_max_position_embeddings": 8,
            },
        },
    ),
    "mistral": ("MistralForCausalLM", {**GROUPED, "sliding_window": None, "rope_theta": 1e6}),
    "qwen2": (
        "Qwen2ForCausalLM",
        {**GROUPED, "use_sliding_window": False, "sliding_window": 3, "max_window_layers": 1, "rope_theta": 1e6},
    ),
    "qwen2 windows": (
        "Qwen2ForCausalLM",
        {**GROUPED, "use_sliding_window": True, "sliding_window": 3, "max_window_layers": 1},
    ),
    "gemma": ("GemmaForCausalLM", {**GROUPED, "head_dim": 8, "hidden_act": "gelu", "hidden_activation": None}),
    "gemma 2": ("Gemma2ForCausalLM", {**GROUPED, "head_dim": 8, "sliding_window": 3}),
    "gemma 3": (
        "Gemma3ForCausalLM",
        {
            **GROUPED,
            "head_dim": 8,
            "sliding_window": 3,
            "sliding_window_pattern": 2,
            "rope_theta": 1e6,
            "rope_local_base_freq": 1e3,
            "rope_scaling": {"rope_type": "linear", "factor": 8.0},
        },
    ),
    "phi": ("PhiForCausalLM", {**SIZES, "partial_rotary_factor": 0.25, "rope_theta": 1e3}),
    "phi 3": (
        "Phi3ForCausalLM",
        {
            **GROUPED,
            "original_max_position_embeddings": 32,
            "rope_scaling": {"type": "longrope", "short_factor": [1.0] * 4, "long_factor": [2.0, 2.1, 2.2, 2.3]},
        },
    ),
    "gpt-neox": ("GPTNeoXForCausalLM", {**SIZES, "rotary_pct": 0.5, "rotary_emb_base": 500}),
    "bloom": (
        "BloomForCausalLM",
        {
            "vocab_size": 61,
            "n_embed": 16,
            "n_layer": 2,
            "num_attention_heads": 2,
            "offset_alibi": 100,
            "seq_length": 32,
            "skip_bias_add": True,
            "pad_token_id": 0,
            "attention_softmax_in_fp32": True,
        },
    ),
    "stablelm": ("StableLmForCausalLM", {**GROUPED, "partial_rotary_factor": 0.5, "rope_theta": 100}),
    "cohere 2": ("Cohere2ForCausalLM", {**GROUPED, "sliding_window": 3, "sliding_window_pattern": 2}),
    "olmo 3": (
        "Olmo3ForCausalLM",
        {**GROUPED, "sliding_window": 3, "rope_theta": 5e5, "rope_scaling": {"rope_type": "yarn", **YARN}},
    ),
    "minimax m2": (
        "MiniMaxM2ForCausalLM",
        {
            **GROUPED,
            "head_dim": 8,
            "rotary_dim": 4,
            "rope_theta": 1e3,
            "num_local_experts": 3,
            "num_experts_per_tok": 1,
            "scoring_func": "sigmoid",
            "use_qk_norm": True,
        },
    ),
    "deepseek v3": (
        "DeepseekV3ForCausalLM",
        {
            **SIZES,
            "num_key_value_heads": 2,
            "q_lora_rank": 6,
            "kv_lora_rank": 8,
            "qk_nope_head_dim": 4,
            "qk_rope_head_dim": 4,
            "v_head_dim": 6,
            "n_routed_experts": 4,
            "n_group": 2,
            "topk_group": 1,
            "num_experts_per_tok": 2,
            "moe_intermediate_size": 12,
            "first_k_dense_replace": 1,
            "moe_layer_freq": 1,
            "scoring_func": "sigmoid",
            "topk_method": "noaux_tc",
            "num_nextn_predict_layers": 0,
            "rope_theta": 1e3,
            "rope_scaling": {"type": "yarn", "mscale": 1.0, "mscale_all_dim": 1.0, **YARN},
        },
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", OLDER)
def test_read_as_transformers_reads_them(name, tmp_path):
    all_drawn()
    architecture, written = OLDER[name]
    cls = getattr(hf, architecture)
    told = {"architectures": [architecture], "model_type": cls.config_class.model_type, **written}
    torch.manual_seed(0)
    config = cls.config_class.from_dict({**told, "attn_implementation": "eager"})
    model = cls(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape) * 0.2)
    model.save_pretrained(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps(told))
    module = module_of(from_pretrained(tmp_path))
    for padding in ("none", "left"):
        assert max(errors(model, module, padding).values()) < TOLERANCE


def test_kimi_is_deepseek_by_another_name(tmp_path):
    way = next(way for way in all_drawn() if (way.family, way.head) == ("deepseek_v3", "causal"))
    made(way, 0).save_pretrained(tmp_path)
    known = from_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    named = {"model_type": "kimi_k2", "auto_map": {"AutoConfig": "configuration_deepseek.DeepseekV3Config"}}
    (tmp_path / "config.json").write_text(json.dumps({**config, **named}))
    again = from_pretrained(tmp_path)
    assert (again.family, again.head, again.spec) == ("deepseek_v3", "causal", known.spec)
