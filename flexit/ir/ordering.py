"""Names in the order in which they depend on one another."""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Set
from typing import Any, cast


def in_dependence_order(sources: Mapping[str, Set[str]]) -> tuple[tuple[str, ...], list[list[str]]]:
    """The names, each after its sources and otherwise as written.

    Returns:
        The order and no cycles, or an empty order and one cycle of each knot.
    """
    rank = {name: index for index, name in enumerate(sources)}
    readers: dict[str, list[str]] = {name: [] for name in sources}
    for name, found in sources.items():
        for source in found:
            readers[source].append(name)
    missing = {name: len(found) for name, found in sources.items()}
    ready = [rank[name] for name, count in missing.items() if count == 0]
    names = list(sources)
    order: list[str] = []
    while ready:
        name = names[heapq.heappop(ready)]
        order.append(name)
        for reader in readers[name]:
            missing[reader] -= 1
            if missing[reader] == 0:
                heapq.heappush(ready, rank[reader])
    return (tuple(order), []) if len(order) == len(names) else ((), _cycles(sources, rank))


def reachable(sources: Mapping[str, Set[str]], name: str) -> set[str]:
    """What ``name`` depends on, directly or not, but not itself."""
    seen, open_names = {name}, [name]
    while open_names:
        found = sources[open_names.pop()] - seen
        seen |= found
        open_names += found
    return seen - {name}


def _cycles(sources: Mapping[str, Set[str]], rank: Mapping[str, int]) -> list[list[str]]:
    import networkx as nx  # slow to import, and graphs have cycles rarely

    find_cycle = cast("Any", nx).find_cycle  # the stub does not say what it returns
    graph: nx.DiGraph[str] = nx.DiGraph()
    graph.add_nodes_from(sources)
    graph.add_edges_from((source, name) for name, found in sources.items() for source in found)
    cycles: list[list[str]] = []
    for component in nx.strongly_connected_components(graph):
        first = min(component, key=rank.__getitem__)
        if len(component) > 1 or graph.has_edge(first, first):
            cycles.append([source for source, _ in find_cycle(graph.subgraph(component), first)])
    return sorted(cycles, key=lambda cycle: rank[cycle[0]])
