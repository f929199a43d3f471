"""``ModelConfig``: one flat set of choices for the three usual topologies, from which :mod:`flexit.models` builds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal, cast

from pydantic import BaseModel, ConfigDict, ValidationError, field_validator

from flexit.errors import Problem, UserError
from flexit.ir.language.kinds import PositiveFloat, PositiveInt, Probability
from flexit.ir.wording import nearest, shown

ModelType = Literal["encoder-decoder", "encoder-only", "decoder-only"]
PeType = Literal[
    "absolute", "learned", "rotary", "alibi", "relative", "relative_global", "relative_bias", "none"
]  # fmt: skip
InitMethod = Literal[
    "xavier_uniform", "xavier_normal", "kaiming_uniform", "kaiming_normal", "normal", "orthogonal",
    "xavier", "kaiming", "scaled",
]  # fmt: skip
Activation = Literal["relu", "gelu", "silu", "tanh", "sigmoid", "geglu", "swiglu"]

VOCABULARIES = {"src_vocab": "src_vocab_size", "tgt_vocab": "tgt_vocab_size"}
"""Short names of vocabulary sizes."""


class ModelConfig(BaseModel):
    """What a model is, in the words of FlexiTransformers; unknown keywords are errors.

    Raises:
        UserError: a keyword is unknown or a value is wrong; every problem is in it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    model_type: ModelType | None = None
    """Topology; inferred from the vocabularies: source and target, source alone, or target or one for both."""
    d_model: PositiveInt = 512
    """Width of the model."""
    d_ff: PositiveInt = 2048
    """Width inside feed-forwards."""
    n_heads: PositiveInt = 8
    """Attention heads, a divisor of d_model."""
    n_layers: PositiveInt | tuple[PositiveInt, PositiveInt] = 6
    """Layers, or those of encoder and decoder as a pair."""
    vocab_size: PositiveInt | None = None
    """Tokens of the only vocabulary; ``src_vocab_size`` and ``tgt_vocab_size`` default to it."""
    src_vocab_size: PositiveInt | None = None
    """Tokens that an encoder reads; also ``src_vocab``."""
    tgt_vocab_size: PositiveInt | None = None
    """Tokens that a decoder reads and writes; also ``tgt_vocab``."""
    pe_type: PeType = "rotary"
    """Positions: sines added (absolute) or rows added (learned); rotation; linear distances (alibi, Press et al. 2021);
    a vector per distance, clipped (relative, Shaw et al. 2018) or not (relative_global, Huang et al. 2018); a number
    per distance (relative_bias); or none."""
    max_seq_len: PositiveInt = 2048
    """Rows of learned tables, and the distance from which relative ones are clipped."""
    rope_base: PositiveFloat = 10000.0
    """Base of the rotation's frequencies, over 1."""
    rope_percentage: PositiveFloat = 1.0
    """Share of each head's channels that turn."""
    norm_type: Literal["layernorm", "rmsnorm"] = "layernorm"
    """Normalisation."""
    norm_eps: PositiveFloat = 1e-6
    """Added under its root."""
    pre_norm: bool = True
    """Norms before the sub-layers and one at the end, or after each sum."""
    dropout: Probability = 0.1
    """On every sub-layer's result, and after added positions."""
    attention_dropout: Probability | None = None
    """On attention weights; default ``dropout``."""
    ff_dropout: Probability | None = None
    """Inside feed-forwards; default ``dropout``."""
    ff_activation: Activation = "gelu"
    """Function of the feed-forwards; geglu and swiglu are gated."""
    ff_bias: bool = True
    """Biases in feed-forwards."""
    attention_bias: bool = True
    """Biases in attention."""
    init_method: InitMethod = "xavier_uniform"
    """How weights are drawn; xavier and kaiming are their uniform forms, scaled is normal with residual projections
    divided by the square root of the number of residual branches."""
    init_std: PositiveFloat = 0.02
    """Standard deviation of normal and scaled."""
    pad_token_id: int = 0
    """Token that pads; no part of the architecture, kept for batches."""
    bos_token_id: int = 1
    """Token that begins a text; kept for generation."""
    eos_token_id: int = 2
    """Token that ends a text; kept for generation."""
    num_classes: PositiveInt | None = None
    """Classes of an encoder's head; without it the encoder returns its hidden states."""
    pooling: Literal["cls", "mean", "max"] = "cls"
    """What the classifier reads: the first token, or the mean or maximum over all."""
    tie_word_embeddings: bool = True
    """Scores by the table of the target tokens."""

    def __init__(self, **fields: Any) -> None:
        given = _with_long_names(fields)
        try:
            super().__init__(**given)
        except ValidationError as error:
            raise UserError(_explained(error)) from None
        problems = list(_faults(self))
        if problems:
            raise UserError(problems)

    @field_validator("n_layers", mode="before")
    @classmethod
    def _pair(cls, value: Any) -> Any:
        return tuple(cast("list[Any]", value)) if isinstance(value, list) else value

    @classmethod
    def from_dict(cls, config: Mapping[str, Any]) -> ModelConfig:
        """A config from a mapping of its fields."""
        return cls(**config)

    def to_dict(self) -> dict[str, Any]:
        """Every field by name."""
        return self.model_dump()

    @property
    def topology(self) -> ModelType:
        """``model_type``, or what the vocabularies say.

        Raises:
            UserError: they say nothing.
        """
        if self.model_type is not None:
            return self.model_type
        if self.src_vocab_size is not None:
            return "encoder-only" if self.tgt_vocab_size is None else "encoder-decoder"
        if self.tgt_vocab_size is None and self.vocab_size is None:
            raise UserError.of(
                "FX0202", "no vocabulary", path="vocab_size", expected="vocab_size, src_vocab or tgt_vocab",
                found="none of them", cure="pass tgt_vocab for a decoder, src_vocab for an encoder, or both",
            )  # fmt: skip
        return "decoder-only"

    def vocabulary(self, side: Literal["src", "tgt"]) -> int:
        """Tokens of one side.

        Raises:
            UserError: none are given.
        """
        own, other = self.src_vocab_size, self.tgt_vocab_size
        if side == "tgt":
            own, other = other, own
        alone = self.topology != "encoder-decoder"
        size = own or self.vocab_size or (other if alone else None)
        if size is None:
            raise UserError.of(
                "FX0202", "a vocabulary is missing", path=f"{side}_vocab_size", found="nothing",
                expected="the number of its tokens", cure=f"pass {side}_vocab, or vocab_size for both",
            )  # fmt: skip
        return size

    def depth(self, side: Literal["src", "tgt"]) -> int:
        """Layers of one side."""
        return self.n_layers if isinstance(self.n_layers, int) else self.n_layers[side == "tgt"]


