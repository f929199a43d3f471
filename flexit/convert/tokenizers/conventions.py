"""What a model's reference tokenizer does that its vocabulary file does not say: names of special tokens, what is added
around a text, and which row of the token table a SentencePiece piece has.

Facts from the tokenizer classes of Hugging Face transformers, named as in ``tokenizer_config.json``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from flexit.convert.tokenizers.contents import text_in
from flexit.convert.tokenizers.refusal import unknown
from flexit.convert.tokenizers.specials import CONFIG

BERT = {"unk": "[UNK]", "sep": "[SEP]", "pad": "[PAD]", "cls": "[CLS]", "mask": "[MASK]"}
FAIRSEQ = {"bos": "<s>", "eos": "</s>", "unk": "<unk>", "sep": "</s>", "pad": "<pad>", "cls": "<s>", "mask": "<mask>"}
LLAMA = {"bos": "<s>", "eos": "</s>", "unk": "<unk>"}
END = "<|endoftext|>"


@dataclass(frozen=True, slots=True)
class Convention:
    """One reference tokenizer.

    Attributes:
        names: token of each role where the folder says nothing, as far as the vocabulary has it.
        around: what is added around a text, and around two: ``A`` and ``B`` stand for the texts, a role for its token.
            A role with ``?`` is added where the folder asks for it (``add_bos_token``), one with ``+`` unless it says
            no.
        types: whether the second text has token type 1.
        head: pieces that stand before those of a SentencePiece file, which lose their first ``skipped``.
        appended: roles whose token comes after the vocabulary.
        sentinels: how many ``<extra_id_n>`` come after the vocabulary, the last first.
        lower_case: whether a folder that says nothing means texts in lower case.
    """

    names: Mapping[str, str] = field(default_factory=dict)
    around: tuple[str, str] = ("A", "A B")
    types: bool = False
    head: tuple[str, ...] = ()
    skipped: int = 0
    appended: tuple[str, ...] = ()
    sentinels: int = 0
    lower_case: bool = False


_CLS = ("cls A sep", "cls A sep B sep")
_ROBERTA = ("cls A sep", "cls A sep sep B sep")
_STARTED = ("bos+ A eos?", "bos+ A eos? bos+ B eos?")
_MAYBE = ("bos? A eos?", "bos? A eos? bos? B eos?")
_ENDED = ("A eos", "A eos B eos")

CONVENTIONS: dict[str, Convention] = {
    "Bert": Convention(BERT, _CLS, types=True, lower_case=True),
    "MPNet": Convention({**FAIRSEQ, "unk": "[UNK]"}, _ROBERTA, lower_case=True),
    "GPT2": Convention({"bos": END, "eos": END, "unk": END}, _MAYBE),
    "Qwen2": Convention({"eos": END, "pad": END}, _MAYBE),
    "Roberta": Convention(FAIRSEQ, _ROBERTA),
    "Llama": Convention(LLAMA, _STARTED),
    "Gemma": Convention({"bos": "<bos>", "eos": "<eos>", "unk": "<unk>", "pad": "<pad>"}, _STARTED),
    "T5": Convention({"eos": "</s>", "unk": "<unk>", "pad": "<pad>"}, _ENDED, sentinels=100),
    "XLMRoberta": Convention(
        FAIRSEQ, _ROBERTA, head=("<s>", "<pad>", "</s>", "<unk>"), skipped=3, appended=("mask",)
    ),
    "Camembert": Convention(
        FAIRSEQ, _ROBERTA, head=("<s>NOTUSED", "<pad>", "</s>NOTUSED", "<unk>", "<unk>NOTUSED"), skipped=1,
        appended=("mask", "bos", "eos"),
    ),
    "Albert": Convention(
        {**BERT, "unk": "<unk>", "pad": "<pad>", "bos": "[CLS]", "eos": "[SEP]"}, _CLS, types=True, lower_case=True
    ),
    "DebertaV2": Convention(
        {**BERT, "bos": "[CLS]", "eos": "[SEP]"}, _CLS, types=True, appended=("mask",)
    ),
}  # fmt: skip

ALIASES = {
    "DistilBert": "Bert", "Electra": "Bert", "ConvBert": "Bert", "MobileBert": "Bert", "Funnel": "Bert",
    "CodeGen": "GPT2", "GPTNeoX": "GPT2", "Bart": "Roberta", "Longformer": "Roberta", "LED": "Roberta",
    "Mvp": "Roberta", "CodeLlama": "Llama", "MT5": "T5",
}  # fmt: skip

MODEL_TYPES = {
    "Bert": "bert distilbert electra convbert mobilebert ernie nomic_bert",
    "MPNet": "mpnet",
    "GPT2": "gpt2 gpt_neo gptj codegen gpt_bigcode starcoder2 phi",
    "Qwen2": "qwen2 qwen2_moe qwen3 qwen3_moe",
    "Roberta": "roberta bart longformer led mvp data2vec-text",
    "Llama": "llama mistral mixtral phi3 olmo stablelm ministral",
    "Gemma": "gemma gemma2 gemma3_text gemma3",
    "T5": "t5 mt5 umt5",
    "XLMRoberta": "xlm-roberta xlm-roberta-xl xmod",
    "Camembert": "camembert", "Albert": "albert", "DebertaV2": "deberta-v2",
}  # fmt: skip
"""Model types of ``config.json`` by the tokenizer that they have unless ``tokenizer_config.json`` names one."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """The convention of a folder, and by what name it was found."""

    name: str
    convention: Convention


def convention_of(
    config: Mapping[str, Any], tokenizer_config: Mapping[str, Any], *, among: tuple[str, ...], file: str
) -> Chosen:
    """The convention that a folder names, by its tokenizer class or else its model type.

    Args:
        config: of the model, ``config.json``.
        tokenizer_config: ``tokenizer_config.json``.
        among: conventions that fit the vocabulary file.
        file: the vocabulary file, which is blamed.

    Raises:
        SourceError: FX1903, it names none, or one that is not known for such a file.
    """
    stated = text_in(tokenizer_config, "tokenizer_class", name=CONFIG)
    model_type = text_in(config, "model_type", name="config.json")
    name: str | None = None
    if stated is not None and stated not in ("PreTrainedTokenizerFast", "TokenizersBackend"):
        short = stated.removesuffix("Fast").removesuffix("Tokenizer")
        name = ALIASES.get(short, short)
    elif model_type is not None:
        name = next((each for each, types in MODEL_TYPES.items() if model_type in types.split()), None)
    if name not in CONVENTIONS or name not in among:
        raise unknown(
            file, f"it is not known how this model uses {file}",
            expected=f"the tokenizer_class or model_type of one of {', '.join(among)}",
            found=stated or model_type or "no tokenizer_config.json and no config.json that say it",
        )  # fmt: skip
    return Chosen(name, CONVENTIONS[name])
