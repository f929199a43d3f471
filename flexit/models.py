"""Models by class, as FlexiTransformers had them: keywords in, a lowered PyTorch module out.

    model = FlexiGPT(tgt_vocab=50000, d_model=1024)
    logits = model(ids)

There is one implementation: each class writes a spec (``model.spec``), and the module is what that spec lowers to.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal, Self, cast

import torch
from torch import Tensor
from torch.nn import functional as F

from flexit.architectures import spec_of
from flexit.class_saved import load_model, save_model
from flexit.class_style import agree, lowered, require_number, says_more, visible
from flexit.configs import ModelConfig, ModelType
from flexit.errors import UserError
from flexit.ir.misfits import misfit
from flexit.lower.torch.module import FlexitModule
from flexit.runtime.sessions.torch_session import within_tables

__all__ = [
    "BaseModel",
    "FlexiBERT",
    "FlexiGPT",
    "FlexiTransformer",
    "Generator",
    "ModelConfig",
    "TransformerFactory",
    "TransformerModel",
    "create_model",
]

CLASS_STYLE = ("src", "tgt", "mask", "src_mask", "tgt_mask", "return_hidden")
"""Keywords that call a model as its class says; all others are graph inputs."""


class Constructor(type):
    """Calling a class builds the spec and lowers it; the generated class below it is made in the ordinary way."""

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        if "_run" in vars(cls):
            return super().__call__(*args, **kwargs)
        return cast("type[BaseModel]", cls).from_config(cast("type[BaseModel]", cls).configure(*args, **kwargs))


class BaseModel(FlexitModule, metaclass=Constructor):
    """A lowered module that can also be called by position, and then returns a tensor.

    Attributes:
        config: what it was built from.
        spec: the spec that says the same.
    """

    config: ModelConfig
    topology: ClassVar[ModelType | None] = None

    @classmethod
    def configure(cls, *args: Any, **fields: Any) -> ModelConfig:
        """The config that the arguments of the class say: keywords, one mapping of them, or a config.

        Raises:
            UserError: a keyword is unknown, or a value is wrong.
        """
        if len(args) > 1 or (args and not isinstance(args[0], ModelConfig | Mapping)):
            raise UserError.of(
                "FX2001", f"{cls.__name__} takes keywords", expected="keywords, one mapping or a ModelConfig",
                found=f"{len(args)} arguments by position", cure="write them as name=value",
            )  # fmt: skip
        first: Any = args[0] if args else {}
        fields = {**(first.model_dump(exclude_unset=True) if isinstance(first, ModelConfig) else first), **fields}
        if cls.topology is not None:
            fields.setdefault("model_type", cls.topology)
        return ModelConfig(**{**cls.defaults(fields), **fields})

    @classmethod
    def defaults(cls, fields: Mapping[str, Any]) -> dict[str, Any]:
        """What this class takes where ``fields`` say nothing and :class:`ModelConfig` would take something else."""
        width = fields.get("d_model")
        return {"d_ff": 4 * width} if isinstance(width, int) else {}

    @classmethod
    def from_config(cls, config: ModelConfig, *, seed: int | None = None) -> BaseModel:
        """The model of a config.

        Args:
            config: what to build.
            seed: of the first weights; without one it is drawn from PyTorch's generator (``torch.manual_seed``).

        Raises:
            UserError: the config lacks something, or its numbers do not fit together.
        """
        model = lowered(spec_of(config), seed=seed, base=cls)
        assert isinstance(model, BaseModel)
        model.config = config
        return model

    @property
    def model_type(self) -> ModelType:
        """Its topology."""
        return self.config.topology

    @property
    def generator(self) -> Generator:
        """Hidden states to logits: ``generator(hidden [batch, seq, d_model]) -> [batch, seq, vocab]``."""
        return Generator(self)

    def save(self, folder: str | Path, *, force: bool = False) -> Path:
        """Write it into a folder of its own, which :meth:`load` and ``flexit export`` read.

        Args:
            folder: new, or with ``force`` one that was written so.
            force: replace it.

        Raises:
            UserError: FX1301, the folder exists; FX1302, it may not be replaced.
            ResourceError: FX1304, the operating system refused.
        """
        return save_model(self, folder, force=force)

    @classmethod
    def load(cls, folder: str | Path) -> Self:
        """The model in a folder that :meth:`save` or a ``CheckpointCallback`` wrote, in evaluation mode.

        Raises:
            CheckpointError: FX1201, there is none, or it is damaged; FX1202, its weights are of another model.
            UserError: FX2001, it is of another topology than this class.
        """
        return cast("Self", load_model(cls, folder))

    def num_parameters(self, trainable_only: bool = True) -> int:
        """Parameters, tied tables once."""
        return sum(p.numel() for p in self.parameters() if p.requires_grad or not trainable_only)

    def forward(self, *args: Any, **inputs: Any) -> Any:
        """Run the model, in one of two ways.

        By position or with the keywords ``src``, ``tgt``, ``src_mask``, ``tgt_mask``: ids ``int64 [batch, seq]``, masks
        that are true where a token is seen, ``[batch, seq]``, ``[batch, 1, seq]`` or ``[batch, 1, 1, seq]`` for
        padding, ``[batch or 1, 1, seq, seq]`` for padding and causality together. Decoders are causal with or without a
        mask. Returns logits, or the hidden states of an encoder without classes; with ``return_hidden`` a pair of
        both.

        With graph inputs by name (``input_ids=``, ``attention_mask=``, ``cache=``): like every lowered module, a
        mapping of outputs.

        Raises:
            UserError: an input is missing, unknown or no tensor of ids; a mask says what the model does not compute;
                an id or a position lies beyond its table.
        """
        if not args and not any(name in CLASS_STYLE for name in inputs):
            return super().forward(**inputs)
        hidden = inputs.pop("return_hidden", False)
        given: dict[str, Any] = graph_inputs(self.model_type, args, inputs)
        with within_tables():
            outputs = super().forward(**given)
        result = outputs.get("logits", outputs["last_hidden_state"])
        return (result, outputs["last_hidden_state"]) if hidden else result


class FlexiTransformer(BaseModel):
    """Any of the three topologies, by ``src_vocab`` and ``tgt_vocab``, one of them, or ``vocab_size``.

    ``n_enc`` and ``n_dec`` are other names for the depths; one of them leaves the other side as it would be.
    """

    @classmethod
    def configure(cls, *args: Any, **fields: Any) -> ModelConfig:
        if args and isinstance(args[0], str):
            fields, args = {"model_type": args[0], **fields}, args[1:]
        if args and isinstance(args[0], Mapping):
            fields, args = {**cast("Mapping[str, Any]", args[0]), **fields}, args[1:]
        depths = {name: fields.pop(name) for name in ("n_enc", "n_dec") if name in fields}
        config = super().configure(*args, **fields)
        if not depths:
            return config
        layers = _layers(config, depths, told="n_layers" in fields)
        return super().configure(*args, **{**fields, "n_layers": layers})


def _layers(config: ModelConfig, depths: Mapping[str, Any], *, told: bool) -> int | tuple[int, int]:
    """The depths of a config, those of ``depths`` in the place of its own unless ``n_layers`` was told beside them.

    Raises:
        UserError: one is no depth, contradicts ``n_layers``, or is of a side that the model does not have.
    """
    topology = config.topology
    of: dict[str, Literal["src", "tgt"]] = {"n_enc": "src", "n_dec": "tgt"}
    for name, depth in depths.items():
        require_number(name, depth, "at least 1", whole=True, least=1)
        if topology == ("decoder-only" if name == "n_enc" else "encoder-only"):
            raise UserError.of(
                "FX0501", "has no effect", path=name, expected=f"nothing, since the model is {topology}",
                found=str(depth), cure=f"write {'n_dec' if name == 'n_enc' else 'n_enc'} or n_layers",
            )  # fmt: skip
        if told and depth != config.depth(of[name]):
            raise UserError.of(
                "FX0103", f"{name} and n_layers say the same", path=name, expected="one of them",
                found=f"{depth} and {config.n_layers}", cure=f"delete {name}, or write n_layers as a pair",
            )  # fmt: skip
    encoder, decoder = (depths.get(name, config.depth(side)) for name, side in of.items())
    return (encoder, decoder) if topology == "encoder-decoder" else encoder if "n_enc" in depths else decoder


class TransformerModel(FlexiTransformer):
    """The generic name of :class:`FlexiTransformer`."""


class FlexiBERT(BaseModel):
    """An encoder: norms after each sum, GELU, and a classifier where ``num_classes`` is given (Devlin et al. 2018)."""

    topology = "encoder-only"

    @classmethod
    def defaults(cls, fields: Mapping[str, Any]) -> dict[str, Any]:
        return {"pe_type": "absolute", "pre_norm": False, "ff_activation": "gelu", **_sizes_of_base(fields)}


class FlexiGPT(BaseModel):
    """A decoder: rotation, RMS norms before each sub-layer, SwiGLU without biases (Touvron et al. 2023)."""

    topology = "decoder-only"

    @classmethod
    def defaults(cls, fields: Mapping[str, Any]) -> dict[str, Any]:
        return {
            "pe_type": "rotary", "pre_norm": True, "norm_type": "rmsnorm", "ff_activation": "swiglu", "ff_bias": False,
            "attention_bias": False, **_sizes_of_base(fields),
        }  # fmt: skip


def _sizes_of_base(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Twelve layers of width 768, heads of 64 channels and feed-forwards four times as wide."""
    width = fields.get("d_model", 768)
    if not isinstance(width, int) or width < 1:
        return {}
    heads = width // 64 if width % 64 == 0 else 1
    return {"d_model": width, "n_heads": heads, "n_layers": 12, "d_ff": 4 * width}


