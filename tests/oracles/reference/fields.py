"""Reads a spec's text and notes what was read, so that a case claims only the fields that its definition used.

Nothing here knows the product: families, kinds and defaults are those of the language reference.
"""

from dataclasses import dataclass, field
from typing import Any

REQUIRED = object()


@dataclass
class Ledger:
    """What was read while one model was computed.

    Attributes:
        values: (owner, key) -> the values it was read with; owner is ``Family.kind`` or that with a group's field.
        written: (owner, key) of the fields that the text writes.
    """

    values: dict[tuple[str, str], list[Any]] = field(default_factory=dict)
    written: set[tuple[str, str]] = field(default_factory=set)
    mappings: list["Fields"] = field(default_factory=list)

    def unread(self) -> list[str]:
        """Fields that the text writes and the definitions never looked at."""
        return [f"{one.owner}: {key}" for one in self.mappings for key in one.data if key not in one.seen]

    def note(self, owner: str, key: str, value: Any, *, written: bool) -> None:
        known = self.values.setdefault((owner, key), [])
        if value not in known:
            known.append(value)
        if written:
            self.written.add((owner, key))


class Fields:
    """A mapping of the text: a kind of a family, or a group.

    Attributes:
        source: the text itself; its identity says where it stands in the document.
    """

    def __init__(self, ledger: Ledger, value: Any, *, family: str = "", group: str = "") -> None:
        self.ledger, self.source = ledger, value
        self.data = {"kind": value} if isinstance(value, str) else dict(value)
        self.kind = self.data.get("kind", "")
        self.owner = group or f"{family}.{self.kind}"
        self.seen = {"kind"}
        ledger.mappings.append(self)

    def get(self, key: str, default: Any = REQUIRED) -> Any:
        """The value of a field, or its default; either way this case speaks for that value."""
        self.seen.add(key)
        value = self.data[key] if default is REQUIRED else self.data.get(key, default)
        self.ledger.note(self.owner, key, value, written=key in self.data)
        return value

    def aside(self, *keys: str) -> None:
        """Fields that do not matter here; this case does not speak for them."""
        self.seen.update(keys)

    def one(self, key: str, family: str, default: Any = REQUIRED) -> "Fields | None":
        """A nested kind."""
        value = self.get(key, default)
        return None if value is None else Fields(self.ledger, value, family=family)

    def group(self, key: str, default: Any = REQUIRED) -> "Fields | None":
        """A nested group."""
        value = self.get(key, default)
        return None if value is None else Fields(self.ledger, value, group=f"{self.owner}.{key}")
