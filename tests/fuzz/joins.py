"""The rules of blocks that join edges, make sequences, or cut them."""

from __future__ import annotations

from typing import Any

from tests.fuzz.blocks import Data, reach
from tests.fuzz.edges import Edge, Outputs, Place, inputs_of, length
from tests.fuzz.feed_forwards import FeedForwardRules


class JoinRules(FeedForwardRules):
    """Rules of what joins, makes and cuts."""

    def multiply(self, b: Data, ports: Outputs, place: Place) -> Any:
        edges = self.joined(ports)
        if not edges:
            return None
        self.one_width(edges)
        self.one_length(edges)
        first = next((edge for edge in edges if edge.type == "sequence"), edges[0])
        return Edge(first.type, first.width, first.axis, reach(edges))

    def dot_product(self, b: Data, ports: Outputs, place: Place) -> Any:
        edges = self.joined(ports)
        if not edges:
            return None
        self.say("FX0305", when=len(edges) != 2)
        self.one_width(edges)
        return Edge("logits", 1)

    def concat(self, b: Data, ports: Outputs, place: Place) -> Any:
        edges = self.joined(ports)
        if not edges:
            return None
        first = edges[0]
        mixed = any(edge.type != first.type for edge in edges)
        if mixed or (b["axis"] == "length" and first.type == "vector"):
            self.say("FX0302")
            return None
        if b["axis"] == "channels":
            self.one_length(edges)
            return Edge(first.type, sum(edge.width for edge in edges), first.axis, reach(edges))
        self.one_width(edges)
        return Edge("sequence", first.width, (("joined", tuple(edge.axis for edge in edges)),))

    def slice(self, b: Data, ports: Outputs, place: Place) -> Any:
        x, cut = ports.get("x"), (b["start"], b["stop"])
        if x is None or cut == (0, None):
            return x
        whole = range(length(x.axis, lambda _: 0)) if not inputs_of(x.axis) else None
        if whole is not None and whole[slice(*cut)] == whole:
            return x
        rows = [whole] if whole is not None else map(range, range(1, 99))
        self.say("FX0206", when=not any(row[slice(*cut)] for row in rows))
        return Edge("sequence", x.width, (*x.axis, cut), x.tables)

    def learned_tokens(self, b: Data, ports: Outputs, place: Place) -> Any:
        like = ports.get("like")
        if like is None:
            return None
        self.param(place, "tokens", "learned_tokens", b["n_tokens"], like.width)
        return Edge("sequence", like.width, (("counted", b["n_tokens"], like.axis),))

    def unpool(self, b: Data, ports: Outputs, place: Place) -> Any:
        x = ports.get("x")
        if x is None:
            return None
        self.linear(place, "projection", (x.width, b["n_tokens"] * x.width), bias=b["bias"])
        return Edge("sequence", x.width, (("counted", b["n_tokens"], place.path),))
