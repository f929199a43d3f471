"""A scope expanded: what each block's ports read, looked up among what is expanded already, its type checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from flexit.ir.block import Block, Fault
from flexit.ir.expansion.edges import Each
from flexit.ir.expansion.edges import Sequence as SequenceEdge
from flexit.ir.expansion.expander import Expander
from flexit.ir.expansion.refusals import Unexpanded
from flexit.ir.expansion.scope import Source, no_such_layer, resolve


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
        wiring = _Wiring(e, name, block, ports, results)
        try:
            edges = {port: wiring.edge(port, sources) for port, sources in scope.wires[name].items()}
            results[name] = e.block(block, name, **edges)
        except Unexpanded:
            continue
    for name in results:
        owner = blocks[name].shares
        if owner is not None and owner.partition(".")[0] in results:
            e.share(name, owner)
    return results


@dataclass(frozen=True, slots=True)
class _Wiring:
    """The wiring of one block: what it may read, and whom a refusal is about.

    Attributes:
        ports: edges of the enclosing composite's ports, or of the graph inputs.
        results: output ports of the blocks expanded so far.
    """

    e: Expander
    name: str
    block: Block
    ports: Mapping[str, Any]
    results: Mapping[str, Mapping[str, Any]]

    def edge(self, port: str, sources: Sequence[Source]) -> Any:
        """The edge or list of edges for one port, its type checked."""
        edges: list[Any] = []
        for source in sources:
            if source.name in self.ports:
                edges.append(self.ports[source.name])
                continue
            if source.name not in self.results:
                raise Unexpanded
            outputs = self.results[source.name]
            if source.each is not None:
                return self._each(port, source, outputs["layers"])
            found = next(iter(outputs.values())) if source.port is None else outputs.get(source.port)
            edges += self._layers(source, cast("list[SequenceEdge]", found)) if isinstance(found, list) else [found]
        declared = self.block.inputs.get(port)
        for source, edge in zip(sources, edges, strict=False):
            if declared is not None and edge.type_name not in declared.types:
                self._refuse(Fault(
                    code="FX0302", field="from",
                    message=f"the port {port} of {self.block.kind} does not take this edge",
                    expected=" or ".join(declared.types), found=f"{edge.type_name} from {source}",
                    cure=_type_cure(edge.type_name, declared.types),
                ))  # fmt: skip
        return edges if declared is not None and declared.variadic else edges[0]

    def _layers(self, source: Source, layers: list[SequenceEdge]) -> list[SequenceEdge]:
        """All layers of a stack, or the one that is asked for."""
        if source.index is None:
            return layers
        if not -len(layers) <= source.index < len(layers):
            self._refuse(no_such_layer(source, len(layers), field="from"))
        return [layers[source.index]]

    def _each(self, port: str, source: Source, layers: list[SequenceEdge]) -> Each:
        """One layer of a stack for each layer of this block."""
        wanted = getattr(self.block, "n_layers", None)
        if wanted != len(layers):
            self._refuse(Fault(
                code="FX0308", field="from", message=f"each: for {port} needs a stack of as many layers",
                expected=f"{len(layers)} layers, as {source.name} has", found=str(wanted or f"a {self.block.kind}"),
                cure="give both stacks the same n_layers",
            ))  # fmt: skip
        return Each(edges=tuple(reversed(layers)) if source.each == "reversed" else tuple(layers))

    def _refuse(self, fault: Fault) -> None:
        self.e.refuse_in(self.block, self.name, fault)


def _type_cure(found: str, wanted: tuple[str, ...]) -> str:
    if found == "tokens":
        return "put an embedding between them"
    return "put a pool between them" if wanted == ("vector",) else f"wire a {wanted[0]}"
