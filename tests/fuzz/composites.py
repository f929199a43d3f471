"""The rules of blocks that hold blocks: layers, residuals, and stacks with their variants (codes FX06xx)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from tests.fuzz.blocks import Data
from tests.fuzz.edges import Each, Outputs, Place, SharedBias
from tests.fuzz.fields import MergeRefused, complete, kind_faults, merged
from tests.fuzz.heads import HeadRules
from tests.fuzz.score_bias import needs

SUBLAYERS = ("attention", "cross_attention", "feed_forward")
SIDE_BY_SIDE = (["input"], ["input", "output"])
Choice = tuple[str, ...]


class CompositeRules(HeadRules):
    """Rules of composites."""

    def transformer_layer(self, b: Data, ports: Outputs, place: Place) -> Any:
        x, memory = ports.get("x"), ports.get("memory")
        places, form = self.placement(b), b["residual"]
        present = [name for name in SUBLAYERS if b[name] is not None]
        order = b["order"] or present
        by_name = form["multiplier"] if isinstance(form["multiplier"], dict) else {}
        self.say("FX0506", when=not present or not set(present) <= set(order))
        self.say("FX0506", when=not {*order, *(b["norm_on"] or []), *by_name} <= set(present))
        self.say("FX0501", when=b["norm"] is None and b["norm_on"] is not None)
        self.say("FX0501", when=form.get("skip_from") == "normed" and "input" not in places)
        if form["kind"] == "parallel":
            places = self._parallel(b, places, present, x=x, place=place)
        if b["cross_attention"] is not None:
            self.say("FX0305", when="memory" not in ports)
            self.say("FX0502", when=b["cross_attention"]["kind"] != "multi_head")
        counts = dict.fromkeys(SUBLAYERS, 0)
        left_out = [name for name in present if name not in order]
        for name in [name for name in [*order, *left_out] if name in present]:
            counts[name] += 1
            inner = place.at(name if counts[name] == 1 else f"{name}_{counts[name]}")
            normed = b["norm"] is not None and (b["norm_on"] is None or name in b["norm_on"])
            self._wrapped(b, form["layer_scale"], x, places=places if normed else [], place=inner)
            wired = {"x": x, "memory": memory} if name == "cross_attention" else {"x": x}
            if name == "cross_attention" and b[name]["kind"] != "multi_head":
                before = set(self.found.graph)
                self.block(b[name], {"x": None}, inner)  # what is wrong with it as with any other may be told too
                self.found.doubtful |= self.found.graph - before
                self.found.graph &= before
                continue
            self.block(b[name], wired, inner)
        return x

    def _parallel(self, b: Data, places: list[str], present: list[str], *, x: Any, place: Place) -> list[str]:
        """Attention and feed-forward, in no order, normed before or before and after; places of each branch's own."""
        self.say("FX0505", when=present != ["attention", "feed_forward"] or b["order"] is not None)
        self.say("FX0505", when=b["norm"] is not None and places and sorted(places) not in SIDE_BY_SIDE)
        normed = present if b["norm_on"] is None else b["norm_on"]
        separate = b["residual"]["norms"] == "separate"
        self.say("FX0501", when=separate and (b["norm"] is None or len(normed) < 2))
        if separate or "input" not in places:
            return places
        self.norm(b["norm"], x.width if x else None, place.at("input_norm"))
        return [at for at in places if at != "input"]

    def _wrapped(self, b: Data, scale: float | None, x: Any, *, places: list[str], place: Place) -> None:
        """Parameters around a branch; their names begin with that of the branch."""
        for at in places:
            self.norm(b["norm"], x.width if x else None, replace(place, path=f"{place.path}_{at}_norm"))
        if scale is not None and x is not None:
            self.param(replace(place, path=f"{place.path}_layer_scale"), "", "", x.width)

    def residual(self, b: Data, ports: Outputs, place: Place) -> Any:
        x = ports.get("x")
        self._wrapped(b, b["layer_scale"], x, places=self.placement(b), place=place.at("own"))
        y = self.block(b["body"], ports, place.at("body"))
        self._unchanged(x, y)
        return x

    def _unchanged(self, x: Any, y: Outputs | None) -> None:
        """A layer or body gives back what it was given."""
        if x is None or y is None:
            return
        main = next(iter(y.values()))
        if main is None:
            return
        self.say("FX0302", when=main.type != "sequence")
        self.say("FX0401", when=main.type == "sequence" and main.width != x.width)
        self.say("FX0402", when=main.type == "sequence" and main.axis != x.axis)

    # ---- stacks

    def stack(self, b: Data, ports: Outputs, place: Place) -> Any:
        share = b["share"]
        if share is not None:
            self.say("FX0608", when=b["n_layers"] % share["groups"])
            self.say("FX0501", when=share["groups"] == b["n_layers"] > 1)
            self.say("FX0501", when=share["groups"] == 1 and share["order"] != "consecutive")
        wrong = set(named_wrong(b))
        self.found.doubtful |= {"FX0306"} if wrong else set()
        for code in wrong:
            self.say(code)
        chosen = [] if wrong else choices(b)
        layers = {choice: self._layer(b, choice) for choice in dict.fromkeys(chosen)}
        if not wrong:
            self._effects(b, chosen)
        if wrong or None in layers.values():
            return ports.get("x")
        dropping = any(complete(layer, ("Block",)).get("drop_path") for layer in layers.values())
        self.say("FX0501", when=b["drop_path_rate"] == "linear" and not dropping)
        bias = SharedBias(b["score_bias"]) if b["score_bias"] is not None else None
        outputs = self._run(b, [(choice, layers[choice]) for choice in chosen], ports, place=place, bias=bias)
        self._bias(bias, place, known=ports.get("x") is not None)
        if isinstance(b["final_norm"], dict) or b["final_norm"]:
            norm = b["final_norm"] if isinstance(b["final_norm"], dict) else self._first_norm(layers[chosen[0]])
            self.norm(norm, outputs[-1].width if outputs[-1] else None, place.at("final_norm"))
        return {"last_hidden_state": outputs[-1], "layers": outputs}

    def _first_norm(self, layer: Any) -> Data | None:
        norm = complete(layer, ("Block",)).get("norm")
        self.say("FX0504", when=norm is None)
        return norm

    def _layer(self, b: Data, choice: Choice) -> Any:
        """The merged layer, None if its fields are wrong."""
        try:
            layer = vary(b, choice)
        except MergeRefused:
            self.found.schema.add("FX0607")
            return None
        codes = set(kind_faults("Block", layer, named=False))
        self.found.schema |= codes
        return None if codes else layer

    def _effects(self, b: Data, chosen: list[Choice]) -> None:
        for name in b["variants"]:
            users = [choice for choice in dict.fromkeys(chosen) if name in choice]
            self.say("FX0602", when=not users)
            try:
                self.say("FX0603", when=users and not any(differs(b, choice, name) for choice in users))
            except MergeRefused:
                self.found.schema.add("FX0607")

    def _run(
        self, b: Data, layers: list[tuple[Choice, Any]], ports: Outputs, *, place: Place, bias: SharedBias | None
    ) -> list[Any]:
        x, outputs = ports.get("x"), []
        for index, (choice, layer) in enumerate(layers):
            given = {n: edge.edges[index] if isinstance(edge, Each) else edge for n, edge in ports.items()} | {"x": x}
            inner = replace(place.at(f"layers.{index}"), layered=True, shared=bias or place.shared)
            before = set(self.found.graph)
            y = self.block(layer, given, inner)
            self._forgive(before, choice, shared=b["share"] is not None)
            self._unchanged(x, y)
            outputs.append(x)
        self._shared_layers(b, place)
        return outputs

    def _forgive(self, before: set[str], choice: Choice, *, shared: bool) -> None:
        """What an override makes inert is no error, and whose value it was is not followed here; nor is what ``init``
        reaches in a layer whose parameters may be those of another.
        """
        new = (self.found.graph - before) & (
            {*(("FX0501", "FX0504") if choice else ()), *(("FX0510",) if shared else ())}
        )
        self.found.doubtful |= new | ({"FX0510"} if shared else set())
        self.found.graph -= new

    def _shared_layers(self, b: Data, place: Place) -> None:
        if b["share"] is None:
            return
        groups, count = b["share"]["groups"], b["n_layers"]
        owners: dict[int, Any] = {}
        for index in range(count):
            group = index % groups if b["share"]["order"] == "cyclic" else index * groups // count
            params = {name: p.shape for name, p in self.found.below(place.at(f"layers.{index}").path).items()}
            if group in owners:
                self.say("FX0608", when=owners[group] != params)
                self.forget(place.at(f"layers.{index}"), set(params))
            owners.setdefault(group, params)

    def forget(self, place: Place, names: set[str]) -> None:
        """Parameters that are those of another block."""
        for name in names:
            del self.found.params[place.at(name).path]

    def _bias(self, bias: SharedBias | None, place: Place, *, known: bool) -> None:
        if bias is None or not known:
            return
        self.say("FX0503", when=not bias.readers)
        self.say("FX0507", when=len({needs(bias.bias, reader) for reader in bias.readers}) > 1)
        for reader in bias.readers:
            self.bias(bias.bias, reader, place.at("score_bias"))


