"""The rules of scopes: how edges resolve, what is read, and sharing (codes FX03xx and FX07xx)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from tests.fuzz.composites import CompositeRules, Data, choices, named_wrong, vary
from tests.fuzz.edges import Each, Outputs, Place
from tests.fuzz.fields import MergeRefused, complete, faults, kind_faults, merged
from tests.fuzz.rulebook import KINDS

EDGE = re.compile(r"([a-z][a-z0-9_]*)(?:\.([a-z][a-z0-9_]*)(?:\[(-?[0-9]+)\])?)?")
MAIN = {"last_hidden_state": "sequence", "pooled": "vector", "logits": "logits"}
TWO_PORTS = ("start_logits", "end_logits")


class ScopeRules(CompositeRules):
    """Rules of scopes."""

    def block(self, written: Any, ports: Outputs, place: Place) -> Outputs | None:
        """Output ports of a block whose own fields are right."""
        b = complete(written, ("Block",))
        required = {port for port, declared in KINDS[b["kind"]].ports.items() if not declared.optional}
        if required - set(ports):
            self.say("FX0305")
            self.say("FX0302", when=set(ports) - set(KINDS[b["kind"]].ports))
            ports = {**dict.fromkeys(required), **ports}
            self.found.doubtful |= {"FX0301"} if KINDS[b["kind"]].takes_others else set()
        kind = "linear_block" if b["kind"] == "linear" else b["kind"]
        result = getattr(self, kind)(b, ports, place)
        if b.get("shares"):
            self.found.doubtful.add("FX0510")  # whose entry is whose is not followed here
            self.init(b["init"], None)
        else:
            self.init(b["init"], self.found.below(place.path))
        if result is None or isinstance(result, dict):
            return result
        return {next(port for port, type_ in MAIN.items() if type_ == result.type): result}

    def graph(self, b: Data, ports: Outputs, place: Place) -> Any:
        outputs = self.scope(b["blocks"], ports, place, chain="x", read={next(reversed(b["blocks"]))})
        last = outputs.get(next(reversed(b["blocks"])))
        return last and next(iter(last.values()))

    # ---- scopes

    def scope(
        self, blocks: Data, ports: Outputs, place: Place, *, chain: str | None, read: set[str], inputs_too: bool = False
    ) -> dict[str, Outputs | None]:
        """Output ports of every block of a scope.

        Args:
            blocks: as written.
            ports: edges of the composite around, or the graph inputs.
            place: of the composite.
            chain: what the first block reads without ``from``.
            read: blocks that are outputs.
            inputs_too: whether each of ``ports`` must be read.
        """
        wires = self.wires(blocks, ports, chain)
        self.say("FX0304", when=set(blocks) & set(ports))
        for edge in (one for wired in wires.values() for edges in wired.values() for one in texts_of(edges)):
            match = EDGE.fullmatch(edge) if isinstance(edge, str) else None
            known = match is not None and (match[1] in blocks or (match[1] in ports and not match[2]))
            stack = known and match[1] in blocks and KINDS[kind_of(blocks[match[1]])].layers
            self.say("FX0301", when=not known or (match[2] == "layers" and not stack))
        reads = {
            name: {source for edges in wired.values() for source in names_of(edges)} for name, wired in wires.items()
        }
        everything = read.union(*reads.values())
        self.say("FX0306", when=set(blocks) - everything)
        self.say("FX0306", when=inputs_too and set(ports) - everything)
        results: dict[str, Outputs | None] = {}
        for name in self.in_order({name: sources & set(blocks) for name, sources in reads.items()}):
            results[name] = self.named(name, blocks, wires[name], results=results, ports=ports, place=place)
        for name in [name for name in blocks if name not in results]:  # in a cycle
            self.block(blocks[name], dict.fromkeys(KINDS[kind_of(blocks[name])].ports), place.at(name))
        self.lenders(blocks, place)
        return results

    def in_order(self, reads: dict[str, set[str]]) -> list[str]:
        order: list[str] = []
        while len(order) < len(reads):
            ready = [name for name in reads if name not in order and reads[name] <= set(order)]
            if not ready:
                self.say("FX0303")
                break
            order += ready
        return order

    def wires(self, blocks: Data, ports: Outputs, chain: str | None) -> dict[str, dict[str, Any]]:
        """What each port of each block reads, as written."""
        wires: dict[str, dict[str, Any]] = {}
        before = chain
        for name, block in blocks.items():
            b = {"kind": block} if isinstance(block, str) else block
            entry, written = KINDS[b["kind"]], b.get("from")
            main = entry.ports[entry.main]
            if written is None:
                chains = not main.variadic and entry.main != "like" and before is not None
                self.say("FX0307", when=not chains)
                written = {entry.main: before} if chains else {}
            elif not isinstance(written, dict):
                written = {entry.main: written}
            missing = {port for port, declared in entry.ports.items() if not declared.optional} - set(written)
            self.say("FX0305", when=missing - {entry.main} or (missing and b.get("from") is not None))
            self.say("FX0305", when=set(written) - set(entry.ports) and not entry.takes_others)
            for port in set(written) - {"x"} if entry.takes_others else ():
                self.say("FX0306", when=not reads_port(b, port))
            if entry.takes_others and "x" in written:
                self.say("FX0306", when=not reads_port(b, "x"))
            if b["kind"] == "transformer_layer" and "memory" in written:
                self.say("FX0306", when=not reads_port(b, "memory"))
            for port, edges in written.items():
                several = isinstance(edges, list) and len(edges) > 1
                variadic = port in entry.ports and entry.ports[port].variadic
                self.say("FX0305", when=variadic and not several and not str(edges).endswith(".layers"))
                self.say("FX0302", when=isinstance(edges, list) and not variadic)
            wires[name] = {p: edge for p, edge in written.items() if p in entry.ports or entry.takes_others}
            before = name
        return wires

    def named(self, name: str, blocks: Data, wired: Data, *, results: Outputs, ports: Outputs, place: Place) -> Any:
        """Output ports of one named block."""
        b = complete(blocks[name], ("Block",))
        entry = KINDS[b["kind"]]
        given: Outputs = {}
        for port, written in wired.items():
            declared = entry.ports.get(port)
            variadic = declared is not None and declared.variadic
            if isinstance(written, dict):
                given[port] = self.each(written, blocks, b, results=results)
                continue
            found = self.sources(written, blocks, ports, results=results, variadic=variadic)
            if variadic and str(written).endswith(".layers") and len(found) < 2:
                self.found.doubtful.add("FX0305")
            for edge in found if declared is not None else []:
                self.say("FX0302", when=edge is not None and edge.type not in declared.types)
            fits = [edge for edge in found if declared is None or edge is None or edge.type in declared.types]
            given[port] = None if len(fits) < len(found) else found if variadic else found[0] if found else None
        return self.block(blocks[name], given, place.at(name))

    def each(self, written: Data, blocks: Data, b: Data, *, results: Outputs) -> Each | None:
        name = written.get("each")
        legal = set(written) <= {"each", "order"} and written.get("order", "same") in ("same", "reversed")
        owner = complete(blocks[name], ("Block",)) if isinstance(name, str) and name in blocks else {"kind": ""}
        if not legal or owner["kind"] != "stack" or b["kind"] != "stack" or owner["n_layers"] != b["n_layers"]:
            self.say("FX0308")
            return None
        layers = tuple((results.get(name) or {}).get("layers") or (None,) * b["n_layers"])
        return Each(layers[::-1] if written.get("order") == "reversed" else layers)

    def sources(self, written: Any, blocks: Data, ports: Outputs, *, results: Outputs, variadic: bool) -> list[Any]:
        """The edges that a text or a list of texts means; None for one that is not known."""
        if isinstance(written, list):
            return [
                edge for one in written
                for edge in self.sources(one, blocks, ports, results=results, variadic=variadic)
            ]  # fmt: skip
        match = EDGE.fullmatch(written) if isinstance(written, str) else None
        if match is None or (match[1] not in blocks and match[1] not in ports):
            self.say("FX0301")
            return [None]
        name, port, index = match.groups()
        if name in ports and name not in blocks:
            self.say("FX0301", when=port)
            return [ports[name]]
        outputs = results.get(name)
        if port == "layers" and KINDS[kind_of(blocks[name])].layers:
            count = complete(blocks[name], ("Block",))["n_layers"]
            layers = (outputs or {}).get("layers") or [None] * count
            if index is None:
                self.say("FX0302", when=not variadic)
                return layers if variadic else [None]
            self.say("FX0301", when=not -count <= int(index) < count)
            return [layers[int(index)]] if -count <= int(index) < count else [None]
        if outputs is None:
            self.say("FX0301", when=port is not None and (port not in (*MAIN, *TWO_PORTS) or index is not None))
            return [None]
        if port is not None and (port not in outputs or index is not None):
            self.say("FX0301")
            return [None]
        return [outputs[port or next(iter(outputs))]]

    # ---- sharing

    def written_out_everywhere(self, value: Any) -> Any:
        """A document with the fields of owners merged into the blocks that share with them."""
        if not isinstance(value, dict):
            return value
        inner = {key: self.written_out_everywhere(entry) for key, entry in value.items()}
        if isinstance(inner.get("blocks"), dict):
            inner["blocks"] = {name: self.written_out(name, inner["blocks"]) for name in inner["blocks"]}
        return inner

    def written_out(self, name: str, blocks: Data) -> Any:
        """A block with the fields of the one it shares with merged in."""
        block = blocks[name]
        owner = block.get("shares") if isinstance(block, dict) else None
        if not isinstance(owner, str):
            return block
        lent = blocks.get(owner)
        if isinstance(lent, str):
            lent = {"kind": lent}
        if owner == name or not isinstance(lent, dict) or lent.get("shares") or lent.get("tied_to"):
            self.say("FX0701")
            self.say("FX0703", when=owner in blocks and not isinstance(lent, dict))
            return block
        if lent.get("kind") != block.get("kind"):
            self.say("FX0703" if "kind" in block else "FX0202")
            return block
        fields = {key: value for key, value in lent.items() if key != "from"}
        own = {key: value for key, value in block.items() if key != "kind"}
        try:
            return merged(fields, own)
        except MergeRefused:
            self.found.schema.add("FX0607")
            return block

    def block_as_far_as_right(self, block: Any) -> None:
        """What is wrong inside a block beside the fields of it that are wrong themselves."""
        if isinstance(block, dict) and isinstance(block.get("kind"), str) and block["kind"] in KINDS:
            known = KINDS[block["kind"]].fields
            right = {
                k: v for k, v in block.items() if k == "kind" or (k in known and not list(faults(known[k].types, v)))
            }
            if not list(kind_faults("Block", right, named=True)):
                self.block(right, dict.fromkeys(KINDS[block["kind"]].ports), Place())

    def lenders(self, blocks: Data, place: Place) -> None:
        """Shapes of what is shared."""
        for name, block in blocks.items():
            owner = block.get("shares") if isinstance(block, dict) else None
            if owner is None or owner not in blocks or owner == name:
                continue
            lent = {path: p.shape for path, p in self.found.below(place.at(owner).path).items()}
            own = {path: p.shape for path, p in self.found.below(place.at(name).path).items()}
            self.say("FX0703", when=any(own[path] != lent[path] for path in own.keys() & lent.keys()))
            self.say("FX0703", when=lent.keys() - own.keys())
            self.say("FX0701", when=not lent)
            self.forget(place.at(name), own.keys() & lent.keys())


def kind_of(block: Any) -> str:
    return block if isinstance(block, str) else block["kind"]


def names_of(edges: Any) -> Iterator[str]:
    """Names that edges start from."""
    if isinstance(edges, dict):
        yield str(edges.get("each"))
        return
    for edge in edges if isinstance(edges, list) else [edges]:
        yield str(edge).partition(".")[0]


def texts_of(edges: Any) -> list[Any]:
    """The edges of a port one by one, without ``each``."""
    return [] if isinstance(edges, dict) else edges if isinstance(edges, list) else [edges]


def reachable(name: str, reads: dict[str, set[str]]) -> set[str]:
    found: set[str] = set()
    waiting = [name]
    while waiting:
        for source in reads.get(waiting.pop(), ()):
            if source not in found:
                found.add(source)
                waiting.append(source)
    return found


def reads_port(written: Any, port: str) -> bool:
    """Whether a block, or one inside it, reads a port it is given."""
    b = complete(written, ("Block",))
    match b["kind"]:
        case "transformer_layer":
            return port == "x" or (port == "memory" and b["cross_attention"] is not None)
        case "residual":
            return reads_port(b["body"], port)
        case "stack":
            if list(named_wrong(b)):
                return True
            try:
                layers = [vary(b, choice) for choice in set(choices(b))]
            except MergeRefused:
                return True
            return any(list(kind_faults("Block", one, named=False)) or reads_port(one, port) for one in layers)
        case "graph":
            first = next(iter(b["blocks"].values()), {"from": "nothing"})
            chained = port == "x" and (isinstance(first, str) or first.get("from") is None)
            written = [block.get("from") or [] for block in b["blocks"].values() if isinstance(block, dict)]
            edges = [edge for one in written for edge in (one.values() if isinstance(one, dict) else [one])]
            return chained or any(port in names_of(edge) for edge in edges)
        case kind:
            return port in KINDS[kind].ports
