"""Configurations as older versions of the library wrote them, with keys that mean nothing any more."""

import json

import pytest

from flexit.convert.mapping.layers import UNROLLED, unrolled
from flexit.convert.pretrained import spec_of
from flexit.errors import SourceError

MINILM = {
    "_name_or_path": "nreimers/MiniLM-L6-H384-uncased", "architectures": ["BertModel"],
    "attention_probs_dropout_prob": 0.1, "gradient_checkpointing": False, "hidden_act": "gelu",
    "hidden_dropout_prob": 0.1, "hidden_size": 384, "initializer_range": 0.02, "intermediate_size": 1536,
    "layer_norm_eps": 1e-12, "max_position_embeddings": 512, "model_type": "bert", "num_attention_heads": 12,
    "num_hidden_layers": 6, "pad_token_id": 0, "position_embedding_type": "absolute", "transformers_version": "4.8.2",
    "type_vocab_size": 2, "use_cache": True, "vocab_size": 30522,
}  # fmt: skip
XLM_ROBERTA = {
    "architectures": ["XLMRobertaForMaskedLM"], "attention_probs_dropout_prob": 0.1, "bos_token_id": 0,
    "eos_token_id": 2, "hidden_act": "gelu", "hidden_dropout_prob": 0.1, "hidden_size": 768,
    "initializer_range": 0.02, "intermediate_size": 3072, "layer_norm_eps": 1e-05, "max_position_embeddings": 514,
    "model_type": "xlm-roberta", "num_attention_heads": 12, "num_hidden_layers": 12, "output_past": True,
    "pad_token_id": 1, "position_embedding_type": "absolute", "transformers_version": "4.17.0.dev0",
    "type_vocab_size": 1, "use_cache": True, "vocab_size": 250002,
}  # fmt: skip
BART = {
    "_name_or_path": "bart-base", "activation_dropout": 0.1, "activation_function": "gelu", "add_bias_logits": False,
    "add_final_layer_norm": False, "architectures": ["BartModel"], "attention_dropout": 0.1, "bos_token_id": 0,
    "classif_dropout": 0.1, "classifier_dropout": 0.0, "d_model": 768, "decoder_attention_heads": 12,
    "decoder_ffn_dim": 3072, "decoder_layerdrop": 0.0, "decoder_layers": 6, "decoder_start_token_id": 2,
    "dropout": 0.1, "early_stopping": True, "encoder_attention_heads": 12, "encoder_ffn_dim": 3072,
    "encoder_layerdrop": 0.0, "encoder_layers": 6, "eos_token_id": 2, "forced_bos_token_id": 0,
    "forced_eos_token_id": 2, "gradient_checkpointing": False, "id2label": {"0": "LABEL_0"}, "init_std": 0.02,
    "is_encoder_decoder": True, "label2id": {"LABEL_0": 0}, "max_position_embeddings": 1024, "model_type": "bart",
    "no_repeat_ngram_size": 3, "normalize_before": False, "normalize_embedding": True, "num_beams": 4,
    "num_hidden_layers": 6, "pad_token_id": 1, "scale_embedding": False, "task_specific_params": {"summarization": {}},
    "torch_dtype": "float32", "transformers_version": "4.12.0.dev0", "use_cache": True, "vocab_size": 50265,
}  # fmt: skip
MARIAN = {
    "_num_labels": 3, "activation_dropout": 0.0, "activation_function": "swish", "add_bias_logits": False,
    "add_final_layer_norm": False, "architectures": ["MarianMTModel"], "attention_dropout": 0.0,
    "bad_words_ids": [[58100]], "bos_token_id": 0, "classif_dropout": 0.0, "classifier_dropout": 0.0, "d_model": 512,
    "decoder_attention_heads": 8, "decoder_ffn_dim": 2048, "decoder_layerdrop": 0.0, "decoder_layers": 6,
    "decoder_start_token_id": 58100, "dropout": 0.1, "encoder_attention_heads": 8, "encoder_ffn_dim": 2048,
    "encoder_layerdrop": 0.0, "encoder_layers": 6, "eos_token_id": 0, "forced_eos_token_id": 0, "init_std": 0.02,
    "is_encoder_decoder": True, "max_length": 512, "max_position_embeddings": 512, "model_type": "marian",
    "normalize_before": False, "normalize_embedding": False, "num_beams": 6, "num_hidden_layers": 6,
    "pad_token_id": 58100, "scale_embedding": True, "static_position_embeddings": True, "use_cache": True,
    "vocab_size": 58101,
}  # fmt: skip
DEBERTA = {
    "model_type": "deberta-v2", "attention_probs_dropout_prob": 0.1, "hidden_act": "gelu", "hidden_dropout_prob": 0.1,
    "hidden_size": 768, "initializer_range": 0.02, "intermediate_size": 3072, "max_position_embeddings": 512,
    "relative_attention": True, "position_buckets": 256, "norm_rel_ebd": "layer_norm", "share_att_key": True,
    "pos_att_type": "p2c|c2p", "layer_norm_eps": 1e-7, "max_relative_positions": -1, "position_biased_input": False,
    "num_attention_heads": 12, "num_hidden_layers": 12, "type_vocab_size": 0, "vocab_size": 128100,
}  # fmt: skip
MODERNBERT = {
    "architectures": ["ModernBertForMaskedLM"], "attention_bias": False, "attention_dropout": 0.0,
    "bos_token_id": 50281, "classifier_activation": "gelu", "classifier_bias": False, "classifier_dropout": 0.0,
    "classifier_pooling": "mean", "cls_token_id": 50281, "decoder_bias": True, "deterministic_flash_attn": False,
    "embedding_dropout": 0.0, "eos_token_id": 50282, "global_attn_every_n_layers": 3, "global_rope_theta": 160000.0,
    "gradient_checkpointing": False, "hidden_activation": "gelu", "hidden_size": 768, "initializer_cutoff_factor": 2.0,
    "initializer_range": 0.02, "intermediate_size": 1152, "layer_norm_eps": 1e-05, "local_attention": 128,
    "local_rope_theta": 10000.0, "max_position_embeddings": 8192, "mlp_bias": False, "mlp_dropout": 0.0,
    "model_type": "modernbert", "norm_bias": False, "norm_eps": 1e-05, "num_attention_heads": 12,
    "num_hidden_layers": 22, "pad_token_id": 50283, "position_embedding_type": "absolute", "sep_token_id": 50282,
    "tie_word_embeddings": True, "torch_dtype": "float32", "transformers_version": "4.47.0.dev0", "vocab_size": 50368,
}  # fmt: skip
ALBERT = {
    "architectures": ["AlbertForMaskedLM"], "attention_probs_dropout_prob": 0, "bos_token_id": 2,
    "classifier_dropout_prob": 0.1, "down_scale_factor": 1, "embedding_size": 128, "eos_token_id": 3,
    "gap_size": 0, "hidden_act": "gelu_new", "hidden_dropout_prob": 0, "hidden_size": 768, "initializer_range": 0.02,
    "inner_group_num": 1, "intermediate_size": 3072, "layer_norm_eps": 1e-12, "max_position_embeddings": 512,
    "model_type": "albert", "net_structure_type": 0, "num_attention_heads": 12, "num_hidden_groups": 1,
    "num_hidden_layers": 12, "num_memory_blocks": 0, "pad_token_id": 0, "type_vocab_size": 2, "vocab_size": 30000,
}  # fmt: skip
WHISPER = {
    "_name_or_path": "openai/whisper-tiny", "activation_dropout": 0.0, "activation_function": "gelu",
    "architectures": ["WhisperForConditionalGeneration"], "attention_dropout": 0.0,
    "begin_suppress_tokens": [220, 50257], "bos_token_id": 50257, "d_model": 384, "decoder_attention_heads": 6,
    "decoder_ffn_dim": 1536, "decoder_layerdrop": 0.0, "decoder_layers": 4, "decoder_start_token_id": 50258,
    "dropout": 0.0, "encoder_attention_heads": 6, "encoder_ffn_dim": 1536, "encoder_layerdrop": 0.0,
    "encoder_layers": 4, "eos_token_id": 50257, "forced_decoder_ids": [[1, 50259], [2, 50359], [3, 50363]],
    "init_std": 0.02, "is_encoder_decoder": True, "max_length": 448, "max_source_positions": 1500,
    "max_target_positions": 448, "model_type": "whisper", "num_hidden_layers": 4, "num_mel_bins": 80,
    "pad_token_id": 50257, "scale_embedding": False, "suppress_tokens": [1, 2, 7], "torch_dtype": "float32",
    "transformers_version": "4.27.0.dev0", "use_cache": True, "vocab_size": 51865,
}  # fmt: skip


