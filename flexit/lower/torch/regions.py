"""One class per region, one instance per call: modules whose ``forward`` is generated straight-line code."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, cast

import torch
from torch import Tensor, nn

from flexit.ir.program import Call, Node, Param, Region, Value, join
from flexit.lower.torch.code import Code, Ref
from flexit.lower.torch.lowerings import holder, write
from flexit.lower.torch.ops.mask import write_left_out
from flexit.lower.torch.recipe import Generated, Recipe

NONE: Mapping[Value, Value] = MappingProxyType({})


class Container(nn.Module):
    """Holds the modules of one block that has no code of its own."""


class RegionModule(Generated):
    """Base of every generated class; ``code`` is the source of its forward, unless a block has that name."""

    code: str


@dataclass(frozen=True, slots=True)
class Compiled:
    """A region's class and what its instances hold."""

    cls: type[RegionModule]
    region: Region
    constants: tuple[tuple[str, Tensor], ...]


class RegionCompiler:
    """Compiles each region once."""

    def __init__(self) -> None:
        self._compiled: dict[Region, Compiled] = {}

    def compile(
        self, region: Region, *, base: type[RegionModule] = RegionModule, masks: Mapping[Value, Value] = NONE
    ) -> Compiled:
        """The class of a region; its forward takes the inputs, then one past per state, and returns the outputs, the
        side outputs and one present per state.

        Args:
            region: which.
            base: of the class.
            masks: inputs that may be None, for ones over the tokens of another input.
        """
        if region not in self._compiled:
            code = Code(region)
            arguments = [code.fresh() for _ in region.inputs]
            code.values |= dict(zip(region.inputs, arguments, strict=True))
            write_left_out(masks, code)
            past = {state.path: code.fresh() for state in region.states}
            present: dict[str, Ref] = {}
            for node in region.nodes:
                present |= _call(node, code, past) if isinstance(node, Call) else write(node, code, past)
            results = [code[value] for value in (*region.outputs, *region.side.values())]
            results += [present[state.path] for state in region.states]
            defaulted = [*arguments, *(f"{name}=None" for name in past.values())]
            forward, source = code.compile(defaulted, results)
            entry = "forward" if base is RegionModule else "_run"
            shown = {} if "code" in _names(region) else {"code": source}
            made = type(f"Region{len(self._compiled)}", (base,), {entry: forward, **shown})
            cls = cast("type[RegionModule]", made)
            cls._recipe = Recipe(class_of, region).made(cls)
            self._compiled[region] = Compiled(cls, region, tuple(code.constants))
        return self._compiled[region]

    def fill(self, module: nn.Module, compiled: Compiled) -> None:
        """Give an instance its parameters (on the meta device) and the instances of the regions it calls."""
        for path, child in self._children(compiled.region):
            put(module, path, child)
        for param in compiled.region.params:
            if not _exists(module, param.path) and not _borrowed(compiled.region, param):
                empty = torch.empty(param.shape, device="meta")
                put(module, param.path, nn.Parameter(empty, requires_grad=param.trained))
        for name, tensor in compiled.constants:
            module.register_buffer(name, tensor.clone(), persistent=False)

    def _children(self, region: Region) -> Iterator[tuple[str, nn.Module]]:
        """Shallow paths first, so that a child finds its parent."""
        made: dict[str, nn.Module] = {}
        for node in region.nodes:
            if isinstance(node, Call):
                if node.weights not in made:
                    compiled = self.compile(node.region)
                    made[node.weights] = compiled.cls()
                    self.fill(made[node.weights], compiled)
            else:
                path = _holder_path(node)
                with torch.device("meta"):
                    module = holder(node)
                if module is not None and path is not None:
                    made.setdefault(path, module)
        yield from sorted(made.items(), key=lambda item: item[0].count("."))


def class_of(region: Region) -> type[RegionModule]:
    """The class of a region, by itself."""
    return RegionCompiler().compile(region).cls


def _names(region: Region) -> set[str]:
    """Names that an instance gives its children."""
    calls = [node.weights for node in region.nodes if isinstance(node, Call)]
    return {path.partition(".")[0] for path in (*calls, *(param.path for param in region.params))}


def _call(call: Call, code: Code, past: dict[str, Ref]) -> dict[str, Ref]:
    states = [join(call.path, state.path) for state in call.region.states]
    operands = [code[value] for value in call.inputs] + [past[path] for path in states]
    expression = f"{code.attribute(call.weights)}({', '.join(operands)})"
    names = code.unpack(expression, len(call.outputs) + len(states))
    code.values |= dict(zip(call.outputs, names, strict=False))
    return dict(zip(states, names[len(call.outputs) :], strict=True))


def _holder_path(node: Node) -> str | None:
    weight = node.params.get("weight")
    return weight.path.rpartition(".")[0] if isinstance(weight, Param) else None


def _borrowed(region: Region, param: Param) -> bool:
    """Whether another region's module holds the parameter: it lies below a call of this region."""
    return any(isinstance(node, Call) and param.path.startswith(f"{node.weights}.") for node in region.nodes)


def put(module: nn.Module, path: str, thing: nn.Module | nn.Parameter) -> None:
    """Attach a module or parameter at a dotted path, with containers on the way."""
    *parents, last = path.split(".")
    for parent in parents:
        if parent not in module._modules:
            module.add_module(parent, Container())
        found = module._modules[parent]
        assert found is not None
        module = found
    if isinstance(thing, nn.Parameter):
        module.register_parameter(last, thing)
        return
    before: Any = module._modules.get(last)
    for name, child in (before._modules if before is not None else {}).items():
        thing.add_module(name, child)
    module.add_module(last, thing)


def _exists(module: nn.Module, path: str) -> bool:
    *parents, last = path.split(".")
    for parent in parents:
        found = module._modules.get(parent)
        if found is None:
            return False
        module = found
    return last in module._parameters