class Generator:
    """The scores of a model's tokens from its hidden states; it has no parameters of its own."""

    def __init__(self, model: BaseModel) -> None:
        if "logits" not in model.program.outputs or model.model_type == "encoder-only":
            raise UserError.of(
                "FX0801", "an encoder writes no tokens", expected="a model with a decoder", found=model.model_type,
                cure="call the model itself, which returns classes or hidden states",
            )  # fmt: skip
        self.model = model

    def __call__(self, hidden: Tensor) -> Tensor:
        """``hidden [..., d_model]`` to logits ``[..., vocab]``."""
        model = self.model
        table = (
            ("target" if model.model_type == "encoder-decoder" else "embed") if model.config.tie_word_embeddings else ""
        )
        return F.linear(hidden, model.get_parameter(f"{table}.tokens.weight" if table else "head.table.weight"))


class TransformerFactory:
    """Builds the class that fits a config's topology."""

    classes: ClassVar[dict[ModelType, type[BaseModel]]] = {
        "encoder-decoder": FlexiTransformer, "encoder-only": FlexiBERT, "decoder-only": FlexiGPT,
    }  # fmt: skip

    def __init__(self, config: ModelConfig) -> None:
        self.config = config

    def create(self) -> BaseModel:
        """The model, exactly as the config says."""
        return self.classes[self.config.topology].from_config(self.config)

    @classmethod
    def from_config(cls, config: ModelConfig) -> BaseModel:
        """The same in one call."""
        return cls(config).create()


