"""A scope under construction: blocks are added one by one, wired to edges that are there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flexit.ir.block import Block
from tests.fuzz.blocks import table_of
from tests.fuzz.drawing import FAVOUR, NESTED_PORT, Data, block_class, is_varied
from tests.fuzz.edges import Each, Edge, is_plain
from tests.fuzz.occurrences import own, written_in
from tests.fuzz.scopes import reads_port

if TYPE_CHECKING:
    from tests.fuzz.generator import Builder
    from tests.fuzz.wishes import Wish

EXTRA_PORTS = ("memory", "skip")
TRIES = 14
BEFORE = {
    "Block.upsample": ("downsample",), "Block.dot_product": ("pool", "pool"),
    "rsqrt_fan_in_head_dim": ("multi_head",), "depth_scaled": ("stack",),
}  # fmt: skip
"""What makes the edges that a kind is for, or the parameters that a word or field of ``init`` is for."""


class Scope:
    """A map of blocks that grows, with the edges there are."""

    def __init__(self, builder: Builder, ports: dict[str, Any], *, depth: int) -> None:
        self.builder, self.rng, self.depth = builder, builder.rng, depth
        self.ports = dict(ports)
        self.blocks: Data = {}
        self.edges: dict[str, Any] = {}
        self.layers: dict[str, list[Any]] = {}
        self.unread: set[str] = set(ports)

    @property
    def all(self) -> dict[str, Edge]:
        return {name: edge for name, edge in {**self.ports, **self.edges}.items() if isinstance(edge, Edge)}

    def source(self, name: str) -> None:
        """A block that reads tokens, or segments beside tokens that are there."""
        kinds = self.builder.kinds(Block, Edge("tokens"), depth=0)
        for _ in range(TRIES):
            if self.add(self.builder.pick(kinds), name):
                return

    def head(self) -> str | None:
        edges = [name for name, edge in reversed(self.all.items()) if edge.type in ("sequence", "vector")]
        kinds = self.builder.kinds(Block, self.all[edges[0]], depth=0) if edges else []
        kinds = [kind for kind in kinds if block_class(kind).output == "logits"]
        return next(
            (done for _ in range(TRIES) if kinds and (done := self.add(self.builder.pick(kinds), edges[0]))), None
        )

    def scores(self) -> str | None:
        """A head with the vocabulary of a token table, on an edge with one position a token."""
        plain = [name for name, edge in self.all.items() if edge.type == "sequence" and is_plain(edge.axis)]
        rows = [table.rows for table in self.builder.tables.values()]
        for _ in range(TRIES if plain and rows else 0):
            given = {"x": self.all[self.rng.choice(plain[-3:])]}
            on = next(name for name in plain if self.all[name] is given["x"])
            block = self.builder.block("lm_head", given, depth=0)
            block = {"kind": "lm_head", **(block if isinstance(block, dict) else {}), "vocab_size": min(rows)}
            name = self.place("lm_head", block, {"x": on}, given=given)
            if name is not None:
                return name
        return None

    def grow(self, main: str | None = None) -> None:
        """One more block, on what was made last or on what nobody reads."""
        if main is None and self.rng.random() < 0.06 and self.lend():
            return
        for _ in range(TRIES):
            open_ = [name for name, edge in self.all.items() if edge.type not in ("logits", "tokens")]
            if not open_:
                return
            waiting = [name for name in open_ if name in self.unread] or open_
            on = main or self.rng.choice((open_[-1], self.rng.choice(waiting), self.rng.choice(open_)))
            kinds = [kind for kind in self.kinds_on(self.all[on]) if block_class(kind).output != "logits"]
            if kinds and self.add(self.builder.pick(kinds), on):
                return

    def fulfil(self, wish: Wish) -> None:
        """A block with what is wished, alone or in layers."""
        kinds = wish.kinds(Block)
        repeating = [kind for kind in own(Block) if is_varied(block_class(kind))]
        for name in (wish.owner, wish.word_text, wish.field_name.rpartition(".")[2]):
            for before in BEFORE.get(name, ()):
                self.grow_one_of([before])
        if not wish.is_init:
            alone = [kind for kind in kinds if kind not in repeating] or kinds
            rare = wish.owner in BEFORE or wish.word_text in NESTED_PORT
            self.grow_one_of(alone, wish, tries=4 * TRIES if rare else TRIES) or self.grow_one_of(
                repeating, wish, tries=4
            )

    def grow_one_of(self, kinds: list[str], wish: Wish | None = None, *, tries: int = TRIES) -> bool:
        """A block of one of these kinds, on whatever takes it, in which is what is wished."""
        for _ in range(tries if kinds else 0):
            kind = self.rng.choice(kinds)
            types = next(iter(block_class(kind).inputs.values())).types
            fits = [name for name, edge in self.all.items() if edge.type in types]
            if fits and self.attempt(kind, self.rng.choice(fits), wish):
                return True
        return False

    def lend(self) -> str | None:
        """A block that shares the parameters of one that is there."""
        owner = self.rng.choice(list(self.blocks) or [""])
        lent = self.blocks.get(owner, {"shares": owner})
        if "shares" in lent or "tied_to" in lent or isinstance(lent.get("from"), dict):
            return None
        block = {key: value for key, value in lent.items() if key != "from"}
        main, port = next(iter(block_class(block["kind"]).inputs.items()))
        fits = [name for name, edge in self.all.items() if edge.type in port.types and not port.variadic]
        on = self.rng.choice(fits) if fits else ""
        if not fits or not self.builder.owns(block, {main: self.all[on]}):
            return None
        name = self.place(block["kind"], block, {main: on}, given={main: self.all[on]})
        if name is not None:
            self.blocks[name] = {"kind": block["kind"], "shares": owner, "from": on}
            self.builder.tables.pop(name, None)
        return name

    def kinds_on(self, edge: Edge) -> list[str]:
        variadic = [
            kind for kind in own(Block)
            for port in list(block_class(kind).inputs.values())[:1] if port.variadic and edge.type in port.types
        ]  # fmt: skip
        return self.builder.kinds(Block, edge, depth=self.depth) + variadic

    def add(self, kind: str, on: str) -> str | None:
        """A block of a kind whose main port reads ``on``; None if none that fits was drawn.

        What has several ports to be wired is tried more often.
        """
        needed = sum(not port.optional for port in block_class(kind).inputs.values())
        tries = (self.attempt(kind, on) for _ in range(1 if needed == 1 else TRIES))
        return next((name for name in tries if name is not None), None)

    def attempt(self, kind: str, on: str, wish: Wish | None = None) -> str | None:
        cls = block_class(kind)
        main, port = next(iter(cls.inputs.items()))
        wired: Data = {main: self.several(on, port.types) if port.variadic else on}
        if wired[main] is None:
            return None
        for name, declared in list(cls.inputs.items())[1:]:
            fits = [n for n, e in self.all.items() if e.type in declared.types and n != on]
            wished = self.builder.drawing.wish.word_text in NESTED_PORT
            if fits and (not declared.optional or self.rng.random() < (FAVOUR if wished else 0.4)):
                wired[name] = self.rng.choice(fits)
        if cls.takes_extra_ports and self.rng.random() < 0.35:
            self.wire_more(cls, wired)
        given = {name: self.known(edge) for name, edge in wired.items()}
        block = self.builder.block(kind, given, depth=self.depth)
        if wish is not None and wish.name not in written_in(block, Block):
            return None
        each = next((edge for edge in given.values() if isinstance(edge, Each)), None)
        if each is not None and isinstance(block, dict):
            block["n_layers"] = len(each.edges)
        return self.place(kind, block, wired, given=given)

    def wire_more(self, cls: type[Block], wired: Data) -> None:
        free = [name for name in EXTRA_PORTS if name not in self.ports or self.depth < 2]
        name = self.rng.choice(free) if free else "skip"
        stacks = list(self.layers)
        if stacks and is_varied(cls) and self.rng.random() < 0.6:
            wired[name] = {"each": self.rng.choice(stacks), "order": self.rng.choice(("same", "reversed"))}
            return
        fits = [other for other, edge in self.all.items() if edge.type == "sequence"]
        if fits:
            wired[name] = self.rng.choice(fits)

    def several(self, on: str, types: tuple[str, ...]) -> Any:
        x, choice = self.all[on], self.rng.random()
        alike = [name for name, edge in self.all.items() if edge.type in types]
        if choice < 0.9:
            alike = [name for name in alike if self.all[name].type == x.type]
        if choice < 0.8:
            alike = [name for name in alike if self.all[name].width == x.width]
        if choice < 0.65:
            alike = [name for name in alike if self.all[name].axis == x.axis]
        if on in self.layers and self.rng.random() < 0.3:
            return f"{on}.layers" if len(self.layers[on]) > 1 else None
        others = [name for name in alike if name != on]
        if not others:
            return None
        picked = self.rng.sample(others, min(len(others), self.rng.randint(1, 2)))
        return [*picked, on]

    def known(self, written: Any) -> Any:
        if isinstance(written, dict):
            layers = self.layers[written["each"]]
            return Each(tuple(reversed(layers) if written["order"] == "reversed" else layers))
        if isinstance(written, list):
            return [self.all[name] for name in written]
        return self.layers[written[:-7]] if written.endswith(".layers") else self.all[written]

    def place(self, kind: str, block: Any, wired: Data, *, given: Data) -> str | None:
        outputs = self.builder.outputs(block, given, layered=False)
        cls = block_class(kind)
        if outputs is None or not all(reads_port(block, port) for port in wired):
            return None
        if self.depth >= 2 and not self.fits_plan(block, next(iter(outputs.values()))):
            return None
        name = kind.rpartition(":")[2]
        name = name if name not in self.blocks and name not in self.ports else f"{name}_{len(self.blocks)}"
        last = next(reversed(self.blocks), None)
        main = next(iter(cls.inputs))
        data = {"kind": block} if isinstance(block, str) else dict(block)
        chained = list(wired) == [main] and wired[main] == (last or (self.only_port() if self.depth >= 2 else "x"))
        if not (chained and cls.inputs[main].chains) or self.rng.random() < 0.15:
            data["from"] = wired[main] if list(wired) == [main] and self.rng.random() < 0.9 else wired
        self.blocks[name] = data
        self.edges[name] = next(iter(outputs.values()))
        if "layers" in outputs:
            self.layers[name] = outputs["layers"]
        if name in self.unread or name not in self.all:
            return None
        self.unread -= {one.partition(".")[0] for edge in wired.values() for one in _texts(edge)}
        self.unread.add(name)
        table = table_of(data)
        if table is not None and self.depth >= 2:
            self.builder.tables[name] = table
        return name

    def fits_plan(self, block: Any, edge: Edge) -> bool:
        """Whether a document that is to continue text can have a block: one position a token, and scores at the end."""
        if not self.builder.drawing.causal:
            return True
        counts_its_row = isinstance(block, dict) and "token_dropout" in block
        scores = edge.type == "logits" and edge.axis and isinstance(block, dict) and "vocab_size" in block
        return not counts_its_row and bool(scores or (edge.type == "sequence" and is_plain(edge.axis)))

    def only_port(self) -> str | None:
        return next(iter(self.ports)) if len(self.ports) == 1 else None

    def close(self, x: Edge) -> None:
        """Join what nobody reads, and end with the width and length of ``x``."""
        for _ in range(8):
            ends = [name for name in self.unread if name in self.all]
            if len(ends) == 1 and self.edges.get(ends[0]) == x:
                return
            if len(ends) > 1:
                self.add("add", sorted(ends)[0]) or self.grow()
            else:
                self.grow()


def _texts(edge: Any) -> list[str]:
    if isinstance(edge, dict):
        return [edge["each"]]
    return edge if isinstance(edge, list) else [edge]
