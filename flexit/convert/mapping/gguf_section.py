"""The section ``gguf`` of a mapping file: how llama.cpp's files name a family."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from flexit.convert.mapping.rules import Part, Rule


class Present(Part):
    """What a key is by whether a tensor is there.

    Attributes:
        tensor: its name.
        then, otherwise: the values.
    """

    tensor: str
    then: Any = True
    otherwise: Any = False


class Rotation(Part):
    """What the metadata of an architecture can say of a rotation beside its base, and ``linear`` and ``yarn``.

    Attributes:
        frequencies: whether a tensor may hold what each frequency is divided by (Llama 3).
        factors: whether two tensors may hold that, for short and long rows (``longrope``).
        partial: whether some channels of a head may stand still.
        windowed: the kind of layers that have a base of their own, which is ``base`` unless the metadata say it (null:
            that of the others, for llama.cpp has no other), and no scaling; ``whole`` is the kind of the others.
        heads: the channels of a head that may turn, where that is not the width of a head.
        truncated: whether bounds of ``yarn`` are rounded. Where not, llama.cpp rounds them all the same.
        latent: whether it is that of latent attention, whose scores ``mscale_all_dim`` scales.
        tempered: whether ``yarn`` has ``llama_4_scaling_beta``, by which queries grow, and an ``mscale`` of 1.
    """

    frequencies: bool = False
    factors: bool = False
    partial: bool = True
    windowed: str | None = None
    whole: str | None = None
    base: float | None = 10000.0
    heads: Any = None
    truncated: bool = True
    latent: bool = False
    tempered: bool = False


class Marks(Part):
    """A list of true and false in the metadata that says one of two words of each layer.

    Attributes:
        key: what the metadata call it.
        true, false: the words.
    """

    key: str
    true: Any
    false: Any


class Gguf(Part):
    """How GGUF files name the family; what most have in common is in ``convert/gguf/common.yaml``.

    Attributes:
        architecture: ``general.architecture``.
        given: a key, or values of keys, without which a file of the architecture is of another family; of a list, any.
        without: a tensor with which a file of the architecture is of another family.
        keys: keys of the configuration by what the metadata call them, after the architecture and a dot.
        unheeded: those of them that llama.cpp does nothing with: they are read, and a model that needs them is not
            written.
        none: values of keys that mean null.
        config: what stands for keys that the metadata do not say.
        present: keys that say whether a tensor is there, unless ``config`` has them.
        marks: keys with a word for each layer, and the lists that say it.
        must: values of keys without which a model is not written, because llama.cpp computes with these alone.
        latent: whether the matrix of keys and values of latent attention is two in the files, of each head.
        write: what the metadata say beside.
        head: the model that these files hold.
        pooled: whether it is an encoder without a pooler of its own, whose states the metadata may say to pool.
        rotation: what can be said of its rotation.
        plus: what numbers of the metadata lack of those of the configuration, by its keys.
        numbers: metadata with a number for each layer that stand for tensors: rules know them as ``key.layer``.
        known: metadata that have a known value, for every layer or for all.
        others: architectures of further models of the family, and what their files say otherwise.
        copies: tensors that llama.cpp wants though they hold what another one holds, and that one.
        tensors: rules from GGUF's names to our parameters; they go before the common ones.
        ignored: tensors that are no parameters.
    """

    architecture: str
    given: str | dict[str, Any] | list[dict[str, Any]] | None = None
    without: str | None = None
    keys: dict[str, str] = Field(default_factory=dict)
    unheeded: list[str] = Field(default_factory=list)
    none: dict[str, Any] = Field(default_factory=dict)
    config: dict[str, Any] = Field(default_factory=dict)
    present: dict[str, Present] = Field(default_factory=dict)
    marks: dict[str, Marks] = Field(default_factory=dict)
    must: dict[str, list[Any]] = Field(default_factory=dict)
    latent: bool = False
    write: dict[str, Any] = Field(default_factory=dict)
    head: str = "causal"
    pooled: bool = False
    rotation: Rotation = Field(default_factory=Rotation)
    plus: dict[str, Any] = Field(default_factory=dict)
    numbers: list[str] = Field(default_factory=list)
    known: dict[str, float] = Field(default_factory=dict)
    others: list[dict[str, Any]] = Field(default_factory=list)
    copies: dict[str, str] = Field(default_factory=dict)
    tensors: dict[str, str | Rule] = Field(default_factory=dict)
    ignored: list[str] = Field(default_factory=list)