def create_model(config: ModelConfig | Mapping[str, Any] | None = None, **fields: Any) -> BaseModel:
    """The model of a config, of a mapping or of keywords.

    Raises:
        UserError: a keyword is unknown, or a value is wrong.
    """
    return TransformerFactory.from_config(FlexiTransformer.configure(*([] if config is None else [config]), **fields))


# ---- calls by position


def graph_inputs(topology: ModelType, args: tuple[Any, ...], named: dict[str, Any]) -> dict[str, Tensor]:
    """Graph inputs from what the class-style call was given.

    Args:
        topology: of the model.
        args: what was given by position.
        named: what was given by keyword.

    Raises:
        UserError: FX2001, they are not the inputs of the model, or one cannot be read.
    """
    order = {
        "encoder-decoder": ("src", "tgt", "src_mask", "tgt_mask"),
        "encoder-only": ("src", "src_mask"),
        "decoder-only": ("tgt", "tgt_mask"),
    }[topology]
    short = {"mask": order[-1], **({"src": "tgt"} if topology == "decoder-only" else {})}
    said = [*order[: len(args)], *(short.get(name, name) for name in named)]
    given: dict[str, Any] = dict(zip(said, (*args[: len(order)], *named.values()), strict=True))
    ids = [name for name in order if "mask" not in name]
    unknown = [name for name in given if name not in order]
    twice = [name for name in given if said.count(name) > 1]
    missing = [name for name in ids if given.get(name) is None]
    if len(args) > len(order) or unknown or twice or missing:
        message, cure = "these are not the inputs of the model", "pass ids, then masks, in this order, each once"
        if (missing or unknown) and not twice:
            message, cure = misfit(missing=missing, unknown=unknown, known=order)
        raise UserError.of(
            "FX2001", message, expected=", ".join(order),
            found=f"{twice[0]} twice" if twice else ", ".join(given) or "nothing", cure=cure,
        )  # fmt: skip
    for name in ids:
        _require_ids(given[name], name)
    names = {"src": "input_ids", "tgt": "decoder_input_ids" if "src" in order else "input_ids"}
    inputs: dict[str, Tensor] = {names[name]: given[name] for name in ids}
    for name in ids:
        mask = given.get(f"{name}_mask")
        if mask is not None:
            companion = names[name].replace("input_ids", "attention_mask")
            inputs[companion] = _padding(mask, given[name], f"{name}_mask", causal=name == "tgt")
    return inputs


def _require_ids(ids: object, name: str) -> None:
    if not isinstance(ids, Tensor) or ids.dim() != 2 or ids.is_floating_point() or ids.dtype == torch.bool:
        found = f"{ids.dtype} {list(ids.shape)}" if isinstance(ids, Tensor) else f"a {type(ids).__name__}"
        raise UserError.of(
            "FX2001", f"{name} cannot be read", path=name, expected="a tensor of ids, int64 [batch, seq]", found=found,
            cure="make it a tensor of token ids, one row for each text",
        )  # fmt: skip


def _padding(mask: Tensor, ids: Tensor, name: str, *, causal: bool) -> Tensor:
    """``int64 [batch, seq]``: the padding that a mask says; what else it says must be what the model does anyway."""
    batch, length = ids.shape
    shown = visible(mask, name, batch=batch, queries=length, keys=length)
    keys = shown.any(1)
    seen = keys[:, None, :].expand(-1, length, -1)
    if shown.shape[1] > 1 and not agree(shown, seen.tril() if causal else seen, keys):
        sort = "padding and causality" if causal else "padding"
        raise says_more(name, sort, "say windows and the like in the spec, as the mask of the attention")
    return keys.long()
