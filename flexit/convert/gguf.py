"""A GGUF file as what the family's own checkpoint would be: its configuration, and its tensors under their names there.

What the metadata and tensors mean: llama.cpp's ``gguf`` specification and its ``convert_hf_to_gguf.py``.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np

from flexit.convert.layouts import Layout, layout_of
from flexit.convert.mapping.family import Family, Gguf, family_of_gguf, find_family, rule_of
from flexit.convert.mapping.forms import Data, Scope
from flexit.convert.mapping.patterns import filled, match
from flexit.convert.mapping.rotary import LONGEST, PARAMETERS
from flexit.convert.sources.gguf import GgufFile
from flexit.convert.sources.source import Source
from flexit.convert.tensors import Array, LazyTensor
from flexit.errors import SourceError
from flexit.ir.wording import shown

FREQUENCIES = "rope_freqs.weight"
"""What each frequency of the rotation is divided by, where a scaling is not said in metadata (Llama 3.1)."""


def as_checkpoint(source: Source) -> Source:
    """The checkpoint that a GGUF file was made of; anything else as it is.

    Raises:
        SourceError: FX1850, no family is known for its architecture; FX1855, metadata that are not understood.
    """
    if source.gguf is None:
        return source
    family, said = _family(source.gguf)
    config = _config(source.gguf, said)
    config |= {"model_type": family.family, "architectures": family.heads[said.head].architectures[:1]}
    return Source(config, _tensors(source.gguf, family, said, config=config), None, source.place, gguf=source.gguf)


def _family(file: GgufFile) -> tuple[Family, Gguf]:
    architecture = file.metadata.get("general.architecture")
    name = family_of_gguf(architecture) if isinstance(architecture, str) else None
    family = None if name is None else find_family(name)
    if family is None or family.gguf is None:
        raise SourceError.of(
            "FX1850", "no family is known for this file", path="general.architecture",
            expected="an architecture whose GGUF names a mapping file has", found=shown(architecture),
            cure="take the checkpoint that the file was made of",
        )  # fmt: skip
    return family, family.gguf


def _config(file: GgufFile, said: Gguf) -> Data:
    prefix = f"{file.metadata['general.architecture']}."
    config: Data = {}
    for key, name in said.keys.items():
        if prefix + name in file.metadata:
            config[key] = _number(file.metadata[prefix + name])
    tokens = file.metadata.get("tokenizer.ggml.tokens")
    if "vocab_size" not in config and isinstance(tokens, list):
        config["vocab_size"] = len(tokens)
    scaling = file.metadata.get(f"{prefix}rope.scaling.type")
    if FREQUENCIES in file.tensors:
        factors = [_number(float(each)) for each in file.tensors[FREQUENCIES].numpy()]
        config[PARAMETERS] = {
            "rope_type": "longrope", "short_factor": factors, "long_factor": factors, "factor": 1.0,
            "original_max_position_embeddings": config.get(LONGEST, 2048), "rope_theta": config.get("rope_theta", 1e4),
        }  # fmt: skip
    elif scaling not in (None, "none"):
        config[PARAMETERS] = _scaling(file.metadata, prefix, str(scaling))
    return {**said.config, **config, "tie_word_embeddings": "output.weight" not in file.tensors}


def _scaling(metadata: Mapping[str, Any], prefix: str, kind: str) -> Data:
    """A scaling as ``rope_parameters`` says it."""
    known = {"linear": "linear", "yarn": "yarn"}
    if kind not in known:
        raise SourceError.of(
            "FX1855", "a scaling of the rotation that is not understood", path=f"{prefix}rope.scaling.type",
            expected=f"none, {', '.join(known)}", found=kind, cure="take the checkpoint that the file was made of",
        )  # fmt: skip
    told: Data = {"rope_type": known[kind], "rope_theta": _number(metadata.get(f"{prefix}rope.freq_base", 10000.0))}
    for key, name in (("factor", "factor"), ("original_max_position_embeddings", "original_context_length")):
        if f"{prefix}rope.scaling.{name}" in metadata:
            told[key] = _number(metadata[f"{prefix}rope.scaling.{name}"])
    return told


def _number(value: Any) -> Any:
    """A number that was stored in fp32, as the short decimal it was written from."""
    return float(str(np.float32(value))) if isinstance(value, float) else value


def _tensors(file: GgufFile, family: Family, said: Gguf, *, config: Data) -> dict[str, LazyTensor]:
    """Tensors under the names of the family's own checkpoints; one that no rule names keeps its own."""
    scope = Scope(config, {**family.keys, **family.derived}, family.varying)
    rules = [(name, rule_of(written)) for name, written in said.tensors.items()]
    found: dict[str, LazyTensor] = {}
    for name, tensor in file.tensors.items():
        if any(match(pattern, name) is not None for pattern in (FREQUENCIES, *said.ignored)):
            continue
        theirs, layout = name, None
        for pattern, rule in rules:
            values = match(pattern, name)
            if values is not None:
                theirs, layout = filled(rule.targets[0], values), rule.layout
                break
        laid_out = layout_of(scope.fill(layout))
        found[theirs] = tensor.then(tensor.shape, partial(_split, laid_out)) if layout is not None else tensor
    return found


def _split(layout: Layout, array: Array) -> Array:
    return layout.split(array, [array.shape])[0]
