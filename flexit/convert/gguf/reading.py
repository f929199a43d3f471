"""A GGUF file as a checkpoint: its configuration, and a family whose rules name its tensors.

What the metadata and tensors mean: llama.cpp's ``gguf`` specification and its ``convert_hf_to_gguf.py``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from flexit.convert.accounting import equal
from flexit.convert.gguf.latent import joined
from flexit.convert.gguf.models import model_of
from flexit.convert.gguf.numbers import bare_keys, from_numbers, require_known
from flexit.convert.gguf.rotation import FREQUENCIES, LONG, SHORT, number, read_rotation
from flexit.convert.gguf.section import in_gguf, known_keys, section_of, sections_of
from flexit.convert.mapping.family import Family, families_by_architecture, find_family
from flexit.convert.mapping.forms import Data, Incomplete, Scope, is_absent
from flexit.convert.mapping.gguf_section import Gguf, Marks
from flexit.convert.mapping.patterns import match
from flexit.convert.mapping.rotary import PARAMETERS
from flexit.convert.sources.gguf import GgufFile
from flexit.convert.sources.source import Source
from flexit.convert.tensors import LazyTensor
from flexit.errors import SourceError
from flexit.ir.wording import shown

FACTORS = (FREQUENCIES, SHORT, LONG)
BESIDE = {
    "token_type_count": "tokenizer.ggml.token_type_count", "padding_token_id": "tokenizer.ggml.padding_token_id",
}  # fmt: skip
"""Numbers of a model that are not under its architecture: rows of the table of token types; the id of padding."""
THERE = "$there"
"""The value of a key that is given, whatever it says."""
AHEAD, LAYERS = "nextn_predict_layers", "block_count"
FLAT = "blk.{n}.ffn_gate_inp_shexp.weight"
"""A vector that some files have as a matrix of one row."""


def as_checkpoint(source: Source, file: GgufFile, family: Family | None) -> tuple[Source, Family]:
    """What a GGUF file says, and the family by whose rules it is read.

    Args:
        source: the file, opened.
        file: the same.
        family: whose layers it has; by default that of its architecture.

    Raises:
        SourceError: FX1850, no family is known for its architecture; FX1855, metadata that are not understood.
    """
    found, section = _family(file)
    if family is not None:
        section = section_of(family, section.architecture) or section
        found = family
    prefix = f"{section.architecture}."
    metadata = {key.removeprefix(prefix): value for key, value in file.metadata.items() if key.startswith(prefix)}
    tokens = file.metadata.get("tokenizer.ggml.tokens")
    if isinstance(tokens, list):
        metadata.setdefault("vocab_size", len(tokens))
    for key, name in {**BESIDE, **{key: key for key in bare_keys(section)}}.items():
        if name in file.metadata:
            metadata.setdefault(key, file.metadata[name])
    require_known(metadata, section)
    tensors = _without_copies(_without_ahead(file.tensors, metadata), section.copies)
    tensors = {**tensors, **from_numbers(metadata, section)}
    if section.latent:
        tensors = joined(tensors)
    model = model_of(found, section, metadata)
    config = config_of(metadata, tensors, found, section=section)
    tensors = {name: _flat(name, tensor) for name, tensor in tensors.items() if name not in FACTORS}
    return Source(config, tensors, None, source.place, gguf=file), in_gguf(found, section, model)


def _without_ahead(tensors: Mapping[str, LazyTensor], metadata: dict[str, Any]) -> Mapping[str, LazyTensor]:
    """Tensors but for those of layers that predict further tokens, which the number of layers then does not count."""
    ahead, layers = metadata.get(AHEAD, 0), metadata.get(LAYERS)
    if not isinstance(ahead, int) or not isinstance(layers, int) or not 0 < ahead < layers:
        return tensors
    metadata[LAYERS] = layers - ahead
    last = tuple(f"blk.{layer}." for layer in range(layers - ahead, layers))
    return {name: tensor for name, tensor in tensors.items() if not name.startswith(last)}


def _without_copies(tensors: Mapping[str, LazyTensor], copies: Mapping[str, str]) -> Mapping[str, LazyTensor]:
    """Tensors but for those that only hold once more what another one holds."""
    there = {name: tensors[of] for name, of in copies.items() if name in tensors and of in tensors}
    twice = {name for name, other in there.items() if equal(tensors[name], other)}
    return {name: tensor for name, tensor in tensors.items() if name not in twice}


def _flat(name: str, tensor: LazyTensor) -> LazyTensor:
    if match(FLAT, name) is None or len(tensor.shape) != 2 or tensor.shape[0] != 1:
        return tensor
    return tensor.then(tensor.shape[1:], lambda array: array[0])


def _family(file: GgufFile) -> tuple[Family, Gguf]:
    architecture = file.metadata.get("general.architecture")
    known = families_by_architecture()
    families = [find_family(name) for name in known.get(str(architecture), ())]
    sections = [
        (family, section) for family in families for section in sections_of(family)
        if section.architecture == architecture
    ]  # fmt: skip
    for family, section in sorted(sections, key=lambda each: each[1].given is None and each[1].without is None):
        if section.without not in file.tensors and _is_given(section.given, file.metadata, f"{architecture}."):
            return family, section
    raise SourceError.of(
        "FX1850", "no family is known for this file", path="general.architecture",
        expected=f"one of {', '.join(sorted(known))}", found=shown(architecture),
        cure="take the checkpoint that the file was made of",
    )  # fmt: skip


def _is_given(
    given: str | Mapping[str, Any] | list[dict[str, Any]] | None, metadata: Mapping[str, Any], prefix: str
) -> bool:
    """Whether a file says what files of a family say, under the architecture or as it stands."""
    if isinstance(given, list):
        return any(_is_given(each, metadata, prefix) for each in given)
    if isinstance(given, Mapping):
        found = {key: metadata.get(prefix + key, metadata.get(key)) for key in given}
        return all(found[key] == value or (value == THERE and found[key] is not None) for key, value in given.items())
    return given is None or metadata.get(prefix + given, 0) != 0


def config_of(metadata: Mapping[str, Any], tensors: Mapping[str, LazyTensor], family: Family, *, section: Gguf) -> Data:
    """The configuration that metadata say.

    Args:
        metadata: by key, without the architecture.
        tensors: of the file, by name; asked which there are, and those of factors.
        family: whose keys these are.
        section: how GGUF names them.

    Raises:
        SourceError: FX1855, metadata that are missing or not understood.
    """
    known = known_keys(family)
    config = _said(metadata, known, section)
    for key, present in section.present.items():
        if key in known and key not in section.config:
            config[key] = present.then if present.tensor in tensors else present.otherwise
    scope = Scope(config, {**family.keys, **family.derived, **section.config}, family.varying)
    try:
        for key, template in section.config.items():
            if key in known and key not in config and not is_absent(value := scope.fill(template)):
                config[key] = value
        for key, template in section.plus.items():
            config[key] = scope.fill({"$sum": [f"${key}", scope.fill(template)]})
        if has_rotation(family):
            config[PARAMETERS] = read_rotation(metadata, tensors, section.rotation, width=width_of(scope, section))
    except Incomplete as error:
        name = section.keys.get(error.key, error.key)
        raise SourceError.of(
            "FX1855", "metadata that are missing or not understood", path=f"{section.architecture}.{name}",
            expected=error.expected, found=shown(error.found), cure="take the checkpoint that the file was made of",
        ) from error  # fmt: skip
    named = {"model_type": family.family, "architectures": family.heads[section.head].architectures[:1]}
    return {**config, **named}


def _said(metadata: Mapping[str, Any], known: set[str], section: Gguf) -> Data:
    """Keys that metadata have a value for."""
    config: Data = {
        key: number(metadata[name]) for key, name in section.keys.items() if key in known and name in metadata
    }
    nulls = {key: None for key, value in section.none.items() if key in config and config[key] == value}
    marks = {key: _words(metadata[each.key], each, key) for key, each in section.marks.items() if each.key in metadata}
    return {**config, **nulls, **marks}


def _words(value: Any, marks: Marks, key: str) -> list[Any]:
    """The words of a list of true and false.

    Raises:
        SourceError: FX1855, it is none.
    """
    entries = cast("list[Any]", value) if isinstance(value, list) else []
    if not entries or not all(isinstance(each, bool) for each in entries):
        raise SourceError.of(
            "FX1855", "metadata that are missing or not understood", path=marks.key,
            expected=f"true or false for each layer ({key})", found=shown(value),
            cure="take the checkpoint that the file was made of",
        )  # fmt: skip
    return [marks.true if each else marks.false for each in entries]


def has_rotation(family: Family) -> bool:
    """Whether a family's attention turns its queries and keys as ``rope_parameters`` say."""
    return PARAMETERS_OF in str(family.spec)


PARAMETERS_OF = "'$rope'"


def width_of(scope: Scope, section: Gguf) -> int:
    """The channels of a head, those that may turn.

    Raises:
        Incomplete: the keys do not say it.
    """
    if section.rotation.heads is not None:
        width = scope.fill(section.rotation.heads)
    elif "head_dim" in scope.config or "head_dim" in scope.defaults:
        width = scope.value("head_dim")
    else:
        width = scope.fill({"$quotient": ["$hidden_size", "$num_attention_heads"]})
    if not isinstance(width, int) or width < 1:
        raise Incomplete("head_dim", "a whole number of channels", width)
    return width
