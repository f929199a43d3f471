"""The printer of generated code. Everything it prints is a made-up identifier or a literal made from a typed number;
objects and names of the spec are reached through the table of globals only.
"""

from __future__ import annotations

import linecache
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from typing import Any

import torch

from flexit.errors import LoweringError
from flexit.ir.dims import Clipped, Dim, Division, Size
from flexit.ir.program import Node, Param, Region, Value

_serial = count()


class Ref(str):
    """An expression that stands in generated code as it is."""

    __slots__ = ()


class Code:
    """The body of one generated ``forward``.

    Attributes:
        table: globals of the generated function: made-up name -> function or name of a submodule.
        values: value -> the identifier that holds it.
        unpadded: mask of tokens -> an expression that is true where it is known, without a look, to be all ones.
    """

    def __init__(self, region: Region) -> None:
        self.region = region
        self.table: dict[str, object] = {}
        self.values: dict[Value, Ref] = {}
        self.unpadded: dict[Value, Ref] = {}
        self.lines: list[str] = []
        self.constants: list[tuple[str, Any]] = []
        self._numbers = count()
        self._named: dict[object, str] = {}
        self._sizes: dict[str, Ref] = {}
        self._measured = sorted(region.inputs, key=lambda value: value.dtype == "bool")  # a mask may be no tensor
        dims = [dim for value in region.inputs for dim in value.dims]
        self._symbols = {str(dim) for dim in dims if isinstance(dim, Dim) and dim.is_symbol}

    # ---- expressions

    def __getitem__(self, value: Value | None) -> Ref:
        """The identifier that holds a value; ``None`` for an absent operand."""
        return Ref("None") if value is None else self.values[value]

    def call(self, function: Callable[..., Any], *args: object) -> Ref:
        """A call of a library function."""
        return Ref(f"{self.name(function, 'f')}({', '.join(map(literal, args))})")

    def name(self, thing: object, prefix: str) -> str:
        """The table's name of an object."""
        key = thing if isinstance(thing, str) else id(thing)
        if key not in self._named:
            self._named[key] = f"{prefix}{len(self.table)}"
            self.table[self._named[key]] = thing
        return self._named[key]

    def attribute(self, path: str) -> Ref:
        """``self`` followed by a dotted path of submodules and parameters."""
        expression = "self"
        for part in path.split("."):
            expression = f"getattr({expression}, {self.name(part, 'n')})"
        return Ref(expression)

    def constant(self, tensor: Any) -> Ref:
        """A fixed tensor, kept as a non-persistent buffer so that it follows the module to its device."""
        name = f"_c{len(self.constants)}"
        self.constants.append((name, tensor))
        return Ref(f"self.{name}")

    def weight(self, node: Node, slot: str) -> Ref:
        """A parameter of an op as a tensor expression; ``None`` where the op has no such slot."""
        param = node.params.get(slot)
        if param is None:
            return Ref("None")
        return self.attribute(param.path) if isinstance(param, Param) else self[param]

    def size(self, size: Size) -> Ref:
        """A length, from the shapes of the region's inputs."""
        if isinstance(size, int):
            return Ref(size)
        if not size.symbols <= self._symbols and (found := self._beside(size)) is not None:
            return found
        text = [str(size.constant)] if size.constant else []
        for atom, factor in size.terms:
            one = self._symbol(atom) if isinstance(atom, str) else self._atom(atom)
            text.append(one if factor == 1 else f"{factor} * {one}")
        return Ref(f"({' + '.join(text)})")

    def _beside(self, size: Dim) -> Ref | None:
        """A length that differs from a dim of an input by a number, where the lengths it is made of are not known."""
        for value in self._measured:
            for axis, dim in enumerate(value.dims):
                more = size - dim
                if isinstance(dim, Dim) and isinstance(more, int):
                    return Ref(f"({self[value]}.shape[{axis}] + {more})")
        return None

    def _atom(self, atom: Division | Clipped) -> str:
        one = Dim(((atom, 1),))
        known = None if one.symbols <= self._symbols else self._beside(one)
        return self._made(atom) if known is None else known

    def _made(self, atom: Division | Clipped) -> str:
        if isinstance(atom, Clipped):
            return self.call(torch.sym_max, self.size(atom.of), 0)  # no branch, so nothing is specialised
        return f"-(-{self.size(atom.of)} // {int(atom.by)})"

    def _symbol(self, name: str) -> Ref:
        if name not in self._sizes:
            for value in self._measured:
                for axis, dim in enumerate(value.dims):
                    if isinstance(dim, Dim) and dim.is_symbol and str(dim) == name:
                        self._sizes[name] = self.assign(Ref(f"{self[value]}.shape[{axis}]"))
                        return self._sizes[name]
            raise LoweringError(f"no input of @{self.region.name} has the length {name}")
        return self._sizes[name]

    # ---- statements

    def assign(self, expression: str) -> Ref:
        """A new variable holding ``expression``."""
        name = self.fresh()
        self.lines.append(f"{name} = {expression}")
        return name

    def fresh(self) -> Ref:
        """A new identifier."""
        return Ref(f"v{next(self._numbers)}")

    @contextmanager
    def inside(self, head: str) -> Iterator[None]:
        """Put the lines that are printed meanwhile under a head such as ``else``. Their names hold there alone."""
        before, sizes, self.lines = self.lines, dict(self._sizes), []
        try:
            yield
        finally:
            self.lines = [*before, f"{head}:", *(f"    {line}" for line in self.lines)]
            self._sizes = sizes

    def unpack(self, expression: str, many: int) -> list[Ref]:
        """New variables holding the parts of a tuple."""
        names = [self.fresh() for _ in range(many)]
        self.lines.append(f"{', '.join(names)}, = {expression}")
        return names

    def compile(self, arguments: Sequence[str], results: Sequence[str]) -> tuple[Callable[..., Any], str]:
        """The generated function, registered for tracebacks, and its source."""
        returned = f"return ({''.join(f'{result}, ' for result in results)})"
        body = "\n".join(f"    {line}" for line in [*self.lines, returned])
        source = f"def forward({', '.join(['self', *arguments])}):\n{body}\n"
        file = f"<flexit region {next(_serial)}>"
        linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
        scope: dict[str, Any] = dict(self.table)
        exec(compile(source, file, "exec"), scope)
        return scope["forward"], source


def literal(value: object) -> str:
    """Source of a number, a flag, nothing, an expression, or a tuple of these; text is refused."""
    if isinstance(value, Ref):
        return str(value)
    if value is None or isinstance(value, bool | int):
        return repr(value)
    if isinstance(value, float):
        return repr(value) if math.isfinite(value) else f'float("{value!r}")'
    if isinstance(value, tuple | list):
        return f"({''.join(f'{literal(entry)}, ' for entry in _entries(value))})"
    raise LoweringError(f"{type(value).__name__} cannot stand in generated code")


def _entries(value: Any) -> Iterator[object]:
    yield from value


def module_path(node: Node) -> str | None:
    """Path of the stock module that can hold an op's parameters: where its weight lies, and all others with it."""
    weight = node.params.get("weight")
    path = weight.path.rpartition(".")[0] if isinstance(weight, Param) else None
    together = all(isinstance(p, Param) and p.path.rpartition(".")[0] == path for p in node.params.values())
    return path if together else None