def _with_long_names(fields: Mapping[str, Any]) -> dict[str, Any]:
    given = dict(fields)
    for short, name in VOCABULARIES.items():
        if short in given:
            value = given.pop(short)
            if given.get(name) not in (None, value):
                raise UserError.of(
                    "FX0103", f"{short} and {name} are the same", path=short, expected="one of them",
                    found=f"{shown(value)} and {shown(given[name])}", cure=f"delete {short}",
                )  # fmt: skip
            given[name] = value
    return given


def _explained(error: ValidationError) -> Iterator[Problem]:
    """Each mistake once, by field; a union reports one entry per alternative."""
    seen: set[str] = set()
    known = list(ModelConfig.model_fields)
    for entry in error.errors(include_url=False):
        name = str(entry["loc"][0])
        if name in seen:
            continue
        seen.add(name)
        if entry["type"] == "extra_forbidden":
            near = nearest(name, [*known, *VOCABULARIES])
            yield Problem(
                code="FX0201", path=name, message="unknown keyword", expected=f"one of {', '.join(known)}",
                found=name, cure=f"write {near}" if near else f"delete {name}",
            )  # fmt: skip
            continue
        word = entry["type"] == "literal_error"
        allowed = str(entry.get("ctx", {}).get("expected", "")).replace("'", "") if word else ""
        near = nearest(str(entry["input"]), allowed.replace(" or ", ", ").split(", ")) if word else ""
        yield Problem(
            code="FX0207" if word else "FX0206" if "than" in entry["type"] else "FX0205", path=name,
            message="not a value of this keyword", expected=allowed or _message(entry["msg"]),
            found=shown(entry["input"]), cure=f"write {near}" if near else f"correct {name}",
        )  # fmt: skip


def _message(text: str) -> str:
    return text.removeprefix("Input should be ").removeprefix("a valid ")


def _faults(config: ModelConfig) -> Iterator[Problem]:
    if config.d_model % config.n_heads:
        yield Problem(
            code="FX0403", path="n_heads", message="does not divide d_model", found=str(config.n_heads),
            expected=f"a divisor of {config.d_model}", cure="change n_heads or d_model",
        )  # fmt: skip
    elif config.pe_type == "rotary" and (_turning(config) % 2 or not _turning(config)):
        number = "an odd number of channels" if _turning(config) else "no channel"
        yield Problem(
            code="FX0405", path="rope_percentage", message=f"{number} would turn",
            expected=f"an even share, at least 2, of the {config.d_model // config.n_heads} channels of a head",
            found=str(_turning(config)), cure="change rope_percentage, n_heads or d_model",
        )  # fmt: skip
    if config.pe_type == "rotary" and config.rope_base <= 1:
        yield Problem(
            code="FX0406", path="rope_base", message="is no base of falling frequencies", expected="a number over 1",
            found=str(config.rope_base), cure="write 10000.0, or leave rope_base out",
        )  # fmt: skip
    if config.pe_type == "absolute" and config.d_model % 2:
        yield Problem(
            code="FX0405", path="d_model", message="odd width of a sinusoidal table",
            expected="an even number", found=str(config.d_model), cure="change d_model, or take other positions",
        )  # fmt: skip
    if config.rope_percentage > 1:
        yield Problem(
            code="FX0206", path="rope_percentage", message="out of range", expected="a number over 0, at most 1",
            found=str(config.rope_percentage), cure="write 1.0 to turn all channels",
        )  # fmt: skip
    several = isinstance(config.n_layers, tuple)
    known = config.model_type or config.src_vocab_size or config.tgt_vocab_size or config.vocab_size
    if several and known and config.topology != "encoder-decoder":
        yield Problem(
            code="FX0205", path="n_layers", message="a pair of depths for one stack", expected="one number",
            found=str(config.n_layers), cure="write the depth of the only stack",
        )  # fmt: skip
    if config.num_classes is not None and known and config.topology != "encoder-only":
        yield Problem(
            code="FX0501", path="num_classes", message="has no effect", found=str(config.num_classes),
            expected=f"nothing, since the model is {config.topology}",
            cure="delete num_classes, or pass src_vocab alone",
        )  # fmt: skip


def _turning(config: ModelConfig) -> int:
    return int(config.d_model // config.n_heads * config.rope_percentage)
