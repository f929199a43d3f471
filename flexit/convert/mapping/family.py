"""A mapping file: how one family's configuration and tensors say a spec and its parameters, and the other way round."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any, cast

from pydantic import Field, ValidationError

from flexit.convert.layouts import LAYOUTS
from flexit.convert.mapping.forms import Data, forms
from flexit.convert.mapping.gguf_section import Gguf
from flexit.convert.mapping.patterns import holes
from flexit.convert.mapping.rules import Constant, Copy, Part, Rule, rule_of
from flexit.errors import Problem, SourceError
from flexit.ir.io.yaml import read
from flexit.ir.language.written import Node
from flexit.ir.wording import nearest, shown

INERT = frozenset({
    "_attn_implementation_autoset", "_commit_hash", "_name_or_path", "_num_labels", "add_cross_attention",
    "architectures", "auto_map",
    "bad_words_ids", "begin_suppress_tokens", "bos_token_id", "chunk_size_feed_forward",
    "cross_attention_hidden_size", "decoder_start_token_id", "diversity_penalty", "do_sample", "dtype",
    "early_stopping", "encoder_no_repeat_ngram_size", "eos_token_id", "exponential_decay_length_penalty",
    "finetuning_task", "forced_bos_token_id", "forced_eos_token_id", "gradient_checkpointing", "id2label",
    "initializer_range", "is_encoder_decoder", "label2id", "length_penalty", "max_length", "min_length", "model_type",
    "no_repeat_ngram_size", "num_beam_groups", "num_beams", "num_labels", "num_return_sequences",
    "output_attentions", "output_hidden_states", "output_past", "output_router_logits", "output_scores",
    "pad_token_id", "prefix", "problem_type", "pruned_heads", "remove_invalid_values", "repetition_penalty",
    "return_dict", "return_dict_in_generate", "sep_token_id", "suppress_tokens", "task_specific_params", "temperature",
    "tie_encoder_decoder", "tokenizer_class", "top_k", "top_p", "torch_dtype", "torchscript", "transformers_version",
    "typical_p", "unsloth_version", "use_bfloat16", "use_cache",
})  # fmt: skip
"""Keys that change nothing of what a model computes: how it is generated from, trained or stored."""
MAX_BYTES = 256 * 1024


class Head(Part):
    """One of the models of a family.

    Attributes:
        architectures: classes that are this model, the one to write first.
        prefix: what stands before the names of the trunk's tensors.
        blocks: what it adds to, or changes in, the blocks of the spec.
        inputs, outputs: those of the spec, where they are not the family's or inferred.
        tensors: rules of tensors beside the trunk's.
        keys: defaults that only this model has.
    """

    architectures: list[str]
    prefix: str | None = None
    inputs: dict[str, Any] | None = None
    outputs: dict[str, Any] | None = None
    blocks: dict[str, Any] = Field(default_factory=dict)
    tensors: dict[str, str | Rule] = Field(default_factory=dict)
    keys: dict[str, Any] = Field(default_factory=dict)


class Family(Part):
    """A mapping file.

    Attributes:
        family: its name, the ``model_type`` it writes.
        extends: a family whose file this one changes.
        model_types: names in configurations that mean this family.
        keys: what stands for keys that a configuration leaves out.
        derived: names of lists with an entry for each layer, and the forms that give them.
        per_layer: keys whose value is such a list.
        must: keys with the values that are understood.
        inert: keys that change nothing of what is computed.
        write: keys of configurations that are written though no hole of the spec holds them.
        spec: the blocks with holes, inputs and outputs.
        prefix: what stands before the names of the trunk's tensors.
        tensors: rules of the trunk's tensors.
        copies: tensors that hold what another one holds.
        computed: tensors that follow from their shape, which a checkpoint may hold: sinusoidal tables, and their style.
        constants: tensors that hold a known number.
        ahead: tensors of layers that predict further tokens and are not read: names with ``{n}``, and the number of the
            first such layer and their count.
        ignored: tensors that are no parameters, or of a part that the model does not have.
        heads: the models of the family.
        gguf: how GGUF files name it, where llama.cpp knows it.
    """

    family: str
    extends: str | None = None
    model_types: list[str] = Field(default_factory=list)
    keys: dict[str, Any] = Field(default_factory=dict)
    derived: dict[str, Any] = Field(default_factory=dict)
    per_layer: list[str] = Field(default_factory=list)
    must: dict[str, list[Any]] = Field(default_factory=dict)
    inert: list[str] = Field(default_factory=list)
    write: dict[str, Any] = Field(default_factory=dict)
    spec: dict[str, Any]
    prefix: str = ""
    tensors: dict[str, str | Rule]
    copies: dict[str, str | Copy] = Field(default_factory=dict)
    computed: dict[str, str] = Field(default_factory=dict)
    constants: dict[str, Constant] = Field(default_factory=dict)
    ahead: dict[str, list[Any]] = Field(default_factory=dict)
    ignored: list[str] = Field(default_factory=list)
    heads: dict[str, Head]
    gguf: Gguf | None = None

    @property
    def varying(self) -> frozenset[str]:
        """Keys with an entry for each layer."""
        return frozenset({*self.per_layer, *self.derived})

    @property
    def nested(self) -> frozenset[str]:
        """Keys whose value is a mapping of keys that the family names as ``outer.inner``."""
        named = (key for key in (*self.keys, *self.must, *self.inert) if "." in key)
        return frozenset(key.partition(".")[0] for key in named)

    def head_of(self, architecture: str) -> str | None:
        """The model that a class is."""
        return next((name for name, head in self.heads.items() if architecture in head.architectures), None)


# ---- finding and reading


@cache
def family_names() -> tuple[str, ...]:
    """The families that are known."""
    files = resources.files("flexit.convert.families").iterdir()
    return tuple(sorted(file.name.removesuffix(".yaml") for file in files if file.name.endswith(".yaml")))


@cache
def depth_of(name: str) -> int:
    """Of how many families in a row a family is the extension."""
    text = (resources.files("flexit.convert.families") / f"{name}.yaml").read_text(encoding="utf-8")
    extended = re.search(r"^extends: (.*)$", text, re.MULTILINE)
    return 1 + depth_of(extended[1]) if extended else 0


@cache
def family_names_by_type() -> Mapping[str, str]:
    """Every ``model_type`` that is known, and its family; only the lines that say so are read."""
    found: dict[str, str] = {}
    for name in family_names():
        text = (resources.files("flexit.convert.families") / f"{name}.yaml").read_text(encoding="utf-8")
        types = re.search(r"^model_types: \[(.*)\]$", text, re.MULTILINE)
        for each in types[1].split(",") if types else [name]:
            found[each.strip()] = name
    return found


@cache
def families_by_architecture() -> Mapping[str, tuple[str, ...]]:
    """The families of each ``general.architecture`` of GGUF files; only the lines that say so are read."""
    found: dict[str, tuple[str, ...]] = {}
    for name in family_names():
        text = (resources.files("flexit.convert.families") / f"{name}.yaml").read_text(encoding="utf-8")
        for said in re.findall(r"^(?:  |  - |    )architecture: (\S+)$", text, re.MULTILINE):
            found[said] = (*found.get(said, ()), name)
    return found


@cache
def find_family(name: str) -> Family:
    """The family of that name.

    Raises:
        SourceError: FX1850, there is none.
    """
    if name not in family_names():
        near = nearest(name, family_names())
        raise SourceError.of(
            "FX1850", f"no family is called {shown(name)}", expected=f"one of {', '.join(family_names())}",
            found=shown(name),
            cure=f"write {near}" if near else "name a family whose layers these are, or give a mapping file",
        )  # fmt: skip
    file = resources.files("flexit.convert.families") / f"{name}.yaml"
    return _family(read(file.read_bytes(), f"{name}.yaml"))


def read_family(file: Path) -> Family:
    """The family that a mapping file defines.

    Raises:
        SourceError: FX1851, it is none; every problem is in it.
        SpecError: the text cannot be read.
    """
    try:
        text = file.read_bytes()
    except OSError as error:
        raise SourceError.of(
            "FX1851", f"{file} cannot be read", expected="a mapping file", found=error.strerror or str(error),
            cure="check the path and its permissions",
        ) from error  # fmt: skip
    return _family(read(text, str(file), max_bytes=MAX_BYTES))


def _family(root: Node) -> Family:
    data = cast("Data", bare(root.plain()))
    if isinstance(data.get("extends"), str):
        data = merged(
            find_family(data["extends"]).model_dump(exclude_unset=True, exclude={"model_types", "gguf"}), data
        )
    try:
        family = Family.model_validate(data)
    except ValidationError as error:
        faults = [_fault(root, each["loc"], each["msg"], found=each["input"]) for each in error.errors()]
        raise SourceError(faults) from error
    problems = list(_misused(root, family))
    if problems:
        raise SourceError(problems)
    return family if family.model_types else family.model_copy(update={"model_types": [family.family]})


def merged(old: Any, new: Any) -> Any:
    """``new`` over ``old``: mappings key by key, ``$gone`` takes a key away, a form or anything else replaces."""
    if not (isinstance(old, dict) and isinstance(new, dict)) or _is_form(old) or _is_form(new):
        return new
    one, other = cast("Data", old), cast("Data", new)
    if "kind" in other and other["kind"] != one.get("kind"):
        return other
    both = {**one, **{key: merged(one[key], value) if key in one else value for key, value in other.items()}}
    return {key: value for key, value in both.items() if value != "$gone"}


def _is_form(value: Any) -> bool:
    return any(str(key).startswith("$") for key in cast("Data", value))


def bare(value: Any) -> Any:
    """Plain dicts of what remembers its place."""
    if isinstance(value, dict):
        return {key: bare(each) for key, each in cast("Data", value).items()}
    return [bare(each) for each in cast("list[Any]", value)] if isinstance(value, list) else value


def _fault(root: Node, path: tuple[Any, ...], message: str, *, found: Any) -> Problem:
    node, _ = root.find(tuple(str(part) if not isinstance(part, int) else part for part in path))
    mark = node.mark
    return Problem(
        code="FX1851", path=".".join(str(part) for part in path), message="not a mapping file: " + message,
        expected="the keys and forms that docs/mapping-files.md explains", found=shown(found), cure="correct it",
        file=None if mark is None else mark.file, line=None if mark is None else mark.line,
        column=None if mark is None else mark.column,
    )  # fmt: skip


def _misused(root: Node, family: Family) -> Iterator[Problem]:
    """Forms and layouts that do not exist."""
    for part in ("keys", "derived", "spec", "heads"):
        yield from _unknown_forms(root, family.model_dump()[part], (part,))
    scopes = {
        "tensors": family.tensors,
        **{f"heads.{name}.tensors": head.tensors for name, head in family.heads.items()},
    }
    for place, rules in scopes.items():
        for name, written in rules.items():
            rule = rule_of(written)
            path = (*place.split("."), name)
            for word in _layout_words(rule.layout):
                if word not in LAYOUTS:
                    yield _fault(
                        root, path, f"no layout {shown(word)}; there are {', '.join(LAYOUTS)}", found=rule.layout
                    )
            for target in rule.targets:
                if unknown := set(holes(target)) - set(holes(name)):
                    yield _fault(root, path, f"{{{unknown.pop()}}} is not in the name of their tensor", found=target)


def _layout_words(layout: Any) -> list[str]:
    if layout is None:
        return []
    parts = cast("list[Any]", layout) if isinstance(layout, list) else [layout]
    return [str(next(iter(each))) if isinstance(each, dict) else str(each) for each in parts]


def _unknown_forms(root: Node, value: Any, path: tuple[Any, ...]) -> Iterator[Problem]:
    if isinstance(value, dict):
        entries = cast("Data", value)
        names = [key for key in entries if key.startswith("$")]
        for name in names:
            form = forms().get(name[1:])
            others = set(entries) - {name}
            if form is None:
                yield _fault(root, path, f"no form {shown(name)}; there are {', '.join(sorted(forms()))}", found=name)
            elif others - form.arguments:
                yield _fault(
                    root, path, f"{name} takes {', '.join(sorted(form.arguments)) or 'nothing'}", found=sorted(others)
                )
        for key, each in entries.items():
            yield from _unknown_forms(root, each, (*path, key))
    elif isinstance(value, list):
        for index, each in enumerate(cast("list[Any]", value)):
            yield from _unknown_forms(root, each, (*path, index))
