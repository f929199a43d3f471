"""Reading a checkpoint by a family's rules: configuration to spec, tensors to parameters."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, cast

import numpy as np

from flexit.convert.accounting import account, ahead_of, aliases_of, equal, known_numbers, require_numbers
from flexit.convert.computed import computed_names, other_than_computed
from flexit.convert.mapping.family import (
    INERT,
    Family,
    Head,
    family_names,
    family_names_by_type,
    find_family,
    merged,
)
from flexit.convert.mapping.forms import Data, Incomplete, Scope
from flexit.convert.mapping.keys import keys_read
from flexit.convert.mapping.patterns import match
from flexit.convert.mapping.rotary import OLDER, PARAMETERS
from flexit.convert.mapping.rules import rule_of
from flexit.convert.pairing import Pair, pairs_of, rules_of
from flexit.convert.readable import readable
from flexit.convert.sources.source import Source
from flexit.convert.tensors import Array, LazyTensor, combined
from flexit.errors import Problem, SourceError
from flexit.ir.compile import compile_spec
from flexit.ir.io.load import check_tree
from flexit.ir.language.written import Node
from flexit.ir.spec import Spec
from flexit.ir.wording import nearest, shown

ENDING = re.compile(r"(For[A-Z]\w*|LMHeadModel|Model)$")
"""What the name of a class says of its head."""
SURELY = 1000
"""Layers that a checkpoint may have whatever it holds."""


def read_source(source: Source, family: Family) -> tuple[Spec, dict[str, LazyTensor], str]:
    """A checkpoint as a spec, its parameters by path, and which model of the family it is.

    Raises:
        SourceError: FX1853 no such model in the family; FX1854 a key of the configuration that is not understood,
            FX1855 one with a value that is not, FX1856 a model that the language cannot say; FX186x tensors that are
            missing, unexpected, mis-shaped or differ.
    """
    with understanding(family):
        name, head = head_of(source, family)
        prefix = _prefix(source, family, head)
        scope = scope_of(source, family, head, tied=_tied(source, family, head, prefix=prefix))
        spec = _spec(source, family, head, scope=scope)
        shapes = {param.path: param.shape for param in compile_spec(spec).params()}
        pairs = pairs_of(rules_of(family, head, prefix), shapes, scope)
        _refuse_unknown_keys(source, family, scope)
        aliases = aliases_of(family, head, prefix=prefix, names=list(source.tensors))
        ignored = [*family.ignored, *(prefix + each for each in family.ignored)]
        computed = computed_names(family, source.tensors, prefix=prefix)
        known = known_numbers(family, prefix=prefix, paths=shapes)
        ahead = ahead_of(family, source.tensors, prefix=prefix, scope=scope)
        found = account(
            pairs, source.tensors, aliases, ignored=[*ignored, *computed, *ahead, *(each.name for each in known)]
        )  # fmt: skip
        require_numbers(known, source.tensors)
        if problems := list(other_than_computed(computed, source.tensors)):
            raise SourceError(problems)
        return spec, _weights(pairs, found, shapes), name


def read_spec_of(source: Source, family: Family) -> Spec:
    """The spec of a checkpoint, whose tensors are asked only what is tied.

    Raises:
        SourceError: those of the configuration, see :func:`read_source`.
    """
    with understanding(family):
        _, head = head_of(source, family)
        tied = _tied(source, family, head, prefix=_prefix(source, family, head))
        scope = scope_of(source, family, head, tied=tied)
        spec = _spec(source, family, head, scope=scope)
        _refuse_unknown_keys(source, family, scope)
        return spec


@contextmanager
def understanding(family: Family) -> Iterator[None]:
    """What a configuration does not say as a problem of it.

    Raises:
        SourceError: FX1855, a key has no value, or one that cannot be used; FX1851, keys that stand for each other.
    """
    try:
        yield
    except Incomplete as error:
        raise SourceError.of(
            "FX1855", f"{error.key} is not understood", path=error.key, expected=error.expected,
            found=shown(error.found), cure=f"correct it in config.json, or write a mapping file beside {family.family}",
        ) from error  # fmt: skip
    except RecursionError as error:
        raise SourceError.of(
            "FX1851", f"the mapping file of {family.family} has no end", expected="keys that stand for others",
            found="keys that stand for each other", cure="correct its keys",
        ) from error  # fmt: skip


# ---- which family, which model


def family_of(source: Source) -> Family:
    """The family of a configuration's ``model_type``.

    Raises:
        SourceError: FX1850, none is known for it.
    """
    named = source.config.get("model_type")
    known = family_names_by_type()
    if not isinstance(named, str) or named not in known:
        near = nearest(str(named), list(known))
        family = f"FAMILY, as {known[near]}," if near else "FAMILY"
        raise SourceError.of(
            "FX1850", "no family is known for this model", path="model_type",
            expected=f"one of {', '.join(sorted(known))}", found=shown(named),
            cure=f"import it with --as {family} if its layers are those of one of these (in Python: family=), or with "
            "a mapping file for it",
        )  # fmt: skip
    return find_family(known[named])


def head_of(source: Source, family: Family) -> tuple[str, Head]:
    """Which of a family's models a configuration says it is; if it does not say, the first that the tensors can be.

    Raises:
        SourceError: FX1853, one that the family does not have.
    """
    named = source.config.get("architectures")
    architectures = (
        [each for each in cast("list[Any]", named) if isinstance(each, str)] if isinstance(named, list) else []
    )
    if not architectures:
        return _first_that_fits(source, family.heads)
    for architecture in architectures:
        found = family.head_of(architecture)
        if found is not None:
            return found, family.heads[found]
    if family_names_by_type().get(str(source.config.get("model_type"))) != family.family:  # which --as says it is like
        alike = {name: head for name, head in family.heads.items() if _are_alike(head.architectures, architectures)}
        return _first_that_fits(source, alike or family.heads)
    classes = [each for head in family.heads.values() for each in head.architectures]
    raise SourceError.of(
        "FX1853", f"the family {family.family} has no such model", path="architectures",
        expected=f"one of {', '.join(classes)}", found=", ".join(shown(each) for each in architectures),
        cure="import one of these, or write a mapping file with this model",
    )  # fmt: skip


def _first_that_fits(source: Source, heads: Mapping[str, Head]) -> tuple[str, Head]:
    fitting = [(name, head) for name, head in heads.items() if _has_its_own(head, source)]
    return fitting[0] if fitting else next(iter(heads.items()))


def _are_alike(classes: Sequence[str], others: Sequence[str]) -> bool:
    """Whether some class of each ends in the same words, such as ``ForCausalLM``."""
    endings = ({found[0] for each in names if (found := ENDING.search(each))} for names in (classes, others))
    return bool(set.intersection(*endings))


def _has_its_own(head: Head, source: Source) -> bool:
    """Whether a checkpoint has tensors of every kind that a model adds to its trunk, those aside that may be tied."""
    rules = {name: rule_of(written) for name, written in head.tensors.items()}
    own = [name for name, rule in rules.items() if rule.tied_to is None and rule.given is None]
    return all(any(match(pattern, name) is not None for name in source.tensors) for pattern in own)


def _prefix(source: Source, family: Family, head: Head) -> str:
    """What the names of the trunk's tensors begin with in this checkpoint: a bare trunk may have been saved."""
    usual = family.prefix if head.prefix is None else head.prefix
    for prefix in dict.fromkeys((usual, family.prefix, "")):
        if prefix and any(name.startswith(prefix) for name in source.tensors):
            return prefix
    return "" if not usual or source.tensors else usual


