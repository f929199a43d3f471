"""Presets that stand for published models: how many parameters those have, and where the figure comes from.

Tied tables count once. ``tests/parity/test_parameters.py`` counts each of them by code that is not ours.
"""

from typing import NamedTuple


class Published(NamedTuple):
    """A model's parameters, and who counted them."""

    parameters: int
    source: str


PUBLISHED = {
    "albert-base": Published(11_221_680, "`AlbertForMaskedLM`"),
    "bart-base": Published(139_470_681, "`BartForConditionalGeneration`, plus the bias of the logits, a buffer there"),
    "bert-base": Published(109_514_298, "`BertForMaskedLM`"),
    "bloom-560m": Published(559_214_592, "`BloomForCausalLM`"),
    "deberta-v3-small": Published(141_897_219, "`DebertaV2ForSequenceClassification` with three labels"),
    "deepseek-v2-lite": Published(15_706_484_224, "`DeepseekV2ForCausalLM`"),
    "electra-small": Published(13_549_057, "`ElectraForPreTraining`"),
    "flan-t5-small": Published(76_961_152, "`T5ForConditionalGeneration`, plus the head, which newer versions tie"),
    "gemma2-2b": Published(2_614_341_888, "`Gemma2ForCausalLM`"),
    "gemma3-1b": Published(999_885_952, "`Gemma3ForCausalLM`"),
    "gpt-oss-20b": Published(20_914_757_184, "`GptOssForCausalLM`"),
    "gpt2": Published(124_439_808, "`GPT2LMHeadModel`"),
    "llama-3.2-1b": Published(1_235_814_400, "`LlamaForCausalLM`"),
    "marian-en-de": Published(
        73_944_309, "`MarianMTModel` without its tables of sines, plus the bias of the logits, a buffer there"
    ),
    "mistral-7b": Published(7_241_732_096, "`MistralForCausalLM`"),
    "mixtral-8x7b": Published(46_702_792_704, "`MixtralForCausalLM`"),
    "modernbert-base": Published(149_655_232, "`ModernBertForMaskedLM`"),
    "mpnet-base": Published(108_895_872, "`MPNetModel` without its pooler"),
    "olmo2-1b": Published(1_484_916_736, "`Olmo2ForCausalLM`"),
    "phi-2": Published(2_779_683_840, "`PhiForCausalLM`"),
    "qwen3-0.6b": Published(596_049_920, "`Qwen3ForCausalLM`"),
    "roberta-base": Published(124_697_433, "`RobertaForMaskedLM`"),
    "smollm3-3b": Published(3_075_098_624, "`SmolLM3ForCausalLM`"),
    "t5-small": Published(60_506_624, "`T5ForConditionalGeneration`"),
    "vaswani-base": Published(
        63_045_632,
        "`torch.nn.Transformer` without last norms and biases of attention, plus one table (the paper: 65 million)",
    ),
    "whisper-tiny-decoder": Published(29_552_256, "`WhisperDecoder`"),
}
