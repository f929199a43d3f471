"""The rules of pools and heads, with their parameters and output edges."""

from __future__ import annotations

from typing import Any

from tests.fuzz.blocks import Data
from tests.fuzz.edges import Edge, Outputs, Place
from tests.fuzz.joins import JoinRules


class HeadRules(JoinRules):
    """Rules of what ends a graph."""

    def dense(self, dense: Data | None, width: int | None, place: Place) -> int | None:
        if dense is None or width is None:
            return width
        out = dense["dim"] or width
        self.linear(place, "dense", (width, out), bias=dense["bias"])
        self.slopes(dense, place, "dense.")
        self.norm(dense["norm"], out, place.at("dense_norm"))
        return out

    def pool(self, b: Data, ports: Outputs, place: Place) -> Any:
        x = ports.get("x")
        width = self.dense(b["dense"], x.width if x else None, place)
        return width and Edge("vector", width)

    def sequence_classifier(self, b: Data, ports: Outputs, place: Place) -> Any:
        x = ports.get("x")
        if x is None:
            return None
        self.say("FX0511", when=(x.type == "sequence") != (b["pool"] is not None))
        self.classes(b, x.width, b["n_labels"], place=place)
        return Edge("logits", b["n_labels"])

    regression = sequence_classifier

    def token_classifier(self, b: Data, ports: Outputs, place: Place) -> Any:
        x = ports.get("x")
        if x is None:
            return None
        self.classes(b, x.width, b["n_labels"], place=place)
        return Edge("logits", b["n_labels"], x.axis)

    def classes(self, b: Data, width: int, n_labels: int, *, place: Place) -> None:
        out = self.dense(b["dense"], width, place) or 0
        self.linear(place, "out", (out, n_labels), bias=b["bias"], role="head")

    def span(self, b: Data, ports: Outputs, place: Place) -> Any:
        x = ports.get("x")
        if x is None:
            return None
        self.linear(place, "out", (x.width, 2), bias=b["bias"], role="head")
        return {"start_logits": Edge("logits", 0, x.axis), "end_logits": Edge("logits", 0, x.axis)}

    def lm_head(self, b: Data, ports: Outputs, place: Place) -> Any:
        x, held = ports.get("x"), b["projection"]
        if x is not None and held is not None:
            self.linear(place, "projection", (x.width, held["dim"]), bias=held["bias"])
        return self.by_table(b, x, held["dim"] if held else x and x.width, place=place)

    def mlm_head(self, b: Data, ports: Outputs, place: Place) -> Any:
        x, dense, table = ports.get("x"), b["dense"], self.found.tables.get(b["tied_to"])
        width = x and x.width
        if width is not None and dense is not None:
            dim = dense["dim"] or (table.width if table else width)
            width = self.dense({**dense, "dim": dim}, width, place)
        return self.by_table(b, x, width, place=place)

    def by_table(self, b: Data, x: Edge | None, width: int | None, *, place: Place) -> Any:
        """Scores of what is ``width`` wide over the rows of a table."""
        tied, tables = b["tied_to"], self.found.tables
        self.say("FX0701", when=tied is not None and tied not in tables)
        self.say("FX0704", when=tied is None and b["vocab_size"] is None and len(tables) != 1)
        near = tables.get(tied) or next(iter(tables.values()), None)
        rows = b["vocab_size"] or (near.rows if near else None)
        if x is None or width is None or rows is None:
            return None
        if tied in tables:
            self.say("FX0702", when=tables[tied].width != width or rows != tables[tied].rows)
            if b["vocab_size"] == tables[tied].rows:
                self.found.doubtful.add("FX0702")
        elif tied is None:
            self.param(place, "table.weight", "head", rows, width)
        if b["bias"]:
            self.param(place, "bias", "bias", rows)
        return Edge("logits", rows, x.axis)
