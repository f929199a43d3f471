"""Random models of ``transformers`` that GGUF files can hold: those of the families' tests, as llama.cpp has them."""

import json
from random import Random

import numpy as np
import torch

from flexit.convert.gguf.section import section_of
from flexit.convert.mapping.family import families_by_architecture, find_family
from flexit.runtime.proof.compare import relative_error
from tests.convert.families.comparing import errors, inputs_for, theirs_on
from tests.convert.families.models import Drawn, all_drawn, made


def scaled(*kinds):
    """Sets a rotation of one of some kinds, with the numbers that GGUF has words for."""

    def change(config, rng):
        kind = rng.choice(["default", *kinds])
        given = {"rope_type": kind, "rope_theta": rng.choice([1e3, 1e4, 5e5])}
        share = (config.rope_parameters or {}).get("partial_rotary_factor")
        if kind != "default":
            given["factor"] = rng.choice([1.5, 4.0])
        if kind in ("yarn", "llama3"):
            given["original_max_position_embeddings"] = rng.choice([8, 16])
        if kind == "yarn" and rng.random() < 0.5:
            given |= {"beta_fast": 16.0, "beta_slow": 2.0}
        if kind == "exact":
            given |= {"rope_type": "yarn", "original_max_position_embeddings": 16, "truncate": False}
        if kind == "latent":
            both = rng.choice([0.7, 1.0])
            given |= {
                "rope_type": "yarn",
                "original_max_position_embeddings": 16,
                "mscale": both,
                "mscale_all_dim": both,
            }
        if kind == "llama3":
            given |= {"low_freq_factor": 1.0, "high_freq_factor": rng.choice([2.0, 4.0])}
        if share is not None:
            given["partial_rotary_factor"] = share
        config.rope_parameters = given

    return change


def fixed(**values):
    """Sets keys to values, or to what a function of the configuration gives."""

    def change(config, rng):
        del rng
        for key, value in values.items():
            setattr(config, key, value(config) if callable(value) else value)

    return change


def every(count):
    """Kinds of layers: every so many layers one without a window, the last of them."""
    return lambda config: [
        "sliding_attention" if (at + 1) % count else "full_attention" for at in range(config.num_hidden_layers)
    ]


def experts(config, rng):
    """Experts in every layer."""
    config.decoder_sparse_step, config.mlp_only_layers = 1, []


def by_window(config, rng):
    """Rotations by kind of layer."""
    linear = rng.choice([{"rope_type": "default"}, {"rope_type": "linear", "factor": 8.0}])
    local = {"rope_type": "default", "rope_theta": rng.choice([1e3, 1e4])}
    config.rope_parameters = {"full_attention": {"rope_theta": 1e6, **linear}, "sliding_attention": local}


def softmax(config, rng):
    """Scores that are scaled as always."""
    del rng
    config.attn_config.softmax_scale = None


def half_width(config, rng):
    """Heads that share the width, and turn all channels or half of them."""
    config.head_dim = 8
    config.hidden_size = 8 * config.num_attention_heads
    config.rope_parameters = {"partial_rotary_factor": rng.choice([0.5, 1.0])}


def normalised(config, rng):
    """Experts whose weights add up to one."""
    del rng
    config.ffn_config.moe_normalize_expert_weights = 1.0


def one_base(config, rng):
    """Rotations by kind of layer that differ in their scaling alone."""
    scaling = rng.choice([{"rope_type": "default"}, {"rope_type": "linear", "factor": 8.0}])
    local = {"rope_type": "default", "rope_theta": 1e4}
    config.rope_parameters = {"full_attention": {"rope_theta": 1e4, **scaling}, "sliding_attention": local}


def some_groups(config, rng):
    """Groups of experts of which not all are taken, or one."""
    config.topk_group = max(1, config.n_group - rng.choice([1, 2]))
    config.num_experts_per_tok = min(config.num_experts_per_tok, 2 * config.topk_group)


