"""Folders of sentence-transformers: ``modules.json`` names an encoder, how its states are pooled, and whether the
vector is normalised. They are read here, and what says so is written.

The family of the encoder gets a model more, ``embedding``, whose last block does what the modules say.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any, cast

from flexit.convert.importing import template_of
from flexit.convert.mapping.family import Family, Head
from flexit.convert.mapping.forms import Data
from flexit.convert.sources.inside import has_file, read_file
from flexit.convert.sources.json import MAX_BYTES, parse_json, read_json
from flexit.convert.sources.source import Source
from flexit.errors import Problem, SourceError
from flexit.ir.analysis.limits import longest_row
from flexit.ir.compile import compile_spec
from flexit.ir.io.yaml import read
from flexit.ir.spec import Spec
from flexit.ir.wording import cut, shown

MODULES = "modules.json"
SETTINGS = ("sentence_bert_config.json", "config_sentence_transformers.json")
"""What is said of texts, and of calls."""
TOKENIZER = "tokenizer_config.json"
MOST = "max_seq_length"
EMBEDDING = "embedding"
"""The model that such a folder is."""
ENCODERS = ("encoder", "hidden")
"""Models of a family that are bare encoders, the first one that it has."""
POOLING, NORMALIZE = "1_Pooling", "2_Normalize"
"""Folders of the modules after the encoder."""
VECTOR = "sentence_embedding"
"""Our output, and what the modules call it."""


@cache
def _table() -> Data:
    """What stands beside this file: the block, and its ways to pool by theirs."""
    file = resources.files("flexit.convert") / "sentence_transformers.yaml"
    return cast("Data", read(file.read_bytes(), file.name).plain())


def for_sentences(source: Source, family: Family) -> Family:
    """The family as it stands, or for a folder of sentence-transformers with what its modules make of the encoder.

    Raises:
        SourceError: FX1857, modules that no spec says.
    """
    if source.folder is None or not has_file(source.folder, MODULES):
        return family
    bare = bare_encoder(family)
    if bare is None:
        raise _unsaid(MODULES, "a family with a bare encoder", family.family)
    pool = _pool(source.folder)
    named = source.config.get("architectures")
    classes = [str(each) for each in cast("list[Any]", named)] if isinstance(named, list) else []
    head = with_pool(bare, template_of(family, bare)["blocks"], pool)
    head = head.model_copy(update={"architectures": [*classes, *head.architectures]})
    others = [name for each in family.heads.values() for name in each.tensors]
    return family.model_copy(update={"heads": {EMBEDDING: head}, "ignored": [*family.ignored, *others]})


def bare_encoder(family: Family) -> Head | None:
    """The model of a family that is a bare encoder, if it has one."""
    return next((family.heads[name] for name in ENCODERS if name in family.heads), None)


def settings_of(source: Source) -> dict[str, bytes]:
    """What a folder says of texts and of calls, by file, to go with the model and be written back."""
    folder = source.folder
    if folder is None:
        return {}
    found = {name: read_file(folder, name, max_bytes=MAX_BYTES) for name in SETTINGS if has_file(folder, name)}
    about, most = _read(folder, SETTINGS[0]), _cut_by_tokenizer(folder)
    if most is not None and about.get(MOST) is None:
        found[SETTINGS[0]] = (json.dumps({**about, MOST: most}, indent=2) + "\n").encode()
    return found


def left_to_callers(source: Source, spec: Spec) -> tuple[Problem, ...]:
    """A warning of what sentence-transformers does to a text before the encoder reads it, which no spec says.

    Raises:
        SourceError: FX18xx, a file that says it cannot be read.
    """
    if source.folder is None or not has_file(source.folder, MODULES):
        return ()
    about, calls = (_read(source.folder, file) for file in SETTINGS)
    done: list[str] = []
    most, longest = about.get(MOST) or _cut_by_tokenizer(source.folder), longest_row(compile_spec(spec))
    if isinstance(most, int) and (longest is None or most < longest):
        done.append(f"texts cut at {most} tokens")
    if about.get("do_lower_case"):
        done.append("texts in small letters")
    if calls.get("default_prompt_name") is not None:
        done.append(f"the prompt {shown(calls['default_prompt_name'])} before each text")
    if not done:
        return ()
    return (Problem(
        code="FX1858", path=MODULES, message="sentence-transformers changes texts before the model reads them",
        expected="texts as they are", found=" and ".join(done), warning=True,
        cure="change texts so before they are embedded, if vectors are to be the same",
    ),)  # fmt: skip


def with_pool(bare: Head, blocks: Mapping[str, Any], pool: Data) -> Head:
    """A bare encoder without a pooler of its own, and with this one."""
    alone = without_pool(bare, blocks)
    encoder = str((alone.outputs or {})["last_hidden_state"])
    changed = {**alone.blocks, "sentence": {"from": encoder, **pool}}
    return alone.model_copy(update={
        "blocks": changed, "outputs": {**(alone.outputs or {}), "sentence_embedding": "sentence"},
    })  # fmt: skip


def without_pool(bare: Head, blocks: Mapping[str, Any]) -> Head:
    """A bare encoder without a pooler of its own."""
    poolers = [name for name, block in blocks.items() if block.get("kind") == _table()["block"]["kind"]]
    encoder = [name for name in blocks if name not in poolers][-1]
    changed = {**bare.blocks, **dict.fromkeys(poolers, "$gone")}
    return bare.model_copy(update={"blocks": changed, "outputs": {"last_hidden_state": encoder}, "tensors": {}})


def pool_of(method: str, *, normalized: bool) -> Data:
    """The block of a way to pool, by our name."""
    return {**_table()["block"], "method": method, **(_table()["normalized"] if normalized else {})}


def pooled_as(spec: Spec) -> Data | None:
    """The block that pools the states of a spec's encoder to its vector; None where it has no vector."""
    block = spec.blocks.get(str((spec.outputs or {}).get(VECTOR)))
    method = getattr(block, "method", None)
    if method not in _table()["methods"].values():
        return None
    return pool_of(str(method), normalized=bool(getattr(block, "normalize", False)))


