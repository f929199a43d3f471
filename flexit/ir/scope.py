"""A scope: a map of named blocks, how their edges resolve, and how it expands. The document and every composite with
``blocks`` are scopes.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, cast

import networkx as nx
from pydantic import AfterValidator

from flexit.ir.block import Block, Fault, Port
from flexit.ir.edges import Each
from flexit.ir.edges import Sequence as SequenceEdge
from flexit.ir.expander import Expander, Unexpanded
from flexit.ir.names import check_name

Name = Annotated[str, AfterValidator(check_name)]
BlockMap = dict[Name, Block]

EDGE = re.compile(r"(?P<name>[a-z][a-z0-9_]*)(\.(?P<port>[a-z][a-z0-9_]*)(\[(?P<index>-?[0-9]+)\])?)?")


@dataclass(frozen=True, slots=True)
class Source:
    """Where an edge comes from.

    Attributes:
        port: an output port of the block, or None for the main one.
        index: a layer of a ``layers`` port.
        each: one layer of the block per layer of the reader, in this order.
    """

    name: str
    port: str | None = None
    index: int | None = None
    each: Literal["same", "reversed"] | None = None

    def __str__(self) -> str:
        index = "" if self.index is None else f"[{self.index}]"
        return self.name + (f".{self.port}{index}" if self.port else "")


Wires = dict[str, tuple[Source, ...]]


@dataclass(frozen=True, slots=True)
class Scope:
    """A resolved map of blocks.

    Attributes:
        wires: for each block, its ports and their sources.
        order: names in an order in which they can be expanded, as written where possible.
        faults: (block name or "", fault) for everything that does not resolve.
    """

    wires: Mapping[str, Wires]
    order: tuple[str, ...]
    faults: tuple[tuple[str, Fault], ...]


def resolve(blocks: Mapping[str, Block], ports: Sequence[str], *, chain_from: str | None) -> Scope:
    """Resolve the edges of a scope.

    Args:
        blocks: the blocks as written.
        ports: names of the enclosing composite's ports, or of the graph inputs.
        chain_from: what the first block reads without ``from:``, if anything.
    """
    faults: list[tuple[str, Fault]] = []
    wires: dict[str, Wires] = {}
    before = chain_from
    for name, block in blocks.items():
        if name in ports:
            faults.append((name, _shadowed(name)))
        found = list(_wires_of(name, block, before, blocks, ports))
        faults += [(name, fault) for fault in found if isinstance(fault, Fault)]
        wires[name] = {port: sources for port, sources in (w for w in found if not isinstance(w, Fault))}
        before = name
    order, cycle_faults = _ordered(blocks, wires)
    return Scope(wires, order, (*faults, *cycle_faults))


def _wires_of(
    name: str, block: Block, before: str | None, blocks: Mapping[str, Block], ports: Sequence[str]
) -> Iterator[Fault | tuple[str, tuple[Source, ...]]]:
    main, main_port = next(iter(block.inputs.items()))
    written = block.wired
    if written is None:
        if not main_port.chains or before is None:
            yield _nothing_to_chain(main, main_port, ports)
        else:
            yield main, (Source(before),)
        return
    by_port: Mapping[str, Any] = written if isinstance(written, dict) else {main: written}
    for port, value in by_port.items():
        declared = block.inputs.get(port)
        if declared is None and not block.takes_extra_ports:
            yield _unknown_port(block, port)
            continue
        sources = list(_sources(value, port, declared, blocks, ports))
        wrong = [source for source in sources if isinstance(source, Fault)]
        yield from wrong
        if not wrong:
            yield port, tuple(source for source in sources if isinstance(source, Source))
    for port, declared in block.inputs.items():
        if port not in by_port and not declared.optional:
            yield Fault(
                code="FX0305", field="from", message=f"the port {port} is not wired",
                expected=f"an edge for each of {', '.join(p for p, d in block.inputs.items() if not d.optional)}",
                found=", ".join(by_port) or "none", cure=f"add {port} to from",
            )  # fmt: skip


def _sources(
    value: Any, port: str, declared: Port | None, blocks: Mapping[str, Block], ports: Sequence[str]
) -> Iterator[Source | Fault]:
    variadic = declared is not None and declared.variadic
    if isinstance(value, dict):
        yield _each(cast("dict[str, Any]", value), blocks)
        return
    edges = cast("list[Any]", value) if isinstance(value, list) else [value]
    if isinstance(value, list) and (not variadic or len(edges) < 2):
        yield Fault(
            code="FX0305" if variadic else "FX0302", field="from",
            message=f"the port {port} takes {'two edges or more' if variadic else 'one edge'}",
            expected="a list of at least two edges" if variadic else "one edge",
            found=f"a list of {len(edges)}", cure="name at least two blocks" if variadic else "join them with add first",
        )  # fmt: skip
        return
    for edge in edges:
        yield _source(edge, variadic, blocks, ports)


def _source(edge: Any, variadic: bool, blocks: Mapping[str, Block], ports: Sequence[str]) -> Source | Fault:
    match = EDGE.fullmatch(edge) if isinstance(edge, str) else None
    if match is None:
        return Fault(
            code="FX0301", field="from", message="not an edge",
            expected="block, block.port, block.layers[i], a port or a graph input", found=str(edge),
            cure="write the name of a block",
        )  # fmt: skip
    name, port, index = match["name"], match["port"], match["index"]
    if name not in blocks and name not in ports:
        near = difflib.get_close_matches(name, [*blocks, *ports], 1)
        return Fault(
            code="FX0301", field="from", message="no block, port or graph input of this name",
            expected=_in_scope(blocks, ports), found=name, cure=f"write {near[0] if near else 'one of them'}",
        )  # fmt: skip
    if port is not None and (name not in blocks or not _has_port(blocks[name], port, index)):
        known = ["last_hidden_state", *blocks[name].more_outputs] if name in blocks else []
        return Fault(
            code="FX0301", field="from", message=f"{name} has no such output port",
            expected=f"{', '.join(known)}" if known else "no port after a port or graph input", found=str(edge),
            cure=f"write {name}",
        )  # fmt: skip
    if port in (blocks[name].more_outputs if name in blocks else ()) and index is None and not variadic:
        return Fault(
            code="FX0302", field="from", message="a list of sequences into a port that takes one",
            expected=f"one of them, such as {name}.{port}[-1]", found=str(edge), cure=f"write {name}.{port}[-1]",
        )  # fmt: skip
    return Source(name, port, None if index is None else int(index))


def _has_port(block: Block, port: str, index: str | None) -> bool:
    if port in block.more_outputs:
        return True
    return index is None and port in ("last_hidden_state", "pooled", "logits") and block.output in ("same", *_types(port))


def _types(port: str) -> tuple[str, ...]:
    return {"last_hidden_state": ("sequence",), "pooled": ("vector",), "logits": ("logits",)}[port]


def _each(value: Mapping[str, Any], blocks: Mapping[str, Block]) -> Source | Fault:
    name, order = value.get("each"), value.get("order", "same")
    known = [other for other, block in blocks.items() if "layers" in block.more_outputs]
    if set(value) - {"each", "order"} or order not in ("same", "reversed") or name not in known:
        return Fault(
            code="FX0308", field="from", message="not the layers of a sibling stack",
            expected=f"each: one of {', '.join(known) or 'no stack here'}, order: same or reversed",
            found=", ".join(f"{key}: {entry}" for key, entry in value.items()), cure="write {each: STACK, order: reversed}",
        )  # fmt: skip
    return Source(str(name), "layers", None, order)


def _ordered(
    blocks: Mapping[str, Block], wires: Mapping[str, Wires]
) -> tuple[tuple[str, ...], list[tuple[str, Fault]]]:
    graph: nx.DiGraph[str] = nx.DiGraph()
    graph.add_nodes_from(blocks)
    for name, ports in wires.items():
        for sources in ports.values():
            graph.add_edges_from((source.name, name) for source in sources if source.name in blocks)
    for name, block in blocks.items():
        if block.shares is not None and block.shares in blocks and not nx.has_path(graph, name, block.shares):
            graph.add_edge(block.shares, name)
    rank = {name: index for index, name in enumerate(blocks)}
    try:
        return tuple(nx.lexicographical_topological_sort(graph, key=rank.__getitem__)), []
    except nx.NetworkXUnfeasible:
        faults: list[tuple[str, Fault]] = []
        for component in nx.strongly_connected_components(graph):
            first = min(component, key=rank.__getitem__)
            if len(component) > 1 or graph.has_edge(first, first):
                cycle = [edge[0] for edge in nx.find_cycle(graph.subgraph(component), first)]
                faults.append((first, _cycle(cycle)))
        return (), faults


def _cycle(cycle: Sequence[str]) -> Fault:
    return Fault(
        code="FX0303", field="", message="blocks form a cycle", expected="a graph without cycles",
        found=" -> ".join([*cycle, cycle[0]]), cure=f"take {cycle[-1]} out of the from: of {cycle[0]}",
    )  # fmt: skip


def _shadowed(name: str) -> Fault:
    return Fault(
        code="FX0304", field="", message="named like a port or graph input of its scope",
        expected="a name of its own, since nothing is shadowed", found=name, cure=f"rename it, such as {name}_block",
    )  # fmt: skip


def _nothing_to_chain(main: str, port: Port, ports: Sequence[str]) -> Fault:
    if not port.chains:
        return Fault(
            code="FX0307", field="from", message=f"the port {main} does not chain",
            expected="from: with its edges", found="no from:", cure=f"add from: {'[a, b]' if port.variadic else main}",
        )  # fmt: skip
    return Fault(
        code="FX0307", field="from", message="nothing to chain from", expected=f"from: with one of {', '.join(ports)}",
        found="no from:, and several graph inputs", cure=f"add from: {next(iter(ports), 'input_ids')}",
    )  # fmt: skip


def _unknown_port(block: Block, port: str) -> Fault:
    return Fault(
        code="FX0305", field=f"from.{port}", message=f"{block.kind} has no such port",
        expected=", ".join(block.inputs), found=port, cure=f"write one of {', '.join(block.inputs)}",
    )  # fmt: skip


def _in_scope(blocks: Mapping[str, Block], ports: Sequence[str]) -> str:
    return f"one of the blocks {', '.join(blocks)} or the inputs {', '.join(ports)}"


# ---- expansion


def expand_scope(
    e: Expander, blocks: Mapping[str, Block], ports: Mapping[str, Any], *, chain_from: str | None = "x"
) -> dict[str, dict[str, Any]]:
    """Expand every block of a scope whose sources could be expanded.

    Returns:
        For each expanded block its output ports.
    """
    scope = resolve(blocks, tuple(ports), chain_from=chain_from)
    results: dict[str, dict[str, Any]] = {}
    for name in scope.order:
        block = blocks[name]
        edges: dict[str, Any] = {}
        try:
            for port, sources in scope.wires[name].items():
                edges[port] = _edge(e, name, block, port, sources, ports, results)
            with e.sharing(name, e.owner_path(block.shares)) if block.shares else e.alone():
                results[name] = e.block(block, name, **edges)
        except Unexpanded:
            continue
    return results


def _edge(
    e: Expander, name: str, block: Block, port: str, sources: Sequence[Source], ports: Mapping[str, Any],
    results: Mapping[str, dict[str, Any]],
) -> Any:  # fmt: skip
    """The edge or list of edges for one port, its type checked."""
    edges: list[Any] = []
    for source in sources:
        if source.name in ports:
            edges.append(ports[source.name])
            continue
        if source.name not in results:
            raise Unexpanded
        outputs = results[source.name]
        if source.each is not None:
            return _layers_for(e, name, block, port, source, outputs)
        found = next(iter(outputs.values())) if source.port is None else outputs.get(source.port)
        if isinstance(found, list):
            chosen = cast("list[SequenceEdge]", found)
            if source.index is None:
                edges += chosen
                continue
            if not -len(chosen) <= source.index < len(chosen):
                e.refuse_in(block, name, _no_such_layer(source, len(chosen)))
            found = chosen[source.index]
        edges.append(found)
    declared = block.inputs.get(port)
    for source, edge in zip(sources, edges, strict=False):
        if declared is not None and edge.type_name not in declared.types:
            e.refuse_in(block, name, Fault(
                code="FX0302", field="from", message=f"the port {port} of {block.kind} does not take this edge",
                expected=" or ".join(declared.types), found=f"{edge.type_name} from {source}",
                cure=_type_cure(edge.type_name, declared.types),
            ))  # fmt: skip
    return edges if declared is not None and declared.variadic else edges[0]


def _type_cure(found: str, wanted: tuple[str, ...]) -> str:
    if found == "tokens":
        return "put an embedding between them"
    return "put a pool between them" if wanted == ("vector",) else f"wire a {wanted[0]}"


def _layers_for(
    e: Expander, name: str, block: Block, port: str, source: Source, outputs: Mapping[str, Any]
) -> Each:
    layers = cast("list[SequenceEdge]", outputs["layers"])
    wanted = getattr(block, "n_layers", None)
    if wanted != len(layers):
        e.refuse_in(block, name, Fault(
            code="FX0308", field="from", message=f"each: for {port} needs a stack of as many layers",
            expected=f"{len(layers)} layers, as {source.name} has", found=str(wanted or f"a {block.kind}"),
            cure="give both stacks the same n_layers",
        ))  # fmt: skip
    return Each(edges=tuple(reversed(layers)) if source.each == "reversed" else tuple(layers))


def _no_such_layer(source: Source, count: int) -> Fault:
    return Fault(
        code="FX0301", field="from", message=f"{source.name} has no such layer",
        expected=f"an index from {-count} to {count - 1}", found=str(source.index), cure=f"write {source.name}.layers[-1]",
    )  # fmt: skip