# ---- which layer gets what


def entries_of(pattern: list[Any]) -> Iterator[Choice | None]:
    """The entries of a pattern one by one; None for one that is malformed."""
    for entry in pattern:
        if isinstance(entry, list):
            yield tuple(entry)
            continue
        match = re.fullmatch(r"([a-z][a-z0-9_]*)(?:\*([1-9][0-9]*))?", entry)
        yield from [None] if match is None else [(match[1],)] * int(match[2] or 1)


def hit(key: str, count: int) -> list[int]:
    """The layers that a key of ``layers`` hits."""
    try:
        if ":" not in key:
            return [range(count)[int(key)]]
        return list(range(count)[slice(*(int(part) if part else None for part in key.split(":")))])
    except (ValueError, IndexError, TypeError):
        return []


def as_names(entry: str | list[str]) -> Choice:
    return (entry,) if isinstance(entry, str) else tuple(entry)


def named_wrong(b: Data) -> Iterator[str]:
    """FX0601 and FX0604."""
    entries = list(entries_of(b["pattern"]))
    if "default" in b["variants"] or not entries or None in entries:
        yield "FX0601"
    alone = {name for entry in b["pattern"] if isinstance(entry, str) for name in [entry.partition("*")[0]]}
    listed = {name for entry in b["pattern"] if isinstance(entry, list) for name in entry}
    listed |= {name for names in b["layers"].values() for name in as_names(names)}
    if not alone <= {*b["variants"], "default"} or not listed <= set(b["variants"]):
        yield "FX0601"
    hits = [hit(key, b["n_layers"]) for key in b["layers"]]
    if not all(hits) or len({index for one in hits for index in one}) < sum(len(one) for one in hits):
        yield "FX0604"


def choices(b: Data) -> list[Choice]:
    """Variants of every layer, where all names are right."""
    cycle = [tuple(name for name in entry or () if name != "default") for entry in entries_of(b["pattern"])]
    chosen = [cycle[index % len(cycle)] for index in range(b["n_layers"])]
    for key, names in b["layers"].items():
        for index in hit(key, b["n_layers"]):
            chosen[index] += as_names(names)
    return chosen


def vary(b: Mapping[str, Any], choice: Choice) -> Any:
    layer = b["layer"]
    for name in choice:
        layer = merged(layer, b["variants"][name])
    return layer


def differs(b: Data, choice: Choice, name: str) -> bool:
    """Whether a variant changes a layer that has it."""
    layers = [vary(b, choice), vary(b, tuple(other for other in choice if other != name))]
    if all(not list(kind_faults("Block", layer, named=False)) for layer in layers):
        layers = [complete(layer, ("Block",)) for layer in layers]
    return layers[0] != layers[1]
