"""Small random changes to a document, most of which make it illegal; and the way back, to the smallest document that
still shows what was found.
"""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Iterator
from typing import Any

from flexit.ir.block import Block
from flexit.ir.language.annotations import Entry, FieldType, GroupOf, KindOf, as_slot, class_of, fields
from flexit.ir.language.kinds import Group
from flexit.ir.language.written import Node
from flexit.ir.spec import Spec
from tests.fuzz.drawing import SIZES, Data, Drawing

DOCUMENT = FieldType((GroupOf(Spec),))
ODD = (None, True, 0, -1, 2.5, "other", "none", [], {}, 7, 1, 3, "mlp", "causal", "rms_norm")


def damaged(document: Data, rng: random.Random) -> Data:
    """The document with one to three changes."""
    changed = copy.deepcopy(document)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        holders = list(mappings(changed, DOCUMENT))
        holder, type_ = rng.choice(holders)
        rng.choices(tuple(CHANGES), tuple(CHANGES.values()))[0](holder, type_, rng)
    return changed


def mappings(value: Any, type_: FieldType) -> Iterator[tuple[Data, FieldType]]:
    """Every mapping in a document, with the type of its place as far as it is known."""
    if isinstance(value, list):
        for entry in value:
            yield from mappings(entry, type_)
    if not isinstance(value, dict):
        return
    yield value, type_
    known = entries(value, type_)
    for name, entry in value.items():
        below = known.get(name)
        inner = [option.value for option in type_.options if hasattr(option, "value")]
        yield from mappings(entry, below.type if below is not None else inner[0] if inner else FieldType(()))


def entries(value: Data, type_: FieldType) -> dict[str, Entry]:
    """The fields that a mapping may have."""
    kind = Node(value["kind"]) if "kind" in value else None
    for option in type_.options:
        cls: type[Group] | None = class_of(option, kind)
        if cls is not None:
            return as_slot(cls) if isinstance(option, KindOf) and issubclass(cls, Block) else fields(cls)
    return {}


def _redraw(holder: Data, type_: FieldType, rng: random.Random) -> None:
    """A legal value for a random field."""
    known = entries(holder, type_)
    if known:
        entry = known[rng.choice(list(known))]
        holder[entry.name] = Drawing(rng, rng.choice((4, 8, 16))).field(entry)


def _resize(holder: Data, type_: FieldType, rng: random.Random) -> None:
    """Another number in the place of one."""
    numbers = [name for name, value in holder.items() if type(value) is int]
    if numbers:
        holder[rng.choice(numbers)] = rng.choice(SIZES)
    else:
        _redraw(holder, type_, rng)


def _clone(holder: Data, type_: FieldType, rng: random.Random) -> None:
    """A block that shares with one of the document, or reads the same."""
    blocks = holder.get("blocks")
    if not isinstance(blocks, dict) or not blocks:
        _redraw(holder, type_, rng)
        return
    name = rng.choice(list(blocks))
    kind = blocks[name]["kind"] if isinstance(blocks[name], dict) and "kind" in blocks[name] else "add"
    more = {"kind": kind, "shares": name} if rng.random() < 0.8 else copy.deepcopy(blocks[name])
    holder["blocks"] = {**blocks, "more": more}


def _delete(holder: Data, type_: FieldType, rng: random.Random) -> None:
    del type_
    if holder:
        del holder[rng.choice(list(holder))]


def _odd(holder: Data, type_: FieldType, rng: random.Random) -> None:
    del type_
    if holder:
        holder[rng.choice(list(holder))] = copy.deepcopy(rng.choice(ODD))


def _swap(holder: Data, type_: FieldType, rng: random.Random) -> None:
    del type_
    if len(holder) > 1:
        one, two = rng.sample(list(holder), 2)
        holder[one], holder[two] = holder[two], holder[one]


def _rename(holder: Data, type_: FieldType, rng: random.Random) -> None:
    del type_
    if holder:
        name = rng.choice(list(holder))
        holder[rng.choice((f"{name}s", name[:-1] or "a", "forward", "other", "Upper"))] = holder.pop(name)


def _rewire(holder: Data, type_: FieldType, rng: random.Random) -> None:
    """Another edge for a block of the document, often one that is there."""
    if isinstance(holder.get("blocks"), dict) and holder["blocks"]:
        names = list(holder["blocks"])
        block = holder["blocks"][rng.choice(names)]
        if isinstance(block, dict):
            block["from"] = rng.choice((*names, "input_ids", f"{rng.choice(names)}.layers[0]", rng.sample(names, 1)))
    else:
        _redraw(holder, type_, rng)


CHANGES = {_redraw: 4, _resize: 6, _rewire: 4, _clone: 2, _swap: 2, _delete: 1, _odd: 1, _rename: 1}
"""Changes and how often each is made: those that leave a document well formed more often."""


# ---- and back


def shrink(document: Data, fails: Callable[[Data], bool]) -> Data:
    """A document with as little as possible in it for which ``fails`` still holds."""
    smaller = True
    while smaller:
        smaller = False
        for path in sorted(paths(document), key=len):
            for tried in (without(document, path), hoisted(document, path)):
                if tried is not None and fails(tried):
                    document, smaller = tried, True
                    break
            if smaller:
                break
    return document


def paths(value: Any) -> Iterator[tuple[Any, ...]]:
    if isinstance(value, dict | list):
        for key, entry in value.items() if isinstance(value, dict) else enumerate(value):
            yield (key,)
            yield from ((key, *rest) for rest in paths(entry))


def without(document: Data, path: tuple[Any, ...]) -> Data:
    copied: Any = copy.deepcopy(document)
    holder = copied
    for key in path[:-1]:
        holder = holder[key]
    del holder[path[-1]]
    return copied


def hoisted(document: Data, path: tuple[Any, ...]) -> Data | None:
    """A mapping with a kind in the place of the one around it."""
    copied: Any = copy.deepcopy(document)
    holders = [copied]
    for key in path:
        holders.append(holders[-1][key])
    if len(holders) < 4 or not (isinstance(holders[-1], dict) and "kind" in holders[-1]):
        return None
    outer = next(
        (i for i in range(len(path) - 1, 1, -1) if isinstance(holders[i], dict) and "kind" in holders[i]), None
    )
    if outer is None:
        return None
    kept = {"from": holders[outer]["from"]} if "from" in holders[outer] else {}
    holders[outer - 1][path[outer - 1]] = {**holders[-1], **kept}
    return copied
