"""Names in the order in which they depend on one another."""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Set


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
    names, order = list(sources), []
    while ready:
        name = names[heapq.heappop(ready)]
        order.append(name)
        for reader in readers[name]:
            missing[reader] -= 1
            if missing[reader] == 0:
                heapq.heappush(ready, rank[reader])
    return (tuple(order), []) if len(order) == len(names) else ((), _cycles(sources, rank))


def reaches(sources: Mapping[str, Set[str]], name: str, target: str) -> bool:
    """Whether ``name`` depends on ``target``, directly or not."""
    seen, open_names = {name}, [name]
    while open_names:
        found = sources[open_names.pop()] - seen
        if target in found:
            return True
        seen |= found
        open_names += found
    return False


def _cycles(sources: Mapping[str, Set[str]], rank: Mapping[str, int]) -> list[list[str]]:
    import networkx as nx  # slow to import, and graphs have cycles rarely

    graph: nx.DiGraph[str] = nx.DiGraph()
    graph.add_nodes_from(sources)
    graph.add_edges_from((source, name) for name, found in sources.items() for source in found)
    cycles: list[list[str]] = []
    for component in nx.strongly_connected_components(graph):
        first = min(component, key=rank.__getitem__)
        if len(component) > 1 or graph.has_edge(first, first):
            cycles.append([edge[0] for edge in nx.find_cycle(graph.subgraph(component), first)])
    return sorted(cycles, key=lambda cycle: rank[cycle[0]])