def folder_with(tmp_path, config):
    (tmp_path / "config.json").write_text(json.dumps(config))
    return tmp_path


@pytest.mark.parametrize(
    "config", [MINILM, XLM_ROBERTA, BART, MARIAN, DEBERTA, MODERNBERT, ALBERT], ids=lambda each: each["model_type"]
)
def test_they_are_understood(tmp_path, config):
    spec = spec_of(folder_with(tmp_path, config))
    known = {"n_layers": config.get("num_hidden_layers"), "vocab_size": config["vocab_size"]}
    embed = spec.blocks["embed" if "embed" in spec.blocks else "source"]
    assert {"n_layers": spec.blocks["encoder"].n_layers, "vocab_size": embed.vocab_size} == known


def test_of_a_whisper_the_decoder_is_understood(tmp_path):
    spec = spec_of(folder_with(tmp_path, WHISPER))
    assert (list(spec.inputs), list(spec.blocks)) == (
        ["input_ids", "encoder_hidden_states"],
        ["embed", "decoder", "head"],
    )
    assert (spec.blocks["decoder"].n_layers, spec.blocks["embed"].position.max_len) == (4, 448)


def test_rows_of_positions_before_the_first_token_are_no_room(tmp_path):
    embed = spec_of(folder_with(tmp_path, XLM_ROBERTA)).blocks["embed"]
    assert (embed.position.max_len, embed.position.ids.pad_id, embed.token_types) == (512, 1, 1)


