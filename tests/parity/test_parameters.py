"""Parameters of the published models that presets stand for, counted by Hugging Face's classes and torch's own.

Where a class's own defaults are the model, they are taken; nothing is allocated.
"""

from collections.abc import Callable

import pytest
import torch
import transformers
from torch import nn
from transformers.models.whisper.modeling_whisper import WhisperDecoder

from tests.parity import test_preset_decoders, test_preset_encoders, test_preset_pairs
from tests.published import PUBLISHED


def heads(count: int, groups: int | None = None) -> dict[str, int]:
    return {"num_attention_heads": count} | ({} if groups is None else {"num_key_value_heads": groups})


def sizes(vocabulary: int, layers: int, width: int, inner: int) -> dict[str, int]:
    return {
        "vocab_size": vocabulary, "num_hidden_layers": layers, "hidden_size": width, "intermediate_size": inner,
    }  # fmt: skip


def both(layers: int, count: int, inner: int) -> dict[str, int]:
    """Sizes of an encoder and a decoder that are alike."""
    return {
        f"{side}_{name}": value
        for side in ("encoder", "decoder")
        for name, value in (("layers", layers), ("attention_heads", count), ("ffn_dim", inner))
    }


HF = transformers
MODELS: dict[str, Callable[[], nn.Module]] = {
    "albert-base": lambda: HF.AlbertForMaskedLM(HF.AlbertConfig(**sizes(30_000, 12, 768, 3072), **heads(12))),
    "bart-base": lambda: HF.BartForConditionalGeneration(HF.BartConfig(d_model=768, **both(6, 12, 3072))),
    "bert-base": lambda: HF.BertForMaskedLM(HF.BertConfig()),
    "bloom-560m": lambda: HF.BloomForCausalLM(
        HF.BloomConfig(vocab_size=250_880, hidden_size=1024, n_layer=24, n_head=16)
    ),
    "deberta-v3-small": lambda: HF.DebertaV2ForSequenceClassification(
        HF.DebertaV2Config(
            **sizes(128_100, 6, 768, 3072),
            **heads(12),
            relative_attention=True,
            position_buckets=256,
            norm_rel_ebd="layer_norm",
            share_att_key=True,
            pos_att_type=["p2c", "c2p"],
            position_biased_input=False,
            type_vocab_size=0,
            num_labels=3,
        )
    ),
    "deepseek-v2-lite": lambda: HF.DeepseekV2ForCausalLM(
        HF.DeepseekV2Config(
            **sizes(102_400, 27, 2048, 10_944),
            **heads(16, 16),
            moe_intermediate_size=1408,
            n_shared_experts=2,
            n_routed_experts=64,
            num_experts_per_tok=6,
            q_lora_rank=None,
            kv_lora_rank=512,
            qk_nope_head_dim=128,
            qk_rope_head_dim=64,
            v_head_dim=128,
            first_k_dense_replace=1,
        )
    ),
    "electra-small": lambda: HF.ElectraForPreTraining(HF.ElectraConfig()),
    "flan-t5-small": lambda: HF.T5ForConditionalGeneration(
        HF.T5Config(num_layers=8, num_heads=6, d_ff=1024, feed_forward_proj="gated-gelu")
    ),
    "gemma2-2b": lambda: HF.Gemma2ForCausalLM(HF.Gemma2Config()),
    "gemma3-1b": lambda: HF.Gemma3ForCausalLM(
        HF.Gemma3TextConfig(**sizes(262_144, 26, 1152, 6912), **heads(4, 1), head_dim=256)
    ),
    "gpt-oss-20b": lambda: HF.GptOssForCausalLM(HF.GptOssConfig(num_hidden_layers=24, num_local_experts=32)),
    "gpt2": lambda: HF.GPT2LMHeadModel(HF.GPT2Config()),
    "llama-3.2-1b": lambda: HF.LlamaForCausalLM(
        HF.LlamaConfig(**sizes(128_256, 16, 2048, 8192), **heads(32, 8), tie_word_embeddings=True)
    ),
    "marian-en-de": lambda: HF.MarianMTModel(
        HF.MarianConfig(
            vocab_size=58_101, pad_token_id=58_100, d_model=512, max_position_embeddings=512, **both(6, 8, 2048)
        )
    ),
    "mistral-7b": lambda: HF.MistralForCausalLM(HF.MistralConfig()),
    "mixtral-8x7b": lambda: HF.MixtralForCausalLM(HF.MixtralConfig()),
    "modernbert-base": lambda: HF.ModernBertForMaskedLM(HF.ModernBertConfig()),
    "mpnet-base": lambda: HF.MPNetModel(HF.MPNetConfig(max_position_embeddings=514), add_pooling_layer=False),
    "olmo2-1b": lambda: HF.Olmo2ForCausalLM(HF.Olmo2Config(**sizes(100_352, 16, 2048, 8192), **heads(16))),
    "phi-2": lambda: HF.PhiForCausalLM(HF.PhiConfig(**sizes(51_200, 32, 2560, 10_240), **heads(32))),
    "qwen3-0.6b": lambda: HF.Qwen3ForCausalLM(
        HF.Qwen3Config(**sizes(151_936, 28, 1024, 3072), **heads(16, 8), head_dim=128, tie_word_embeddings=True)
    ),
    "roberta-base": lambda: HF.RobertaForMaskedLM(
        HF.RobertaConfig(vocab_size=50_265, max_position_embeddings=514, type_vocab_size=1)
    ),
    "smollm3-3b": lambda: HF.SmolLM3ForCausalLM(HF.SmolLM3Config()),
    "t5-small": lambda: HF.T5ForConditionalGeneration(HF.T5Config()),
    "vaswani-base": lambda: nn.Transformer(512, 8, 6, 6, 2048, batch_first=True),
    "whisper-tiny-decoder": lambda: WhisperDecoder(
        HF.WhisperConfig(d_model=384, decoder_layers=4, decoder_attention_heads=6, decoder_ffn_dim=1536)
    ),
}
"""Each published model as a library builds it."""

UNLIKE = {
    "bart-base": 50_265,
    "flan-t5-small": 32_128 * 512,
    "marian-en-de": 58_101 - 2 * 512 * 512,
    "vaswani-base": 37_000 * 512 - 2 * 2 * 512 - 18 * 4 * 512,
}
"""What a preset has more than the library's class; ``tests/published.py`` says what it is."""


@pytest.mark.parametrize("name", PUBLISHED)
def test_as_many_as_in_the_library(name):
    with torch.device("meta"):
        model = MODELS[name]()
    assert all(parameter.is_meta for parameter in model.parameters())
    assert type(model).__name__ in PUBLISHED[name].source
    counted = sum(parameter.numel() for parameter in model.parameters())
    assert PUBLISHED[name].parameters == counted + UNLIKE.get(name, 0)


def test_each_is_compared_too():
    files = (test_preset_decoders, test_preset_encoders, test_preset_pairs)
    compared = {name for file in files for name in file.FAMILIES}
    assert compared | {"vaswani-base", "whisper-tiny-decoder"} == set(PUBLISHED)
