"""From a spec to a program: inputs and their axes, the blocks, which input is decoded, and the first passes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, cast

from flexit.ir.analysis.dependence import dependences
from flexit.ir.block import Block, Fault
from flexit.ir.dims import Dim, symbol, symbols
from flexit.ir.expansion import edges
from flexit.ir.expansion.expander import Expander, Table
from flexit.ir.expansion.scope import EDGE
from flexit.ir.expansion.wiring import expand_scope
from flexit.ir.language.inputs import Companions, alike, companions
from flexit.ir.language.inputs import Sequence as SequenceInput
from flexit.ir.language.inputs import Vector as VectorInput
from flexit.ir.ops.op import Dependence
from flexit.ir.passes.merge import merge
from flexit.ir.passes.prune import prune
from flexit.ir.program import Group, Input, InputRole, Program, Value, join
from flexit.ir.spec import Spec, walk_blocks
from flexit.ir.types import Type
from flexit.ir.valid import Given

BATCH = symbol("batch")


@dataclass(frozen=True, slots=True)
class Expansion:
    """A program, or the faults that stand in its way: (block, path of the block, fault).

    Attributes:
        compacted: whether some state has its compact form.
    """

    program: Program | None
    faults: tuple[tuple[Block | None, str, Fault], ...]
    compacted: bool = False


def expand(spec: Spec, *, compact: bool = False) -> Expansion:
    """Expand a spec whose graph has been checked, with states in their compact form or as they are read.

    It expands once with every input open (fed step by step), which shows by dataflow which input can be decoded, and
    then with the others closed, if there are any: their ``total`` is their ``seq``.
    """
    probe = _Document(spec, lambda _: True, compact=compact)
    if probe.e.faults or not probe.outputs:
        return Expansion(None, tuple(probe.e.faults))
    decoded, reason = _decoded(probe)
    is_final = decoded is not None and all(group.name == decoded for group in probe.groups)
    final = probe if is_final else _Document(spec, lambda group: group == decoded, compact=compact)
    return Expansion(merge(prune(final.program(decoded, reason))), (), final.e.compacted)


def tables(spec: Spec) -> dict[str, Table]:
    """Every token table of the graph by the path of the block that owns it."""
    found: dict[str, Table] = {}
    for path, block in walk_blocks(spec.blocks):
        table = block.token_table() if block.shares is None else None
        if table is not None:
            held = table.projection
            held = held and replace(held, path=join(path, held.path))
            found[path] = Table(join(path, table.path), table.rows, table.width, held, at_root="." not in path)
    return found


class _Document:
    """One expansion of the outermost scope; ``is_open`` says which groups of inputs are fed step by step."""

    def __init__(self, spec: Spec, is_open: Callable[[str], bool], *, compact: bool = False) -> None:
        self.spec = spec
        self.is_open = is_open
        self.inputs: list[Input] = []
        self.groups: list[Group] = []
        likes = alike(spec.inputs, spec.blocks)
        cached = any(is_open(companions(name).group) for name in spec.inputs if name not in likes)
        self.e = Expander(tables=tables(spec), cached=cached, compact=compact)
        ports = self._ports(likes)
        only = next(iter(ports)) if len(ports) == 1 else None
        results = expand_scope(self.e, spec.blocks, ports, chain_from=only)
        self.outputs = {} if self.e.faults else self._outputs(results)
        self.root = self.e.seal(tuple(self.outputs.values()))

    def _ports(self, likes: Mapping[str, str]) -> dict[str, Any]:
        ports: dict[str, Any] = {}
        for name in sorted(self.spec.inputs, key=lambda name: name in likes):
            declared = self.spec.inputs[name]
            if isinstance(declared, VectorInput):
                value = self._input(name, Type("f32", (BATCH, declared.width)), group="", role="vector")
                ports[name] = edges.Vector(x=value, rows=value)
                continue
            names = companions(likes.get(name, name))
            seq = symbol(names.seq)
            is_values = isinstance(declared, SequenceInput)
            type_ = Type("f32", (BATCH, seq, declared.width)) if is_values else Type("i64", (BATCH, seq))
            value = self._input(name, type_, group=names.group, role="values" if is_values else "ids")
            axis = ports[likes[name]].axis if name in likes else self._axis(names, name)
            ports[name] = edges.Sequence(x=value, axis=axis) if is_values else edges.Tokens(ids=value, axis=axis)
        return {name: ports[name] for name in self.spec.inputs}

    def _axis(self, names: Companions, described: str) -> edges.Axis:
        seq = symbol(names.seq)
        total = symbol(names.total) if self.is_open(names.group) else seq
        self.groups.append(Group(name=names.group, seq=names.seq, total=str(total)))
        mask = self._companion(names.attention_mask, (BATCH, total), names, role="mask")
        ids = self._companion(names.position_ids, (BATCH, seq), names, role="position_ids")
        documents = self._companion(names.document_ids, (BATCH, seq), names, role="document_ids")
        lengths = self._companion(names.prefix_lengths, (BATCH,), names, role="prefix_lengths")
        return self.e.axis(
            mask, described=f"the length of {described}", seq=seq, valid=Given(names.attention_mask), position_ids=ids,
            prefix_lengths=lengths, documents=documents,
        )  # fmt: skip

    def _companion(self, name: str, dims: tuple[Dim, ...], names: Companions, *, role: InputRole) -> Value:
        return self._input(name, Type("i64", dims), group=names.group, role=role, optional=True)

    def _input(self, name: str, type_: Type, *, group: str, role: InputRole, optional: bool = False) -> Value:
        value = self.e.draft.input(name, type_)
        self.inputs.append(Input(name=name, value=value, group=group, role=role, optional=optional))
        return value

    def _outputs(self, results: Mapping[str, Mapping[str, Any]]) -> dict[str, Value]:
        """Output name -> value; all layers under one name become ``name.0``, ``name.1``, ..."""
        if not self.spec.outputs:
            last = results[next(reversed(self.spec.blocks))]
            return {port: edge.x for port, edge in last.items() if not isinstance(edge, list)}
        found: dict[str, Value] = {}
        for name, edge in self.spec.outputs.items():
            match = EDGE.fullmatch(edge)
            assert match is not None
            ports = results[match["name"]]
            result: Any = ports[match["port"]] if match["port"] in ports else next(iter(ports.values()))
            if not isinstance(result, list):
                found[name] = result.x
                continue
            layers = cast("list[edges.Sequence]", result)
            if match["index"] is not None:
                found[name] = layers[int(match["index"])].x
            else:
                found |= {f"{name}.{index}": layer.x for index, layer in enumerate(layers)}
        return found

    def program(self, decoded: str | None, reason: str) -> Program:
        """The program as written, before any pass."""
        group = next((group for group in self.groups if group.name == decoded), None)
        return Program(
            name=self.spec.name, root=self.root, inputs=tuple(self.inputs),
            outputs=self.outputs, groups=tuple(self.groups), decoded=group, why_not_decoded=reason,
            why_not_packed=self.e.why_not_packed,
            valid=self.e.valid,
        )  # fmt: skip


def output_edges(spec: Spec) -> dict[str, str]:
    """The graph outputs as written, or the last block under a provisional name."""
    return spec.outputs or {"last": next(reversed(spec.blocks))}


def _decoded(probe: _Document) -> tuple[str | None, str]:
    """The group that is fed step by step, or why there is none."""
    root = probe.root
    if "logits" not in probe.outputs:
        return None, "no output is called logits"
    if probe.outputs["logits"].type.rank != 3:
        return None, "the output logits has no scores for each token"
    lengths = {name for dim in probe.outputs["logits"].dims for name in symbols(dim)}
    stateful = {
        name for state in root.states for dim in state.type.dims if isinstance(dim, Dim) for name in symbols(dim)
    }
    stateful |= probe.e.replaced
    candidates = [group for group in probe.groups if group.seq in lengths and stateful & {group.seq, group.total}]
    if len(candidates) != 1:
        return None, "the logits do not depend on one input through a causal state"
    group = candidates[0]
    found = dependences(root, group.seq)
    for name, value in probe.outputs.items():
        finding = found[value]
        if finding.level is Dependence.GLOBAL:
            return None, f"{finding.culprit or name} looks at positions after its own"
    return group.name, ""
