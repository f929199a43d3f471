"""Rotations in GGUF files: metadata ``rope.*`` and tensors of factors, as ``rope_parameters`` and back.

What they mean: llama.cpp's ``gguf`` specification and its ``convert_hf_to_gguf.py``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import inf, isclose, log, sqrt
from typing import Any, cast

import numpy as np

from flexit.convert.mapping.forms import Data
from flexit.convert.mapping.gguf_section import Rotation
from flexit.convert.mapping.rotary import LONGEST, ORIGINAL, PARAMETERS, share_of
from flexit.convert.tensors import LazyTensor
from flexit.errors import SourceError
from flexit.ir.scaling.base import plain
from flexit.ir.scaling.llama3 import Llama3
from flexit.ir.wording import shown

FREQUENCIES = "rope_freqs.weight"
"""What each frequency is divided by, where a scaling is not said in metadata (Llama 3.1)."""
SHORT, LONG = "rope_factors_short.weight", "rope_factors_long.weight"
LLAMA3 = {"low_freq_factor": 1.0, "high_freq_factor": 4.0, ORIGINAL: 8192}
"""What all scalings of Llama 3.1 to 3.3 share; only their factors are in the files."""
TERMS = {
    "factor": "factor", ORIGINAL: "original_context_length", "beta_fast": "yarn_beta_fast",
    "beta_slow": "yarn_beta_slow",
}  # fmt: skip
"""Parameters of scalings by the keys after ``rope.scaling.``"""
MULTIPLIER = "rope.scaling.yarn_log_multiplier"
"""A tenth of ``mscale_all_dim``, which is ``mscale`` too; of Mistral 3 the whole of it, and ``mscale`` is 1."""
TEMPERATURE, BETA = "attention.temperature_scale", "llama_4_scaling_beta"
"""How much queries grow with the logarithm of their position over the length of the first training."""
TERMS_OF = {"linear": ("factor",), "yarn": tuple(TERMS)}


@dataclass(frozen=True, slots=True)
class Said:
    """A rotation in the words of a GGUF file.

    Attributes:
        metadata: by key, without the architecture.
        tensors: factors by name, fp32.
        parameters: ``rope_parameters`` as they are read from there, but for what cannot be said.
    """

    metadata: Data = field(default_factory=dict)
    tensors: dict[str, LazyTensor] = field(default_factory=dict)
    parameters: Data = field(default_factory=dict)


def number(value: Any) -> Any:
    """A number that was stored in fp32, as the short decimal it was written from."""
    return float(str(np.float32(value))) if isinstance(value, float) else value


# ---- read


def read_rotation(
    metadata: Mapping[str, Any], tensors: Mapping[str, LazyTensor], rotation: Rotation, *, width: int
) -> Data:
    """``rope_parameters`` of a file.

    Args:
        metadata: by key, without the architecture.
        tensors: of the file, by name.
        rotation: what the architecture can say.
        width: channels of a head.

    Raises:
        SourceError: FX1855, a scaling that is not understood, or channels that stand still where none may.
    """
    found: Data = {"rope_type": "default", "rope_theta": _positive(metadata, "rope.freq_base", 10000.0)}
    dim = metadata.get("rope.dimension_count", width)
    if dim != width:
        if not rotation.partial or not isinstance(dim, int) or not 0 < dim < width or dim % 2:
            raise _wrong("rope.dimension_count", f"{width}, the channels of a head", dim)
        found["partial_rotary_factor"] = share_of(dim, width)
    elif "rope.dimension_count" in metadata and rotation.partial:
        found["partial_rotary_factor"] = 1.0
    if rotation.frequencies and FREQUENCIES in tensors:
        found |= _by_frequencies(_numbers(tensors[FREQUENCIES]), found["rope_theta"])
    elif rotation.factors and {SHORT, LONG} <= tensors.keys():
        longest = _positive(metadata, "context_length", LLAMA3[ORIGINAL])
        original = _positive(metadata, "rope.scaling.original_context_length", longest)
        amplitude = _positive(metadata, "rope.scaling.attn_factor", 1.0)
        found |= _longrope(_numbers(tensors[SHORT]), _numbers(tensors[LONG]), original, amplitude=amplitude)
    else:
        found |= _scaling(metadata, rotation)
    if rotation.windowed is None or rotation.whole is None:
        return found
    usual = found["rope_theta"] if rotation.base is None else rotation.base
    base = _positive(metadata, "rope.freq_base_swa", usual)
    return {rotation.whole: found, rotation.windowed: {"rope_type": "default", "rope_theta": base}}


def _kinds(rotation: Rotation) -> list[str]:
    """Kinds of scaling that metadata say; llama.cpp takes any of latent attention for ``yarn``, and scales scores."""
    return [kind for kind in TERMS_OF if not rotation.latent or kind == "yarn"]


def _scaling(metadata: Mapping[str, Any], rotation: Rotation) -> Data:
    usual = "linear" if "rope.scaling.factor" in metadata else "none"
    named = metadata.get("rope.scaling.type", usual)
    if named == "none":
        return {}
    kinds = _kinds(rotation)
    if not isinstance(named, str) or named not in kinds:
        raise _wrong("rope.scaling.type", f"none, {' or '.join(kinds)}", named)
    rounded: Data = {"truncate": False} if named == "yarn" and not rotation.truncated else {}
    scales: Data = {}
    if rotation.latent and named == "yarn":
        if MULTIPLIER not in metadata:  # llama.cpp then scales scores as no model does
            raise _wrong(MULTIPLIER, "a number over 0", None)
        both = number(_positive(metadata, MULTIPLIER, 0.1) * 10)
        scales = {"mscale": both, "mscale_all_dim": both}
    if rotation.tempered and named == "yarn":
        scales = {BETA: _positive(metadata, TEMPERATURE, 0.1)}
        if MULTIPLIER in metadata:
            scales |= {"mscale": 1.0, "mscale_all_dim": _positive(metadata, MULTIPLIER, 1.0)}
    return {
        "rope_type": named,
        **{
            each: _positive(metadata, name, 1.0)
            for each in TERMS_OF[named]
            if (name := f"rope.scaling.{TERMS[each]}") in metadata
        },
        **rounded, **scales,
    }  # fmt: skip


def _positive(metadata: Mapping[str, Any], key: str, usual: float) -> Any:
    """A number over 0 of the metadata.

    Raises:
        SourceError: FX1855, it is none.
    """
    value = metadata.get(key, usual)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < inf:
        raise _wrong(key, "a number over 0", value)
    return number(value)


def _by_frequencies(factors: list[float], theta: float) -> Data:
    """A scaling by what frequencies are divided by: Llama 3's where it is that, else the factors themselves."""
    told = {"factor": max(factors, default=1.0), **LLAMA3}
    if told["factor"] > 1 and _alike(_llama3_factors(told, theta, 2 * len(factors)), factors):
        return {"rope_type": "llama3", **told}
    return _longrope(factors, factors, int(LLAMA3[ORIGINAL]), amplitude=1.0)  # of whatever length