def gated(config, rng):
    """Feed-forwards as those of T5's versions."""
    proj = rng.choice(["relu", "gated-gelu"])
    config.feed_forward_proj, config.is_gated_act = proj, proj != "relu"
    config.dense_act_fn = "relu" if proj == "relu" else "gelu_new"


def tempered(config, rng):
    """Rotations of Ministral 3 whose mscale is 1, without a window."""
    config.sliding_window = None
    if "mscale" in config.rope_parameters:
        config.rope_parameters["mscale_all_dim"] = rng.choice([0.7, 1.0])


def interleaved(config, rng):
    """Experts in every layer or every second, and 128 or fewer."""
    config.num_local_experts = rng.choice([4, 4, 128])
    config.moe_layers = list(range(config.interleave_moe_layer_step - 1, 5, config.interleave_moe_layer_step))
    config.use_qk_norm = config.num_local_experts != 128


def some_windows(config, rng):
    """Layers with a window, and perhaps others, in any order."""
    others = [rng.choice(["sliding_attention", "full_attention"]) for _ in range(config.num_hidden_layers - 1)]
    config.layer_types = rng.sample(["sliding_attention", *others], config.num_hidden_layers)


def every_head_its_own(config, rng):
    """As many heads of keys as of queries."""
    del rng
    config.num_key_value_heads = config.num_attention_heads


def four(windowed):
    """Kinds of layers: every fourth without a window."""
    return lambda config: [
        windowed if (at + 1) % 4 else "full_attention" for at in range(config.num_hidden_layers)
    ]  # fmt: skip


