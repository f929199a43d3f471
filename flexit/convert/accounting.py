"""Every tensor of a checkpoint is a parameter, says the same as one, or is known to be none: or it is an error."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np

from flexit.convert.computed import stand_in
from flexit.convert.mapping.family import Family, Head
from flexit.convert.mapping.forms import Incomplete, Scope
from flexit.convert.mapping.patterns import filled, match
from flexit.convert.mapping.rules import Copy, copy_of, rule_of
from flexit.convert.pairing import Pair
from flexit.convert.tensors import LazyTensor
from flexit.errors import Problem, SourceError
from flexit.files.safetensors import DTYPES

Tensors = Mapping[str, LazyTensor]
LISTED = 100
"""Problems of one kind that are told one by one."""


@dataclass(frozen=True, slots=True)
class Known:
    """A tensor that must hold a number, in the format of a parameter of ours."""

    name: str
    value: float
    path: str

    def like(self, tensor: LazyTensor) -> LazyTensor:
        """It, in the format of that parameter."""
        dtype = DTYPES[tensor.dtype]
        return LazyTensor((), tensor.dtype, lambda: np.asarray(self.value, np.float32).astype(dtype))


def known_numbers(family: Family, *, prefix: str, paths: Iterable[str]) -> list[Known]:
    """Tensors of a family that hold known numbers, for the parameters of a model."""
    found: list[Known] = []
    for path in paths:
        for name, constant in family.constants.items():
            values = match(constant.beside, path)
            if values is not None:
                found.append(Known(prefix + filled(name, values), constant.value, path))
    return found


def ahead_of(family: Family, names: Iterable[str], *, prefix: str, scope: Scope) -> list[str]:
    """Tensors of layers that predict further tokens."""
    found: list[str] = []
    for pattern, numbers in family.ahead.items():
        first, count = (scope.fill(each) or 0 for each in numbers)
        if not isinstance(first, int) or not isinstance(count, int):
            raise Incomplete("ahead", "whole numbers: the first layer, and how many", [first, count])
        for name in names:
            values = match(prefix + pattern, name)
            if values is not None and first <= int(values["n"]) < first + count:
                found.append(name)
    return found


def require_numbers(known: Sequence[Known], tensors: Tensors) -> None:
    """Refuse a checkpoint with another number where one is known.

    Raises:
        SourceError: FX1863.
    """
    problems = [
        Problem(
            code="FX1863", path=each.name, message="holds another number than every model of the family",
            expected=str(each.value), found=str(tensor.numpy()), cure="give a checkpoint of this family",
        )
        for each in known
        if (tensor := tensors.get(each.name)) is not None and not equal(tensor, each.like(tensor))
    ]  # fmt: skip
    if problems:
        raise SourceError(problems)


OLDER = {"LayerNorm.gamma": "LayerNorm.weight", "LayerNorm.beta": "LayerNorm.bias"}
"""Endings that are read as others in every family: names in files that were made of TensorFlow's."""


@dataclass(frozen=True, slots=True)
class Alias:
    """A tensor that must hold what another one holds, unless nothing reads it."""

    name: str
    of: str
    dead: bool = False


def aliases_of(family: Family, head: Head, *, prefix: str, names: Sequence[str]) -> list[Alias]:
    """Tensors of a checkpoint that are copies by the family's rules, or tied; names of copies may have the prefix."""
    tied = {name: rule_of(rule).tied_to for name, rule in head.tensors.items() if not isinstance(rule, str)}
    copies = {name: copy_of(written) for name, written in family.copies.items()}
    rules = {**copies, **{name: Copy(of=prefix + of) for name, of in tied.items() if of is not None}}
    found: list[Alias] = []
    for name in names:
        for copy, main in rules.items():
            for before in dict.fromkeys(("", prefix)):
                values = match(before + copy, name)
                if values is not None:
                    found.append(Alias(name, before + filled(main.of, values), main.dead))
                    break
    for name in names:
        for ending, usual in OLDER.items():
            if name.endswith(ending):
                found.append(Alias(name, name.removesuffix(ending) + usual))
    return found