def _longrope(short: list[float], long: list[float], original: int, *, amplitude: float) -> Data:
    told: Data = {"rope_type": "longrope", "short_factor": short, "long_factor": long, ORIGINAL: original}
    return {**told, "factor": 1.0, "attention_factor": amplitude}


def _numbers(tensor: LazyTensor) -> list[float]:
    return [number(float(each)) for each in tensor.numpy().reshape(-1)]


def _alike(one: list[float], other: list[float]) -> bool:
    return len(one) == len(other) and all(isclose(a, b, rel_tol=1e-6) for a, b in zip(one, other, strict=True))


def _llama3_factors(told: Data, theta: float, dim: int) -> list[float]:
    scaling = Llama3.model_construct(
        factor=told["factor"], low_freq_factor=told["low_freq_factor"], high_freq_factor=told["high_freq_factor"],
        original_max_len=told[ORIGINAL],
    )  # fmt: skip
    scaled = scaling.frequencies(theta=theta, dim=dim, head_dim=dim)
    return [usual / each for usual, each in zip(plain(theta, dim), scaled, strict=True)]


def _wrong(key: str, expected: str, found: Any) -> SourceError:
    return SourceError.of(
        "FX1855", "a rotation that is not understood", path=key, expected=expected, found=shown(found),
        cure="take the checkpoint that the file was made of",
    )  # fmt: skip