def test_a_pattern_of_layers_may_be_a_number(tmp_path):
    layers = unrolled(spec_of(folder_with(tmp_path, MODERNBERT)))["blocks"]["encoder"][UNROLLED]
    told = [(each["attention"]["rotary"]["theta"], each["attention"]["mask"].get("window")) for each in layers]
    assert told == [(10000.0, 64) if at % 3 else (160000.0, None) for at in range(22)]


def test_terms_of_attention_may_be_one_text(tmp_path):
    bias = spec_of(folder_with(tmp_path, DEBERTA)).blocks["encoder"].score_bias
    assert (sorted(bias.terms), bias.n_buckets, bias.max_distance) == (["c2p", "p2c"], 256, 512)


@pytest.mark.parametrize(
    ("config", "change", "code"),
    [
        (MINILM, {"position_embedding_type": "relative_key"}, "FX1855"),
        (MINILM, {"is_decoder": True}, "FX1855"),
        (MINILM, {"rotary": True}, "FX1854"),
        (DEBERTA, {"conv_kernel_size": 3}, "FX1855"),
        (DEBERTA, {"position_buckets": -1}, "FX1856"),
        (DEBERTA, {"relative_attention": False}, "FX1855"),
        (MODERNBERT, {"rope_scaling": {"type": "linear", "factor": 2.0}}, "FX1855"),
        (MARIAN, {"tie_word_embeddings": False}, "FX1855"),
    ],
)
def test_what_changes_the_computation_and_is_not_said_is_refused(tmp_path, config, change, code):
    with pytest.raises(SourceError) as caught:
        spec_of(folder_with(tmp_path, {**config, **change}))
    assert code in {problem.code for problem in caught.value.problems}
