"""Whole documents from a seed. Kinds, fields, ports and edge types come from the registry, so that a new kind or field
is generated without a change here; the second opinion of ``legality`` tells what the edges so far are, and is asked
again until a block fits. A share of the documents is then damaged.

Documents are drawn with ``random.Random`` and not with hypothesis: one integer is one document, for ever and on every
machine; the share of accepted ones is a number worth asserting only over unbiased draws; and a failing document is
made smaller by ``shrink``, which knows what a document is.
"""

from __future__ import annotations

import random
from functools import cache
from typing import Any

from flexit.ir.block import Block
from flexit.ir.language.annotations import KindOf, Text, fields
from flexit.ir.language.initialisation import Init
from flexit.ir.language.inputs import Input
from flexit.ir.language.kinds import Kind
from tests.fuzz.damage import damaged
from tests.fuzz.drawing import FAVOUR, NESTED_PORT, Data, Drawing, block_class, extent, is_varied
from tests.fuzz.edges import Each, Edge, Place, Table
from tests.fuzz.fields import kind_faults
from tests.fuzz.growing import TRIES, Scope
from tests.fuzz.legality import Rules, judge
from tests.fuzz.occurrences import own, written_in
from tests.fuzz.scopes import reads_port
from tests.fuzz.wishes import Wish, wish, wishes_of

DECODERS = 0.85
"""How many documents of which nothing is wished are made to continue text, as far as that can be planned."""
INPUT_NAMES = {
    "tokens": ("input_ids", "decoder_input_ids", "token_type_ids", "words"),
    "sequence": ("inputs_embeds", "encoder_hidden_states", "frames"),
}


def document(seed: int) -> Data:
    """The document of a seed."""
    rng = random.Random(seed)
    built = Builder(rng, wishes=wishes_of(seed)).document()
    return damaged(built, rng) if rng.random() < 0.34 else built