FULL = fixed(use_sliding_window=False, layer_types=lambda config: ["full_attention"] * config.num_hidden_layers)
USUAL = scaled("linear", "yarn")
LLAMA = scaled("linear", "yarn", "llama3")
CHANGES = {
    "llama": [fixed(hidden_act="silu"), LLAMA],
    "qwen2": [fixed(hidden_act="silu"), FULL, USUAL],
    "qwen3": [fixed(hidden_act="silu", attention_bias=False), FULL, USUAL],
    "gemma": [fixed(hidden_act="gelu_pytorch_tanh", attention_bias=False, tie_word_embeddings=True), USUAL],
    "gemma2": [
        fixed(
            hidden_activation="gelu_pytorch_tanh", attention_bias=False, layer_types=every(2), tie_word_embeddings=True,
            query_pre_attn_scalar=lambda config: config.head_dim,
            attn_logit_softcapping=20.0, final_logit_softcapping=10.0,
        ),
        USUAL,
    ],
    "gemma3_text": [
        fixed(layer_types=every(6), query_pre_attn_scalar=lambda config: config.head_dim), by_window,
    ],
    "phi3": [fixed(sliding_window=None)],
    "gpt2": [fixed(activation_function="gelu_new", scale_attn_weights=True, scale_attn_by_inverse_layer_idx=False)],
    "mixtral": [fixed(hidden_act="silu", sliding_window=None), LLAMA],
    "qwen2_moe": [fixed(hidden_act="silu", qkv_bias=True, norm_topk_prob=False), experts, FULL, USUAL],
    "qwen3_moe": [
        fixed(
            hidden_act="silu", attention_bias=False, norm_topk_prob=True, use_sliding_window=False, sliding_window=None,
        ),
        experts, USUAL,
    ],
    "starcoder2": [fixed(hidden_act="gelu_pytorch_tanh", use_bias=True, sliding_window=None), USUAL],
    "falcon": [
        fixed(
            bias=False, alibi=False, parallel_attn=True, activation="gelu",
            multi_query=lambda config: not config.new_decoder_architecture,
        ),
        USUAL,
    ],
    "stablelm": [fixed(hidden_act="silu"), USUAL],
    "olmo2": [fixed(hidden_act="silu", attention_bias=False), USUAL],
    "cohere": [fixed(hidden_act="silu", attention_bias=False, use_qk_norm=False, tie_word_embeddings=True), USUAL],
    "granite": [fixed(hidden_act="silu"), LLAMA],
    "granitemoe": [fixed(attention_bias=False), LLAMA],
    "granitemoeshared": [fixed(attention_bias=False, shared_intermediate_size=17), LLAMA],
    "gpt_neox": [fixed(hidden_act="gelu", attention_bias=True), USUAL],
    "phi": [fixed(hidden_act="gelu_new", qk_layernorm=False), USUAL],
    "olmo": [fixed(attention_bias=False), USUAL],
    "olmoe": [
        fixed(attention_bias=False, norm_topk_prob=False), every_head_its_own, USUAL,
    ],
    "cohere2": [fixed(attention_bias=False, layer_types=every(4), tie_word_embeddings=True), USUAL],
    "bloom": [fixed(apply_residual_connection_post_layernorm=False)],
    "mpt": [softmax],
    "smollm3": [
        fixed(
            attention_bias=False, mlp_bias=False, use_sliding_window=False, sliding_window=None,
            layer_types=lambda config: ["full_attention"] * config.num_hidden_layers,
            no_rope_layers=lambda config: [int((at + 1) % 4 != 0) for at in range(config.num_hidden_layers)],
        ),
        USUAL,
    ],
    "glm": [half_width, USUAL],
    "glm4": [USUAL],
    "exaone4": [
        fixed(sliding_window=None, layer_types=lambda config: ["full_attention"] * config.num_hidden_layers), LLAMA,
    ],
    "nemotron": [fixed(hidden_act="relu2"), half_width, USUAL],
    "arcee": [fixed(hidden_act="relu2", attention_bias=False, mlp_bias=False), LLAMA],
    "seed_oss": [fixed(attention_out_bias=False, mlp_bias=False), USUAL],
    "ernie4_5": [fixed(use_bias=False), USUAL],
    "hunyuan_v1_dense": [fixed(attention_bias=False), USUAL],
    "gpt_oss": [fixed(attention_bias=True, swiglu_limit=7.0, layer_types=every(2)), scaled("linear", "exact")],
    "olmo3": [fixed(attention_bias=False), one_base, some_windows],
    "glm4_moe": [some_groups, USUAL],
    "minimax_m2": [USUAL],
    "deepseek_v2": [
        fixed(attention_bias=False, mlp_bias=False, rms_norm_eps=1e-6, topk_method="greedy"),
        scaled("latent"),
    ],
    "deepseek_v3": [
        fixed(attention_bias=False, rms_norm_eps=1e-6, rope_interleave=True), some_groups, scaled("latent"),
    ],
    "minicpm3": [
        fixed(
            attention_bias=False, rms_norm_eps=1e-6, scale_emb=12, scale_depth=1.4, dim_model_base=256, q_lora_rank=6,
        ),
        USUAL,
    ],
    "dbrx": [normalised],
    "bert": [fixed(hidden_act="gelu")],
    "distilbert": [fixed(activation="gelu")],
    "nomic_bert": [fixed(hidden_act="silu", head_dim=lambda config: config.hidden_size // config.num_attention_heads)],
    "modernbert": [
        fixed(
            hidden_activation="gelu", norm_bias=False, attention_bias=False, mlp_bias=False,
            layer_types=lambda config: [
                "sliding_attention" if at % 3 else "full_attention" for at in range(config.num_hidden_layers)
            ],
        ),
    ],
    "eurobert": [
        fixed(
            hidden_act="silu", attention_bias=False, mlp_bias=False,
            head_dim=lambda config: config.hidden_size // config.num_attention_heads,
        ),
        USUAL,
    ],
    "afmoe": [fixed(mup_enabled=True, attention_bias=False, layer_types=four("sliding_attention")), USUAL],
    "ministral3": [fixed(hidden_act="silu"), tempered],
    "mistral": [fixed(hidden_act="silu", sliding_window=None), LLAMA],
    "llama4_text": [
        fixed(num_hidden_layers=4),  # with fewer llama.cpp stops, since nothing reads its temperatures
        fixed(
            hidden_act="silu", attention_bias=False, attention_chunk_size=8192, floor_scale=8192, attn_scale=0.1,
            attn_temperature_tuning=True, layer_types=four("chunked_attention"),
            no_rope_layers=lambda config: [int((at + 1) % 4 != 0) for at in range(config.num_hidden_layers)],
        ),
        interleaved, LLAMA,
    ],
    "apertus": [fixed(hidden_act="xielu"), LLAMA],
    "roberta": [fixed(hidden_act="gelu")],
    "jina_embeddings_v3": [fixed(hidden_act="gelu"), USUAL],
    "umt5": [fixed(relative_attention_max_distance=128), gated],
    "t5 (t5encoder)": [fixed(relative_attention_max_distance=128), gated],
    "t5": [fixed(relative_attention_max_distance=128, scale_decoder_outputs=False), gated],
    "gpt_bigcode": [fixed(activation_function="gelu_pytorch_tanh", scale_attn_weights=True)],
}  # fmt: skip
"""What is changed in the configuration of a random model of each family."""


def family_and_section(name):
    """The family of a name above, and the section of its files: the first, or that of the architecture in brackets."""
    family, _, architecture = name.partition(" (")
    return find_family(family), section_of(find_family(family), architecture.rstrip(")") or None)


def names_of_all():
    """A name for every architecture of every family."""
    pairs = [(family, arch) for arch, families in families_by_architecture().items() for family in families]
    first = {family: section_of(find_family(family)).architecture for family, _ in pairs}
    return sorted(family if first[family] == arch else f"{family} ({arch})" for family, arch in pairs)


def model_for(name, seed):
    """A random model that a GGUF architecture of its family can say."""
    known, section = family_and_section(name)
    family, head = known.family, section.head
    way = next(each for each in all_drawn() if (each.family, each.head) == (family, head))

    def draw(rng):
        config = way.draw(rng).config
        attention = config._attn_implementation
        for change in CHANGES[name]:
            change(config, rng)
        made_anew = type(way.draw(rng))
        return made_anew._from_config(config, attn_implementation=attention)

    return made(Drawn(family, head, draw), seed)


def saved(model, folder, seed, *, name):
    """A folder with a model of theirs, for an encoder one of sentence-transformers; and how its states are pooled."""
    model.save_pretrained(folder)
    if not family_and_section(name)[1].pooled:
        return None
    rng = Random(seed)
    way, normalized = rng.choice(["mean_tokens", "cls_token", "lasttoken"]), rng.random() < 0.5
    kinds = ["Transformer", "Pooling", *(["Normalize"] if normalized else [])]
    paths = ["", "1_Pooling", "2_Normalize"]
    modules = [{"path": path, "type": f"models.{kind}"} for path, kind in zip(paths, kinds, strict=False)]
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text(json.dumps({f"pooling_mode_{way}": True}))
    return way, normalized


def pooled(states, mask, way, normalized):
    """A vector for each row of states, by definition."""
    rows = []
    for state, kept in zip(states.double().numpy(), mask.bool().numpy(), strict=True):
        here = state[kept]
        row = {"mean_tokens": here.mean(0), "cls_token": here[0], "lasttoken": here[-1]}[way]
        rows.append(row / np.linalg.norm(row) if normalized else row)
    return np.stack(rows)


def worst(model, module, padding, pooling):
    """The largest error of what a module gives, of an encoder on tokens that are no padding and of their vectors."""
    if pooling is None:
        return max(errors(model, module, padding).values())
    inputs = inputs_for(module, model, padding)
    states, mask = theirs_on(model, inputs)["last_hidden_state"], inputs["attention_mask"]
    with torch.no_grad():
        found = module(**inputs)
    vectors = relative_error(found["sentence_embedding"].numpy(), pooled(states, mask, *pooling), None)
    every = relative_error(found["last_hidden_state"].numpy(), states.numpy(), mask.bool().numpy())
    return max(vectors, every)