# ---- write


def say_rotation(config: Data, rotation: Rotation, *, width: int) -> Said:
    """The rotation of a configuration, as far as GGUF has words for it; what is left out shows when it is read again.

    Args:
        config: with ``rope_parameters``.
        rotation: what the architecture can say.
        width: channels of a head.
    """
    given = cast("Data", config.get(PARAMETERS) or {})
    if rotation.windowed is None or rotation.whole is None:
        return _said(given, config, rotation, width=width)
    windowed = cast("Data", given.get(rotation.windowed) or {})
    whole = cast("Data", given.get(rotation.whole) or {})
    said = _said(whole, config, rotation, width=width) if whole else Said()
    base = {"rope.freq_base_swa": windowed["rope_theta"]} if windowed and rotation.base is not None else {}
    kinds = {rotation.whole: said.parameters if whole else None, rotation.windowed: windowed or None}
    parameters = {kind: each for kind, each in kinds.items() if each is not None}
    return Said({**said.metadata, **base}, said.tensors, parameters)


def _said(given: Data, config: Data, rotation: Rotation, *, width: int) -> Said:
    dim = int(width * given.get("partial_rotary_factor", 1.0))
    metadata: Data = {"rope.freq_base": float(given.get("rope_theta", 10000.0))}
    if rotation.partial or dim == width:
        metadata["rope.dimension_count"] = dim
    kind = given.get("rope_type", "default")
    rest = {key: given[key] for key in ("rope_theta", "partial_rotary_factor") if key in given}
    if kind == "llama3" and rotation.frequencies:
        factors = _rounded(_llama3_factors(given, given["rope_theta"], dim))
        again = _by_frequencies(factors, given["rope_theta"])
        return Said(metadata, {FREQUENCIES: _tensor(factors)}, {**rest, **again})
    if kind == "longrope" and (rotation.factors or (rotation.frequencies and _is_plain(given))):
        return _said_longrope(given, config, metadata, rotation=rotation, rest=rest)
    if kind in _kinds(rotation):
        metadata["rope.scaling.type"] = kind
        for key in TERMS_OF[kind]:
            if given.get(key) is not None:
                value = given[key]
                metadata[f"rope.scaling.{TERMS[key]}"] = value if key == ORIGINAL else float(value)
    whole = given.get("mscale_all_dim")
    if kind == "yarn" and rotation.latent and whole is not None:
        metadata[MULTIPLIER] = 0.1 * whole
    if kind == "yarn" and rotation.tempered:
        metadata |= {MULTIPLIER: float(whole)} if whole is not None else {}
        metadata |= {TEMPERATURE: float(given[BETA])} if given.get(BETA) is not None else {}
    return Said(metadata, {}, given)


def _said_longrope(given: Data, config: Data, metadata: Data, *, rotation: Rotation, rest: Data) -> Said:
    short, long = (_rounded(cast("list[float]", given[key])) for key in ("short_factor", "long_factor"))
    original = int(config.get(ORIGINAL) or given.get(ORIGINAL) or config[LONGEST])
    if not rotation.factors:
        again = _by_frequencies(short, given["rope_theta"])
        return Said(metadata, {FREQUENCIES: _tensor(short)}, {**rest, **again})
    amplitude = given.get("attention_factor")
    if amplitude is None:
        factor = given.get("factor") or config[LONGEST] / original
        amplitude = sqrt(1 + log(factor) / log(original))
    metadata |= {"rope.scaling.original_context_length": original, "rope.scaling.attn_factor": float(amplitude)}
    again = _longrope(short, long, original, amplitude=number(float(amplitude)))
    return Said(metadata, {SHORT: _tensor(short), LONG: _tensor(long)}, {**rest, **again})


def _is_plain(given: Data) -> bool:
    """Whether factors are those of every length, and nothing else is scaled."""
    return given["short_factor"] == given["long_factor"] and (
        given.get("attention_factor") == 1 or (given.get("attention_factor") is None and given.get("factor") == 1)
    )


def _rounded(factors: list[float]) -> list[float]:
    return [number(float(each)) for each in factors]


def _tensor(factors: list[float]) -> LazyTensor:
    return LazyTensor((len(factors),), "F32", lambda: np.asarray(factors, np.float32))