@cache
def _kinds(trait: type[Kind], x: str, *, nesting: bool) -> list[str]:
    found: list[str] = []
    for kind in own(trait):
        cls = block_class(kind)
        main = next(iter(cls.inputs.values()))
        nests = cls.takes_extra_ports or any(
            isinstance(option, KindOf) and option.trait is Block
            for entry in fields(cls).values()
            for option in entry.type.options
        )
        if x in main.types and not main.variadic and (nesting or not nests):
            found += [kind] * (3 if nests else min(16, 1 + extent(cls) // 5))
    return found


class Builder:
    """Builds one document."""

    def __init__(self, rng: random.Random, *, wishes: list[Wish]) -> None:
        self.rng = rng
        self.wishes = wishes
        self.drawing = Drawing(rng, rng.choice((4, 8, 8, 16)))
        self.tables: dict[str, Table] = {}

    # ---- blocks in fields

    def slot(self, trait: type[Kind], ports: dict[str, Any], *, depth: int, keep: bool = True) -> Any:
        """A block for a field that is given these ports, all of which it reads; with ``keep`` it changes no edge."""
        for _ in range(TRIES):
            kinds = self.kinds(trait, ports["x"], depth=depth)
            kind = self.pick(kinds) if depth >= 0 else self.rng.choice(kinds)
            block = self.block(kind, ports, depth=depth)
            if (
                block is not None
                and self.fits(block, ports, keep=keep)
                and all(reads_port(block, port) for port in ports)
            ):
                return block
        return None

    def pick(self, kinds: list[str]) -> str:
        """One of these kinds of blocks, more often one that leads to what is wished."""
        wished = [kind for kind in self.drawing.wish.kinds(Block, kinds) if not is_varied(block_class(kind))]
        wished = self.drawing.wish.helpful(kinds) or wished
        return self.rng.choice(wished if wished and self.rng.random() < 0.7 else kinds)

    def kinds(self, trait: type[Kind], x: Edge, *, depth: int) -> list[str]:
        """Kinds that read an edge of this type; composites only so deep."""
        return _kinds(trait, x.type, nesting=depth > 0)

    def fits(self, block: Any, ports: dict[str, Any], *, keep: bool = False) -> bool:
        edges = self.outputs(block, ports)
        if edges is None:
            return False
        main, x = next(iter(edges.values())), ports["x"]
        return not keep or (isinstance(main, Edge) and (main.type, main.width, main.axis) == (x.type, x.width, x.axis))

    def owns(self, block: Any, ports: dict[str, Any]) -> bool:
        """Whether a block has parameters."""
        rules = Rules()
        rules.found.tables = self.tables
        rules.block(block, ports, Place("block"))
        return bool(rules.found.params)

    def outputs(self, block: Any, ports: dict[str, Any], *, layered: bool = True) -> dict[str, Any] | None:
        """The output edges of a block, None if something in it is wrong."""
        if list(kind_faults("Block", block, named=True)):
            return None
        rules = Rules()
        rules.found.tables = self.tables
        edges = rules.block(block, ports, Place("block", layered=layered))
        wrong = rules.found.graph or rules.found.schema or rules.found.doubtful - {"FX0510"}
        return edges if edges and not wrong else None

    def block(self, kind: str, ports: dict[str, Any], *, depth: int) -> Any:
        """A block of a kind, with the blocks inside it drawn for the ports they will have."""
        cls = block_class(kind)
        x = next(iter(ports.values()))
        inner = {name: edge.edges[0] if isinstance(edge, Each) else edge for name, edge in ports.items()}
        inner = {"x": x, **inner} if cls.takes_extra_ports else {"x": x}

        def nested(name: str, trait: type[Kind]) -> Any:
            if name in ("blocks", "variants"):
                return {}  # drawn at the end, when the ports are known
            if not issubclass(trait, Block):
                return Drawing.kind(self.drawing, trait)
            if trait is not Block and trait.inputs["x"].types[0] != "sequence":
                return Drawing.kind(self.drawing, trait)
            given = dict(inner)
            if NESTED_PORT.get(name) in ports:
                given[NESTED_PORT[name]] = ports[NESTED_PORT[name]]
            if not isinstance(x, Edge) or x.type != "sequence":
                return Drawing.kind(self.drawing, trait)
            self.drawing.nested, before = self.drawing.nested, self.drawing.nested
            drawn = self.slot(trait, given, depth=depth - 1)
            self.drawing.nested = before
            return drawn if drawn is not None else own(trait)[0]

        before, self.drawing.nested = self.drawing.nested, nested
        try:
            block = self.drawing.kind(Block, among=[kind])
        finally:
            self.drawing.nested = before
        if isinstance(block, dict):
            self.finish(cls, block, inner, depth=depth)
        return block

    def finish(self, cls: type[Block], block: Data, ports: dict[str, Any], *, depth: int) -> None:
        """Names inside a block: those of the blocks of a scope, of variants, and of tables."""
        if "blocks" in block:
            block["blocks"] = self.scope(ports, depth=depth - 1)
        if "tied_to" in block and block["tied_to"] is not None:
            block["tied_to"] = self.rng.choice([*self.tables, "other"])
            if cls.inputs and next(iter(cls.inputs)) == "tokens":
                for fixed in ("vocab_size", "d_model", "projection"):
                    block.pop(fixed, None)
        if is_varied(cls):
            layer = block["layer"]
            if not (self.fits(layer, ports, keep=True) and all(reads_port(layer, port) for port in ports)):
                layer = block["layer"] = self.slot(Block, ports, depth=depth - 1) or layer
            block["n_layers"] = self.rng.choice((1, 2, 2, 3, 4))
            if isinstance(block.get("share"), dict):
                groups = block["share"]["groups"] = self.rng.choice((1, 2, 2))
                block["n_layers"] = groups * self.rng.choice((2, 2, 3))
            for key in ("variants", "pattern", "layers"):
                block.pop(key, None)
            wished = any(self.drawing.wish.field(cls, fields(cls)[key]) for key in ("variants", "pattern", "layers"))
            if isinstance(layer, dict) and (wished or self.rng.random() < 0.4):
                self.vary(block, ports, depth=depth)

    # ---- variants

    def vary(self, stack: Data, ports: dict[str, Any], *, depth: int) -> None:
        variants = {
            name: self.override(stack["layer"], ports, depth=depth) for name in ("odd", "far")[: self.rng.randint(1, 2)]
        }
        stack["variants"] = variants
        used = list(variants)
        if self.rng.random() < 0.6:
            stack["pattern"] = [self.rng.choice(("default", "default*2")), *used] if self.rng.random() < 0.7 else [used]
        else:
            keys = self.rng.sample(["0", "-1", "1:", ":1", "::2"], len(used))
            stack["layers"] = dict(zip(keys, used, strict=True))
            stack["n_layers"] = max(2, stack["n_layers"])

    def override(self, layer: Data, ports: dict[str, Any], *, depth: int) -> Data:
        """Part of another drawing of the same kind of layer: one field, or one field of a nested mapping."""
        other = self.block(layer["kind"], ports, depth=depth - 1)
        changed = (
            [key for key in other if key != "kind" and other[key] != layer.get(key)] if isinstance(other, dict) else []
        )
        if not changed:
            return {"init": {"bias": "ones"}}
        key = self.rng.choice(changed)
        new, old = other[key], layer.get(key)
        if isinstance(new, dict) and isinstance(old, dict) and new.get("kind") == old.get("kind"):
            inner = [name for name in new if name != "kind" and new[name] != old.get(name)]
            if inner:
                name = self.rng.choice(inner)
                return {key: {name: new[name]}}
        return {key: new}

    # ---- scopes

    def scope(self, ports: dict[str, Any], *, depth: int) -> Data:
        """Blocks that read every port and end in an edge like ``x``."""
        grown = Scope(self, ports, depth=depth)
        for _ in range(self.rng.randint(1, 3)):
            grown.grow()
        grown.close(ports["x"])
        return grown.blocks

    def document(self) -> Data:
        decoder = self.drawing.causal = not self.wishes and self.rng.random() < DECODERS
        inputs = {"input_ids": {"kind": "tokens"}} if decoder else self.inputs()
        grown = Scope(self, {}, depth=2)
        grown.ports = {
            name: Edge(one["kind"], one.get("width", 0), (one.get("like", name),)) for name, one in inputs.items()
        }
        grown.unread = set(grown.ports)
        for name, edge in grown.ports.items():
            if edge.type == "tokens":
                grown.source(name)
        if not grown.blocks:
            grown.grow()
        for _ in range(self.rng.randint(0, 2) if self.wishes else self.rng.randint(1, 5)):
            grown.grow()
        for one in self.wishes:
            self.drawing.wish = one
            grown.fulfil(one)
        head = grown.scores() if decoder else self.rng.random() < 0.6 and grown.head()
        self.drawing.wish = next((one for one in self.wishes if one.is_init), wish(""))
        for port in sorted(grown.unread & set(grown.ports)):
            grown.grow(main=port)
        data: Data = {"flexit": 1, "name": "generated"}
        bare = {name: one["kind"] if list(one) == ["kind"] else one for name, one in inputs.items()}
        if bare != {"input_ids": "tokens"} or self.rng.random() < 0.1:
            data["inputs"] = bare
        ends = [name for name in grown.blocks if name in grown.unread]
        if len(ends) > 1 or (self.rng.random() < 0.15 and not head):
            data["outputs"] = {"logits" if name == head else f"out_{i}": name for i, name in enumerate(ends)}
        data["blocks"] = grown.blocks
        wished = self.drawing.wish.name
        if self.rng.random() < (FAVOUR if wished else 0.4):
            self.start_values(data, wished, tries=4 * TRIES if wished else 1)
        return data

    def start_values(self, data: Data, wished: str, *, tries: int) -> None:
        """``init`` of the document, if what is drawn reaches parameters that it may be for."""
        for _ in range(tries):
            init = self.drawing.init() if self.rng.random() < 0.3 else {"default": self.drawing.kind(Init)}
            if wished and not any(wished in written_in(way, Init) for way in init.values()):
                continue
            if not judge({**data, "init": init}).codes & {"FX0510", "FX0511"}:
                data["init"] = init
                return

    def inputs(self) -> dict[str, Data]:
        count = self.rng.choice((1, 1, 1, 1, 2, 2, 3))
        chosen: dict[str, Data] = {}
        for index in range(count):
            kind = self.rng.choice(own(Input)) if index or self.rng.random() < 0.2 else "tokens"
            free = [name for name in INPUT_NAMES.get(kind, ("given", "more")) if name not in chosen]
            fine = [name for name in free if not ({"input_ids", "inputs_embeds"} <= {name, *chosen})]
            if fine:
                cls = next(cls for cls in Input.__subclasses__() if cls.kind == kind)
                sizes = {n: self.drawing.field(e) for n, e in fields(cls).items() if e.required}
                others = [other for other, one in chosen.items() if one["kind"] in INPUT_NAMES and "like" not in one]
                texts = [name for name, entry in fields(cls).items() if Text() in entry.type.options]
                alike = {name: self.rng.choice(others) for name in texts if others and self.rng.random() < 0.4}
                chosen[fine[0]] = {"kind": kind, **sizes, **alike}
        return chosen
