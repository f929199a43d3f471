"""What a block is: typed fields, ports, checks and an expand() written in primitive ops."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, cast

from pydantic import Field

from flexit.ir.language.initialisation import Init
from flexit.ir.language.kinds import Group, Kind

if TYPE_CHECKING:
    from flexit.ir.expansion.edges import Edge
    from flexit.ir.expansion.expander import Expander

EdgeName = Literal["tokens", "sequence", "vector", "logits"]
From = str | list[str] | dict[str, Any]


@dataclass(frozen=True, slots=True)
class Port:
    """An input of a block.

    Attributes:
        types: edge types it takes.
        optional: whether it need not be wired.
        variadic: whether it takes a list of two or more edges.
        chains: whether it reads the block written before when nothing is wired (main ports only).
    """

    types: tuple[EdgeName, ...]
    optional: bool = False
    variadic: bool = False
    chains: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """What a block's check finds wrong with its own fields; it becomes a Problem when its place is known.

    Attributes:
        field: dotted path of the field inside the block, the one to change.
        on_key: whether the place is the key and not the value (what is to be deleted).
        place: dotted path of what the place is, if it is not the field.

    In the texts, ``{line n_heads}`` becomes the line of that field of the block, ``{block embed}`` that of a sibling.
    """

    code: str
    field: str
    message: str
    expected: str
    found: str
    cure: str
    on_key: bool = False
    place: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RowProjection:
    """The map to the model's width that comes with a table of narrower or wider rows.

    Attributes:
        path: of its parameters; below the block's, or absolute once the table is known by its absolute path.
        width: the model's.
        at: before anything is added to the rows (``token``), or after (``sum``).
    """

    path: str
    width: int
    bias: bool
    at: Literal["token", "sum"]


@dataclass(frozen=True, slots=True)
class TokenTable:
    """A table of token rows that a block owns; ``path`` is below the block's."""

    path: str
    rows: int
    width: int
    projection: RowProjection | None = None

    @property
    def model_width(self) -> int:
        """Width of what is made of the rows."""
        return self.width if self.projection is None else self.projection.width


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What a block's inferred fields follow from.

    Attributes:
        width: width of its input; of an embedding, of its output.
        tables: the token tables of the graph by the path of the block that owns them.
    """

    width: int
    tables: Mapping[str, TokenTable]


@dataclass(frozen=True, slots=True)
class Inferred:
    """A field that was left out: its dotted name, its value, and what that follows from (``= n_heads``)."""

    field: str
    value: object
    reason: str


class Block(Kind, family="Block", package="flexit.ir.blocks"):
    """A node of the graph."""

    inputs: ClassVar[Mapping[str, Port]] = {"x": Port(("sequence",))}
    """Input ports in order; the first is the main one."""
    output: ClassVar[EdgeName | Literal["same"]] = "same"
    """Type of the main output; ``same`` as the main input."""
    main_output: ClassVar[str] = ""
    """Name of the main output port, where it is not that of its type."""
    more_outputs: ClassVar[tuple[str, ...]] = ()
    """Names of output ports beside the main one."""
    layer_outputs: ClassVar[tuple[str, ...]] = ()
    """Those of them that give one edge per layer."""
    takes_extra_ports: ClassVar[bool] = False
    """Whether ports with any other name may be wired (composites)."""
    region: ClassVar[bool] = False
    """Whether an instance is a region of its own, hence a module of its own in PyTorch."""
    examples: ClassVar[tuple[Mapping[str, Any], ...]] = ()
    """Tiny instances, as written, that the conformance tests run end to end."""

    wired: From | None = Field(default=None, alias="from")
    """Where the input ports come from; only in an entry of a ``blocks`` map."""
    shares: str | None = None
    """Use the parameters of that block; only in an entry of a ``blocks`` map."""
    init: dict[str, Init] = Field(default_factory=dict)
    """Initialisation inside this block, by parameter role; the innermost entry wins."""

    def check(self) -> Iterator[Fault]:
        """Faults that the fields alone show."""
        yield from ()

    def child(self, path: tuple[str, ...]) -> tuple[Block, tuple[str, ...]] | None:
        """The nested block that a parameter path leads to next, with the rest of the path; None in this block's own.

        A second use of a sub-layer (``feed_forward_2``) is the same block.
        """
        head, _, number = path[0].rpartition("_")
        nested = getattr(self, head if number.isdigit() else path[0], None)
        return (nested, path[1:]) if isinstance(nested, Block) else None

    def inside(self) -> Iterator[tuple[tuple[str, ...], Block]]:
        """Blocks among the fields, with the keys that lead to each; of a map of blocks, every entry.

        In a group the key is a dotted path (``qk.norm``).
        """
        for name, info in type(self).model_fields.items():
            value = getattr(self, name)
            key = info.alias or name
            if isinstance(value, Block):
                yield (key,), value
            elif isinstance(value, Group):
                yield from (((path,), block) for path, block in _grouped(key, value))
            elif isinstance(value, dict):
                entries = cast("dict[str, Any]", value)
                yield from (((key, entry), block) for entry, block in entries.items() if isinstance(block, Block))

    def token_table(self) -> TokenTable | None:
        """The table that heads and embeddings may be tied to, if the block owns one."""
        return None

    def reads(self, port: str) -> bool:
        """Whether a wired port of this name is used."""
        return port in self.inputs

    @property
    def max_len(self) -> int | None:
        """The longest sequence that a position table of the block allows."""
        return None

    def spans(self) -> Iterator[tuple[str, int]]:
        """Fields that limit how far apart positions may see each other, with the distance."""
        yield from ()

    @property
    def reads_prefix(self) -> bool:
        """Whether it goes by the ``prefix_lengths`` of its input."""
        return False

    @property
    def why_not_packed(self) -> str:
        """What it would do to rows that several documents are packed into; nothing if it keeps them apart."""
        return "has a prefix, one for a row" if self.reads_prefix else ""

    @property
    def lengthens(self) -> bool:
        """Whether its output has other positions than what its main port reads, and maybe more of them."""
        return False

    @property
    def sees_all(self) -> bool:
        """Whether it mixes all positions without regard to their order."""
        return False

    @property
    def orders(self) -> bool:
        """Whether its result depends on the order of positions."""
        return False

    @property
    def counts_layers(self) -> bool:
        """Whether it computes something else in each layer of a stack, by ``layer_index`` which the stack provides."""
        return any(block.counts_layers for _, block in self.inside())

    @property
    def open_stream(self) -> bool:
        """Whether its output is a residual stream that no norm has closed."""
        return False

    def inferred(self, around: Surroundings) -> Iterator[Inferred]:
        """The fields that were left out and follow from elsewhere, for ``flexit show``."""
        del around
        yield from ()

    def check_ports(self, **ports: Edge) -> Iterator[Fault]:
        """Faults that show once the edges are known (widths, lengths, which ports are wired)."""
        del ports
        yield from ()

    def expand(self, e: Expander, *_: Any, **ports: Any) -> Edge | dict[str, Any]:
        """Write the block in primitive ops.

        A kind names its ports as parameters. They are passed by name; ``*_`` stands here for any such signature.

        Args:
            e: what the ops are written with; its current path is this block's.
            ports: the edges of the wired ports; a list for a variadic one.

        Returns:
            The main output, or a mapping of output ports with the main one first.
        """
        raise NotImplementedError


def _grouped(key: str, group: Group) -> Iterator[tuple[str, Block]]:
    for name, info in type(group).model_fields.items():
        value, path = getattr(group, name), f"{key}.{info.alias or name}"
        if isinstance(value, Block):
            yield path, value
        elif isinstance(value, Group):
            yield from _grouped(path, value)


class Mixer(Block):
    """A block that mixes positions and may stand in ``attention:``."""

    region: ClassVar[bool] = True
    output: ClassVar[EdgeName | Literal["same"]] = "sequence"


class FeedForward(Block):
    """A block that works on each position alone and may stand in ``feed_forward:``."""

    region: ClassVar[bool] = True
    output: ClassVar[EdgeName | Literal["same"]] = "sequence"


class Norm(Block):
    """A normalisation; also a field of other blocks, which place it by ``apply``."""

    inputs: ClassVar[Mapping[str, Port]] = {"x": Port(("sequence", "vector"))}

    @property
    def learned(self) -> tuple[bool | Literal["scalar"], bool]:
        """Whether it has a gain, and whether a bias."""
        return getattr(self, "gain", False), getattr(self, "bias", False)

    def apply(self, e: Expander, x: Any, name: str) -> Any:
        """Normalise the last dim of a value, with parameters at ``name`` below the current path."""
        raise NotImplementedError

    def bare(self, e: Expander, x: Any, name: str) -> Any:
        """The same without gain and bias."""
        off = {"gain": False, "bias": False, "gain_offset": 0.0, "fp32_gain": False}
        known = {key: value for key, value in off.items() if key in type(self).model_fields}
        return self.model_copy(update=known).apply(e, x, name)

    def expand(self, e: Expander, x: Any) -> Edge:
        return x.of(self.apply(e, x.x, ""))