def written_modules(pool: Data, *, width: int, longest: int | None) -> dict[str, bytes]:
    """The files that say how vectors are made, by their path in a folder, as every version of the library reads them.

    Args:
        pool: the block that does it.
        width: of the vectors.
        longest: tokens that the model reads of a text, if there is a bound.
    """
    kinds = [("", "Transformer"), (POOLING, "Pooling")]
    if pool.get("normalize"):
        kinds.append((NORMALIZE, "Normalize"))
    modules = [
        {"idx": at, "name": str(at), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for at, (path, kind) in enumerate(kinds)
    ]
    method = next(name for name, ours in _table()["methods"].items() if ours == pool["method"])
    modes = {key: name == method for key, name in _table()["modes"].items()}
    texts, calls = SETTINGS
    about = {"do_lower_case": False} if longest is None else {MOST: longest, "do_lower_case": False}
    files: Data = {
        MODULES: modules,
        f"{POOLING}/config.json": {"word_embedding_dimension": width, **modes, "include_prompt": True},
        texts: about,
        calls: {"prompts": {}, "default_prompt_name": None, "similarity_fn_name": "cosine"},
    }
    if pool.get("normalize"):
        files[f"{NORMALIZE}/config.json"] = dict.fromkeys(("module_input_name", "module_output_name"), VECTOR)
    return {name: (json.dumps(value, indent=2) + "\n").encode() for name, value in files.items()}


def _pool(folder: Path) -> Data:
    """The block that the modules after the encoder are."""
    kinds = [(_kind(module), str(module.get("path", ""))) for module in _modules(folder)]
    names = [kind for kind, _ in kinds]
    if names not in (["Transformer", "Pooling"], ["Transformer", "Pooling", "Normalize"]):
        raise _unsaid(MODULES, "Transformer, Pooling and perhaps Normalize", ", ".join(names) or "none")
    if kinds[0][1]:
        raise _unsaid(MODULES, "the encoder in the folder itself", shown(kinds[0][1]))
    place = f"{kinds[1][1]}/config.json"
    method = _method(read_json(folder, place), place)
    if names[-1] == "Normalize":
        _require_vector(folder, f"{kinds[2][1]}/config.json")
    normalized = _table()["normalized"] if names[-1] == "Normalize" else {}
    return {**_table()["block"], "method": method, **normalized}


def _require_vector(folder: Path, place: str) -> None:
    """Refuse a module that normalises something else than the vector."""
    about = _read(folder, place)
    named = {key: about.get(key) or VECTOR for key in ("module_input_name", "module_output_name")}
    if set(named.values()) != {VECTOR}:
        raise _unsaid(place, f"{VECTOR} to be normalised", ", ".join(map(str, named.values())))


def _read(folder: Path, file: str) -> Mapping[str, Any]:
    return read_json(folder, file) if has_file(folder, file) else {}


def _cut_by_tokenizer(folder: Path) -> int | None:
    """How many tokens the tokenizer leaves of a text, where newer folders say it; without a bound theirs says 1e30."""
    most = _read(folder, TOKENIZER).get("model_max_length")
    return most if isinstance(most, int) and most < 10**9 else None


def _modules(folder: Path) -> list[Data]:
    text = read_file(folder, MODULES, max_bytes=MAX_BYTES)
    found = parse_json(b'{"modules": ' + text + b"}", str(folder / MODULES))["modules"]
    if not isinstance(found, list) or not all(isinstance(each, dict) for each in cast("list[Any]", found)):
        raise _unsaid(MODULES, "a list of modules", shown(found))
    return cast("list[Data]", found)


def _kind(module: Data) -> str:
    """The name of a module's class, without where it is defined."""
    return cut(str(module.get("type", "")).rpartition(".")[2])


def _method(config: Data, place: str) -> str:
    modes, methods = _table()["modes"], _table()["methods"]
    chosen = [str(modes.get(key, key)) for key, on in config.items() if key.startswith("pooling_mode_") and on]
    if isinstance(config.get("pooling_mode"), str):
        chosen = [str(config["pooling_mode"])]
    if len(chosen) != 1 or chosen[0] not in methods:
        raise _unsaid(place, f"one of {', '.join(methods)}", ", ".join(chosen) or "none")
    return str(methods[chosen[0]])


def _unsaid(place: str, expected: str, found: str) -> SourceError:
    return SourceError.of(
        "FX1857", "no spec says these modules of sentence-transformers", path=place, expected=expected,
        found=cut(found), cure="import the encoder alone, from a copy of the folder without modules.json",
    )  # fmt: skip