def _tied(source: Source, family: Family, head: Head, *, prefix: str) -> Data:
    """Keys that say what is tied, as the tensors have it: two that differ are not, whatever the configuration says."""
    decided: Data = {}
    scope = scope_of(source, family, head, tied={})
    for name, written in {**head.tensors, **{prefix + each: rule for each, rule in family.tensors.items()}}.items():
        rule = rule_of(written)
        if rule.tied_to is None:
            continue
        said = bool(scope.value(rule.when))
        one, other = source.tensors.get(name), source.tensors.get(prefix + rule.tied_to)
        decided[rule.when] = said and (one is None or other is None or equal(one, other))
    return decided


def flat(config: Mapping[str, Any], family: Family) -> Data:
    """A configuration in which the mappings that a family reads into are keys of their own: ``outer.inner``."""
    found: Data = {}
    for key, value in config.items():
        if key in family.nested and isinstance(value, dict):
            found |= {f"{key}.{inner}": each for inner, each in cast("Data", value).items() if inner not in INERT}
        else:
            found[key] = value
    return found


def scope_of(source: Source, family: Family, head: Head, *, tied: Data) -> Scope:
    """The configuration with the defaults of the family."""
    config = {**flat(source.config, family), **tied}
    labels = config.get("id2label")
    if "num_labels" not in config and "num_labels" not in {**family.keys, **head.keys}:
        config["num_labels"] = len(cast("Data", labels)) if isinstance(labels, dict) and labels else 2
    return Scope(config, {**family.keys, **family.derived, **head.keys}, family.varying)


