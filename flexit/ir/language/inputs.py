"""Graph inputs and the companions they bring, as the language says it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from flexit.ir.language.kinds import INFERRED, Kind, PositiveInt

if TYPE_CHECKING:
    from flexit.ir.block import Block

ENDINGS = ("input_ids", "inputs_embeds", "hidden_states")


class Input(Kind, family="Input"):
    """What a graph input carries."""


class Tokens(Input, kind="tokens"):
    """int64 ``[batch, n]`` ids."""

    formula = "int64 [batch, n], with optional attention_mask and position_ids of that shape"
    source = "Hugging Face's input_ids"

    like: Annotated[str | None, INFERRED] = None
    """Has the length, mask and positions of that input, and brings no companions."""


class Sequence(Input, kind="sequence"):
    """float ``[batch, n, width]`` values."""

    formula = "float [batch, n, width], with an optional attention_mask"
    source = "Hugging Face's inputs_embeds"

    width: PositiveInt
    """Channels."""
    like: Annotated[str | None, INFERRED] = None
    """Has the length, mask and positions of that input, and brings no companions."""


class Vector(Input, kind="vector"):
    """float ``[batch, width]`` values."""

    formula = "float [batch, width]"
    source = "its definition"

    width: PositiveInt
    """Channels."""


@dataclass(frozen=True, slots=True)
class Companions:
    """Optional inputs that nobody declares.

    Attributes:
        group: what their names and the length symbols begin with, without the underscore.
    """

    group: str

    @property
    def attention_mask(self) -> str:
        """1 where a slot is no padding."""
        return f"{self.group}_attention_mask" if self.group else "attention_mask"

    @property
    def position_ids(self) -> str:
        """What rotations and position tables read."""
        return f"{self.group}_position_ids" if self.group else "position_ids"

    @property
    def document_ids(self) -> str:
        """Which document of a packed row each token is of, in training."""
        return f"{self.group}_document_ids" if self.group else "document_ids"

    @property
    def prefix_lengths(self) -> str:
        """Tokens of each row's prefix; brought only where a mask reads it."""
        return f"{self.group}_prefix_lengths" if self.group else "prefix_lengths"

    @property
    def seq(self) -> str:
        """Length symbol of the new tokens."""
        return f"{self.group}_seq" if self.group else "seq"

    @property
    def total(self) -> str:
        """Length symbol of all keys."""
        return f"{self.group}_total" if self.group else "total"

    @property
    def names(self) -> tuple[str, ...]:
        """Those that every length has."""
        return (self.attention_mask, self.position_ids, self.document_ids)


def companions(name: str) -> Companions:
    """The companions of the graph input ``name``."""
    for ending in ENDINGS:
        if name == ending:
            return Companions("")
        if name.endswith(f"_{ending}"):
            return Companions(name[: -len(ending) - 1])
    return Companions(name)


def alike(inputs: Mapping[str, Input], blocks: Mapping[str, Block]) -> dict[str, str]:
    """Input name -> the input whose axis it shares: ``like`` as written, or inferred for token types."""
    found: dict[str, str] = {}
    for name, declared in inputs.items():
        like = getattr(declared, "like", None)
        if like is not None:
            found[name] = like
            continue
        uses = list(_uses(name, blocks))
        partners = {partner for port, partner in uses if port == "token_types"}
        if uses and all(port == "token_types" for port, _ in uses) and len(partners) == 1:
            partner = partners.pop()
            length = getattr(inputs.get(partner), "like", None) or partner
            if partner in inputs and length != name:
                found[name] = length
    return found


def _uses(name: str, blocks: Mapping[str, Block]) -> Iterator[tuple[str, Any]]:
    for block in blocks.values():
        if isinstance(block.wired, dict):
            yield from ((port, block.wired.get("tokens")) for port, edge in block.wired.items() if edge == name)
        elif block.wired == name or (isinstance(block.wired, list) and name in block.wired):
            yield "", None
