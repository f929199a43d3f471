"""Regions while they are being written: scopes, names, and values of outer regions turned into inputs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from flexit.ir.program import Call, Node, Region, Value, join
from flexit.ir.types import Type


@dataclass(eq=False)
class Draft:
    """A region that is being written.

    Attributes:
        absolute: path of the (first) call, for messages and for parameters of other blocks.
        scope: path of the block being expanded, inside the region.
        width: width of that block's input.
        owners: path of a block that shares -> path of the one whose parameters it uses.
        captures: values of outer regions that became inputs, in order of first use.
    """

    name: str
    absolute: str = ""
    parent: Draft | None = None
    scope: tuple[str, ...] = ()
    width: int = 0
    inputs: list[Value] = field(default_factory=list[Value])
    nodes: list[Node | Call] = field(default_factory=list["Node | Call"])
    captures: dict[Value, Value] = field(default_factory=dict[Value, Value])
    side: dict[str, Value] = field(default_factory=dict[str, Value])
    marks: dict[str, Value] = field(default_factory=dict[str, Value])
    memo: dict[object, object] = field(default_factory=dict[object, object])
    owners: dict[str, str] = field(default_factory=dict[str, str])
    branches: int = 0
    _known: set[Value] = field(default_factory=set[Value])
    _names: dict[str, int] = field(default_factory=dict[str, int])

    def path(self, name: str = "") -> str:
        """Path inside the region of something in the current scope."""
        return join(*self.scope, name)

    def new(self, hint: str, type_: Type) -> Value:
        """A value with a readable name not used in this region."""
        count = self._names.get(hint, 0) + 1
        self._names[hint] = count
        value = Value(hint if count == 1 else f"{hint}_{count}", type_)
        self._known.add(value)
        return value

    def input(self, hint: str, type_: Type) -> Value:
        """A new input of the region."""
        value = self.new(hint, type_)
        self.inputs.append(value)
        return value

    def knows(self, value: Value) -> bool:
        """Whether the value is made in this region."""
        return value in self._known

    def outermost_seeing(self, values: Iterable[Value]) -> Draft:
        """The outermost region around this one where all ``values`` are made, or made further out."""
        around: list[Draft] = [self]
        while around[-1].parent is not None:
            around.append(around[-1].parent)
        depth = {draft: index for index, draft in enumerate(reversed(around))}
        homes = (next(draft for draft in reversed(around) if draft.knows(value)) for value in values)
        return max(homes, key=depth.__getitem__, default=around[-1])

    def home_of(self, path: str) -> Draft:
        """The innermost region around this one that a block or parameter at an absolute path lies in."""
        home: Draft = self
        while home.parent is not None and not path.startswith(f"{home.absolute}."):
            home = home.parent
        return home

    def local(self, path: str) -> str:
        """An absolute path as seen in here."""
        return path.removeprefix(f"{self.absolute}.") if self.absolute else path

    def use(self, value: Value) -> Value:
        """The value as seen in here: itself, or the input that brings it in from an outer region."""
        if value in self._known:
            return value
        if value not in self.captures:
            if self.parent is None:
                raise KeyError(f"{value} is not visible in @{self.name}")
            self.parent.use(value)
            self.captures[value] = self.input(value.name, value.type)
        return self.captures[value]

    def seal(self, outputs: tuple[Value, ...]) -> Region:
        """The finished region."""
        outputs = tuple(self.use(value) for value in outputs)
        return Region(
            name=self.name, inputs=tuple(self.inputs), nodes=tuple(self.nodes), outputs=outputs,
            side=dict(self.side), marks=_only_known(self.marks, self), branches=self.branches,
        )  # fmt: skip


def _only_known(marks: Mapping[str, Value], draft: Draft) -> dict[str, Value]:
    return {path: value for path, value in marks.items() if draft.knows(value)}