# ---- the spec


def _spec(source: Source, family: Family, head: Head, *, scope: Scope) -> Spec:
    template = template_of(family, head)
    _refuse_layers(source, template, scope)
    data = scope.fill(template)
    document = {"flexit": 1, "name": _name(source, family), **readable(data)}
    checked = check_tree(Node.of(document))
    if checked.spec is None or not checked.valid:
        raise SourceError([
            Problem(
                code="FX1856", path=each.path, message=f"no spec can say this model: {each.message} ({each.code})",
                expected=each.expected, found=each.found, cure="correct the configuration, or the mapping file",
            )
            for each in checked.problems
            if not each.warning
        ])  # fmt: skip
    return checked.spec


def _refuse_layers(source: Source, template: Data, scope: Scope) -> None:
    """Refuse more layers than there can be tensors of, before each is looked at."""
    most = max(SURELY, len(source.tensors))
    for block in template["blocks"].values():
        count = scope.fill(block.get("n_layers"))
        if source.tensors and isinstance(count, int) and count > most:
            raise SourceError.of(
                "FX1860", "the checkpoint lacks the tensors of most layers", path=str(block["n_layers"]).lstrip("$"),
                expected=f"tensors of {count:,} layers", found=f"{len(source.tensors):,} tensors in all",
                cure="give the whole checkpoint, with the configuration that belongs to it",
            )  # fmt: skip


def template_of(family: Family, head: Head) -> Data:
    """The spec of a model, with holes."""
    trunk = cast("Data", family.spec)
    ports = {key: value for key, value in (("inputs", head.inputs), ("outputs", head.outputs)) if value is not None}
    blocks = merged(trunk["blocks"], head.blocks)
    return {**{key: value for key, value in {**trunk, **ports}.items() if key != "blocks"}, "blocks": blocks}


def _name(source: Source, family: Family) -> str:
    """What the spec is called: the folder or file, or the family."""
    stem = source.place.rstrip("/").rpartition("/")[2].removesuffix(".gguf").lower()
    return re.sub(r"[^a-z0-9._-]+", "-", stem).strip("-._") or family.family.replace("_", "-")


def _refuse_unknown_keys(source: Source, family: Family, scope: Scope) -> None:
    """Refuse a configuration with keys that might change what is computed."""
    problems: list[Problem] = []
    config = flat(source.config, family)
    for key, allowed in family.must.items():
        if key in config and config[key] not in allowed:
            problems.append(Problem(
                code="FX1855", path=key, message="has a value that the family does not cover",
                expected=f"one of {', '.join(shown(each) for each in allowed)}", found=shown(config[key]),
                cure="import a model without it",
            ))  # fmt: skip
    known = {*scope.used, *INERT, *family.inert, *family.must, *family.write, *keys_read(family)}
    if family.family in family_names():  # of which this one may have only some models
        known |= keys_read(find_family(family.family))
    if '"$rope"' in json.dumps(family.spec):
        known |= {PARAMETERS, *OLDER}
    for key, value in config.items():
        if key not in known and value is not None:
            problems.append(Problem(
                code="FX1854", path=key, message="a key of the configuration that is not understood",
                expected="keys that change nothing, or that the family covers", found=shown(value),
                cure="if it changes nothing of what is computed, list it under inert in a mapping file that extends "
                f"{family.family}",
            ))  # fmt: skip
    if problems:
        raise SourceError(problems)


# ---- the parameters


def _weights(
    pairs: list[Pair], found: Mapping[str, LazyTensor], shapes: Mapping[str, tuple[int, ...]]
) -> dict[str, LazyTensor]:
    """Every parameter, made of their tensors, in the order of the program."""
    weights: dict[str, LazyTensor] = {}
    for pair in pairs:
        sources = [found[name] for name in pair.theirs]
        for index, path in enumerate(pair.ours):
            work = partial(_stack if pair.stacked else _piece, pair, index)
            weights[path] = combined(sources, shapes[path], work)
    return {path: weights[path] for path in shapes}


def _piece(pair: Pair, index: int, arrays: Sequence[Array]) -> Array:
    return pair.layout.split(arrays[0], pair.shapes)[index]


def _stack(pair: Pair, index: int, arrays: Sequence[Array]) -> Array:
    return np.stack([pair.layout.split(array, pair.shapes)[index] for array in arrays])
