"""The rules of each kind of score bias, with its parameters."""

from __future__ import annotations

from typing import Any

from tests.fuzz.edges import Attention, Findings, Place

Data = dict[str, Any]


class BiasRules:
    """Rules by kind: each method takes the bias with its defaults, who reads it, and the place of its parameters."""

    found: Findings

    def say(self, code: str, *, when: object = True) -> None:
        raise NotImplementedError

    def param(self, place: Place, name: str, role: str, *shape: int) -> None:
        raise NotImplementedError

    def norm(self, norm: Data | None, width: int | None, place: Place) -> None:
        raise NotImplementedError

    def linear(self, place: Place, name: str, widths: tuple[int, int], *, bias: bool, role: str = "projection") -> None:
        raise NotImplementedError

    def bias(self, bias: Data, reader: Attention, place: Place) -> None:
        """What is below ``score_bias``."""
        getattr(self, bias["kind"])(bias, reader, place)

    def projections(self, bias: Data, reader: Attention, place: Place) -> None:
        """What an attention has of its own for a bias, its own or one that is lent to it."""
        if bias["kind"] != "disentangled" or bias["share_projections"]:
            return
        if "c2p" in bias["terms"]:
            width = reader.groups * reader.head_dim
            self.linear(place, "pos_k_proj", (reader.width, width), bias=reader.biased[1])
        if "p2c" in bias["terms"]:
            width = reader.heads * reader.head_dim
            self.linear(place, "pos_q_proj", (reader.width, width), bias=reader.biased[0])

    def alibi(self, bias: Data, reader: Attention, place: Place) -> None:
        self.say("FX0511", when=bias["round"] is not None and (not reader.causal or reader.sinks))

    def t5(self, bias: Data, reader: Attention, place: Place) -> None:
        """The buckets that are one distance each must be fewer than ``max_distance``."""
        sides, buckets = two_sides(bias, reader), bias["n_buckets"]
        self.say("FX0507", when=sides and (buckets % 2 or buckets < 4))
        self.say("FX0507", when=bias["max_distance"] <= (buckets // 2 if sides else buckets) // 2)
        self.param(place, "weight", "score_bias", buckets, reader.heads)

    def distance(self, bias: Data, reader: Attention, place: Place) -> None:
        rows = rows_of(bias["max_distance"], bias, reader)
        self.param(place, "weight", "score_bias", rows, reader.heads if bias["per_head"] else 1)

    def relative(self, bias: Data, reader: Attention, place: Place) -> None:
        tables = [reader.heads] if bias["per_head"] else []
        rows = rows_of(bias["max_distance"], bias, reader)
        self.param(place, "keys", "score_bias", *tables, rows, reader.head_dim)
        if bias["values"]:
            self.param(place, "values", "score_bias", *tables, rows, reader.v_dim)

    def relative_global(self, bias: Data, reader: Attention, place: Place) -> None:
        tables = [reader.heads] if bias["per_head"] else []
        self.param(place, "keys", "score_bias", *tables, rows_of(bias["max_len"] - 1, bias, reader), reader.head_dim)

    def disentangled(self, bias: Data, reader: Attention, place: Place) -> None:
        self.say("FX0507", when=bias["max_distance"] <= bias["n_buckets"] // 2 + 1)
        through_keys = bias["share_projections"] and "c2p" in bias["terms"]
        self.say("FX0401", when=through_keys and reader.key_width != reader.width)
        self.param(place, "table", "score_bias", 2 * bias["n_buckets"], reader.width)
        self.norm(bias["norm"], reader.width, place.at("norm"))


def two_sides(bias: Data, reader: Attention) -> bool:
    return not reader.causal if bias["two_sided"] is None else bias["two_sided"]


def rows_of(reach: int, bias: Data, reader: Attention) -> int:
    return 2 * reach + 1 if two_sides(bias, reader) else reach + 1


def needs(bias: Data, reader: Attention) -> tuple[object, ...]:
    """What the readers of one bias must agree in."""
    wanted: tuple[object, ...] = (reader.heads,)
    if bias["kind"] not in ("alibi", "disentangled"):
        wanted += (two_sides(bias, reader),)
    if bias["kind"] in ("relative", "relative_global"):
        wanted += (reader.head_dim,)
    if bias["kind"] == "relative" and bias["values"]:
        wanted += (reader.v_dim,)
    return (*wanted, reader.width) if bias["kind"] == "disentangled" else wanted
