"""Which of their tensors holds which of our parameters, and how: the rules of a family for one program."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from flexit.convert.layouts import Layout, Shape, layout_of
from flexit.convert.mapping.choices import holds_in
from flexit.convert.mapping.family import Family, Head
from flexit.convert.mapping.forms import Incomplete, Scope
from flexit.convert.mapping.patterns import admits, filled, holes, match
from flexit.convert.mapping.rules import Rule, rule_of
from flexit.errors import Problem, SourceError


@dataclass(frozen=True, slots=True)
class Pair:
    """One of their tensors, or several that are one array of ours along its first axis.

    Attributes:
        theirs: names of the tensors; more than one where they are stacked.
        ours: our parameters, in the order in which the tensor holds them.
        shapes: what of each parameter a tensor holds.
        layout: how.
        stacked: whether our first axis counts their tensors.
        absent: what stands for their tensor where there is none, if anything does.
    """

    theirs: tuple[str, ...]
    ours: tuple[str, ...]
    shapes: tuple[Shape, ...]
    layout: Layout
    stacked: bool
    absent: Any = None

    @property
    def shape(self) -> Shape:
        """The shape of each of their tensors.

        Raises:
            SourceError: FX1855, the parameters do not go together so.
        """
        try:
            return self.layout.shape(self.shapes)
        except ValueError as error:
            raise SourceError.of(
                "FX1855", "tensors cannot be laid out as the configuration says", path=self.theirs[0],
                expected=f"parts that go together: {', '.join(self.ours)}", found=str(error),
                cure="give the configuration of this checkpoint",
            ) from error  # fmt: skip


def rules_of(family: Family, head: Head, prefix: str) -> dict[str, Rule]:
    """Every rule of a model by the name of their tensor."""
    trunk = {prefix + name: rule_of(written) for name, written in family.tensors.items()}
    return {**{name: rule_of(written) for name, written in head.tensors.items()}, **trunk}


def pairs_of(rules: Mapping[str, Rule], shapes: Mapping[str, Shape], scope: Scope) -> list[Pair]:
    """Pairs that hold every parameter once.

    Args:
        rules: of the model.
        shapes: of our parameters by path.
        scope: the configuration, for layouts that depend on it.

    Raises:
        SourceError: FX1852, parameters that no rule holds.
    """
    pairs: list[Pair] = []
    held: set[str] = set()
    for path in shapes:
        if path in held:
            continue
        pair = next(_candidates(rules, path, shapes, scope=scope), None)
        if pair is not None:
            pairs.append(pair)
            held.update(pair.ours)
    left = [path for path in shapes if path not in held]
    if left:
        raise SourceError([
            Problem(
                code="FX1852", path=path, message="no rule of the family holds this parameter",
                expected="a tensor of theirs for every parameter of the spec", found="none",
                cure="add a rule for it to the mapping file, or change the spec of the mapping file",
            )
            for path in left
        ])  # fmt: skip
    return pairs


def _candidates(rules: Mapping[str, Rule], path: str, shapes: Mapping[str, Shape], *, scope: Scope) -> Iterator[Pair]:
    """Pairs that hold a parameter, by the first rules first."""
    for name, rule in rules.items():
        for target in rule.targets:
            values = match(target, path)
            if values is None or not admits(name, values):
                continue
            if rule.where is not None and not holds_in(rule.where, scope):
                continue
            if rule.given is not None and filled(rule.given, values) not in shapes:
                continue
            ours = tuple(filled(each, values) for each in rule.targets)
            theirs = _numbered(values, rule, scope)
            if theirs is not None and path in ours and all(each in shapes for each in ours):
                pair = _pair(filled(name, theirs), ours, [shapes[each] for each in ours], layout=_layout(rule, scope))
                yield replace(pair, absent=rule.absent)


def _numbered(values: Mapping[str, str], rule: Rule, scope: Scope) -> Mapping[str, str] | None:
    """What fills the holes of their name; None of a layer that they do not number."""
    if rule.stride is None:
        return values
    stride = scope.fill(rule.stride)
    if "n" not in values or not isinstance(stride, int) or stride < 1:
        raise Incomplete("stride", "a whole number above 0, of layers that {n} numbers", stride)
    group, left = divmod(int(values["n"]), stride)
    return None if left else {**values, "n": str(group)}


def _pair(name: str, ours: tuple[str, ...], shapes: Sequence[Shape], *, layout: Layout) -> Pair:
    open_holes = holes(name)
    if not open_holes:
        return Pair((name,), ours, tuple(shapes), layout, stacked=False)
    count = shapes[0][0]
    theirs = tuple(filled(name, {open_holes[0]: str(index)}) for index in range(count))
    return Pair(theirs, ours, tuple(shape[1:] for shape in shapes), layout, stacked=True)


def _layout(rule: Rule, scope: Scope) -> Layout:
    filled_in: Any = scope.fill(rule.layout)
    try:
        return layout_of(filled_in)
    except (ValueError, TypeError) as error:
        raise SourceError.of(
            "FX1855", "tensors cannot be laid out as the configuration says", expected="counts that divide the rows",
            found=str(error), cure="give the configuration of this checkpoint",
        ) from error  # fmt: skip