def account(
    pairs: Sequence[Pair], tensors: Tensors, aliases: Sequence[Alias], *, ignored: Sequence[str]
) -> dict[str, LazyTensor]:
    """The tensors of all pairs by name, after everything in the checkpoint is accounted for.

    Raises:
        SourceError: FX1860 tensors are missing, FX1861 unexpected, FX1862 mis-shaped, FX1863 copies that differ.
    """
    expected = {name: pair for pair in pairs for name in pair.theirs}
    aliases = [alias for alias in aliases if alias.name not in expected and alias.of in expected]
    stands_for = {alias.of: alias.name for alias in aliases if alias.of not in tensors}
    found = {name: tensors[name] if name in tensors else tensors[stands_for[name]] for name in expected
             if name in tensors or name in stands_for}  # fmt: skip
    found |= _stand_ins({name: pair for name, pair in expected.items() if name not in found}, tensors)
    problems = [
        *_first(_missing(expected, found)),
        *_first(_unexpected(expected, tensors, aliases={alias.name for alias in aliases}, ignored=ignored)),
        *_first(_misshapen(expected, found)),
    ]
    problems = problems or list(_differing(aliases, tensors))
    if problems:
        raise SourceError(problems)
    return found


def _first(problems: Iterator[Problem]) -> Iterator[Problem]:
    """Problems of one kind, of which the last one listed says how many more there are."""
    listed = list(islice(problems, LISTED))
    more = sum(1 for _ in problems)
    yield from listed[:-1]
    if listed:
        yield replace(listed[-1], message=f"{listed[-1].message}, and so {more:,} more") if more else listed[-1]


def _stand_ins(missing: Mapping[str, Pair], tensors: Tensors) -> Iterator[tuple[str, LazyTensor]]:
    dtype = next((tensor.dtype for tensor in tensors.values()), "F32")
    for name, pair in missing.items():
        if pair.absent is not None:
            yield name, stand_in(pair.absent, pair.shape, dtype)


def equal(one: LazyTensor, other: LazyTensor) -> bool:
    """Whether two tensors hold the same numbers in the same format."""
    if (one.shape, one.dtype) != (other.shape, other.dtype):
        return False
    first, second = one.numpy(), other.numpy()
    return bool(np.array_equal(first.view(np.uint8), second.view(np.uint8))) if first.ndim else bool(first == second)


def _missing(expected: Mapping[str, Pair], found: Mapping[str, LazyTensor]) -> Iterator[Problem]:
    for name, pair in expected.items():
        if name not in found:
            yield Problem(
                code="FX1860", path=name, message="the checkpoint lacks this tensor",
                expected=f"{list(pair.shape)} for {', '.join(pair.ours)}", found="nothing",
                cure="give the whole checkpoint, with the configuration that belongs to it",
            )  # fmt: skip


def _unexpected(
    expected: Mapping[str, Pair], tensors: Tensors, *, aliases: set[str], ignored: Sequence[str]
) -> Iterator[Problem]:
    for name, tensor in tensors.items():
        if name in expected or name in aliases or any(match(pattern, name) is not None for pattern in ignored):
            continue
        yield Problem(
            code="FX1861", path=name, message="the checkpoint has a tensor that the model has no place for",
            expected="only tensors that the configuration calls for", found=f"{tensor.dtype} {list(tensor.shape)}",
            cure="give the configuration of this checkpoint; what it holds beside would not be computed",
        )  # fmt: skip


def _misshapen(expected: Mapping[str, Pair], found: Mapping[str, LazyTensor]) -> Iterator[Problem]:
    for name, tensor in found.items():
        pair = expected[name]
        if tensor.shape != pair.shape:
            yield Problem(
                code="FX1862", path=name, message="the tensor has another shape than the configuration says",
                expected=f"{list(pair.shape)} for {', '.join(pair.ours)}", found=str(list(tensor.shape)),
                cure="give the configuration of this checkpoint",
            )  # fmt: skip


def _differing(aliases: Sequence[Alias], tensors: Tensors) -> Iterator[Problem]:
    for alias in aliases:
        if not alias.dead and alias.of in tensors and not equal(tensors[alias.name], tensors[alias.of]):
            yield Problem(
                code="FX1863", path=alias.name, message=f"differs from {alias.of}, which the family shares with it",
                expected="the same numbers", found="others",
                cure="give a checkpoint that the family's own code has saved",
            )  # fmt: skip
