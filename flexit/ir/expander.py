"""What a block's expand() is given: the primitive ops, and what blocks share beyond them: nested blocks and regions,
axes, masks, rotary tables, states, token tables, side outputs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Literal, cast

from flexit.ir.block import Block, Fault
from flexit.ir.dims import Size, symbol
from flexit.ir.drafts import Draft
from flexit.ir.edges import MAIN_OUTPUT, Axis, Edge, Logits, Tokens, Vector
from flexit.ir.edges import Sequence as SequenceEdge
from flexit.ir.ops.append import Append
from flexit.ir.ops.embedding import Embedding
from flexit.ir.ops.experts import Experts
from flexit.ir.ops.given import Given
from flexit.ir.ops.keep import Keep
from flexit.ir.ops.linear import Linear
from flexit.ir.ops.mask import Mask, Piece
from flexit.ir.ops.parameter import Parameter
from flexit.ir.ops.positions import Positions
from flexit.ir.ops.rotary_table import RotaryTable
from flexit.ir.ops.rotate import Rotate
from flexit.ir.program import Call, Param, Region, Role, State, Value, at_path, join, walk
from flexit.ir.structure import structure
from flexit.ir.types import Type
from flexit.ir.vocabulary import Vocabulary


class Unexpanded(Exception):
    """A block could not be expanded; its faults are recorded, and what reads it is skipped."""


@dataclass(frozen=True, slots=True)
class Table:
    """A token table that heads and other embeddings may be tied to.

    Attributes:
        path: absolute path of the parameter.
        at_root: whether the outermost region holds it.
    """

    path: str
    rows: int
    width: int
    at_root: bool


@dataclass(eq=False)
class Expander(Vocabulary):
    """Expands blocks into regions of ops.

    Attributes:
        tables: token tables by the absolute path of the block that owns them.
        faults: what check_ports() found, with the block.
        cached: whether states are written at all (a decoded axis exists).
    """

    tables: Mapping[str, Table]
    cached: bool
    draft: Draft = field(default_factory=lambda: Draft("main"))
    faults: list[tuple[Block | None, str, Fault]] = field(default_factory=list[tuple[Block | None, str, Fault]])
    replaced: set[str] = field(default_factory=set[str])
    _regions: dict[object, tuple[Region, tuple[Value, ...], Any]] = field(default_factory=dict[object, Any])
    _expanded: dict[str, Region] = field(default_factory=dict[str, Region])
    _provided: dict[str, Any] = field(default_factory=dict[str, Any])
    _borrowed: dict[str, str] = field(default_factory=dict[str, str])
    _alive: list[object] = field(default_factory=list[object])

    # ---- blocks

    def block(self, block: Block, name: str, *, weights: str | None = None, **ports: Any) -> dict[str, Any]:
        """Expand a nested block at ``name``, as a region of its own if its class says so.

        Args:
            block: the block.
            name: its path below the current one.
            weights: path below the current one whose parameters it uses; ``name`` unless layers share.
            ports: its wired edges.

        Returns:
            Output ports by name, the main one first.

        Raises:
            Unexpanded: the block or one inside it has faults.
        """
        found = list(block.check_ports(**ports))
        if found:
            self.faults += [(block, join(self.absolute, name), fault) for fault in found]
            raise Unexpanded
        if block.region:
            return self._call(block, name, weights or name, ports)
        with self.inside(name, _width(ports)):
            return self._outputs(block, ports)

    def main(self, block: Block, name: str, *, weights: str | None = None, **ports: Any) -> Any:
        """Like :meth:`block`, the main output only."""
        return next(iter(self.block(block, name, weights=weights, **ports).values()))

    @contextmanager
    def inside(self, name: str, width: int) -> Iterator[None]:
        """Write below ``name``."""
        draft = self.draft
        before = (draft.scope, draft.width)
        draft.scope, draft.width = (*draft.scope, *name.split(".")) if name else draft.scope, width
        try:
            yield
        finally:
            draft.scope, draft.width = before

    @contextmanager
    def sharing(self, name: str, owner: str) -> Iterator[None]:
        """What is expanded at ``name`` uses the parameters of the block at the absolute path ``owner``."""
        path = join(self.absolute, name)
        self._borrowed[path] = owner
        try:
            yield
        finally:
            del self._borrowed[path]

    @contextmanager
    def alone(self) -> Iterator[None]:
        """The opposite of :meth:`sharing`."""
        yield

    def owner_path(self, name: str) -> str:
        """Absolute path of the block that ``tied_to`` or ``shares`` names here: a sibling, or one at the top."""
        sibling = join(self.absolute, name)
        return sibling if sibling in self.tables or sibling in self._expanded or not self.draft.path() else name

    @property
    def absolute(self) -> str:
        """Path of the block being expanded, in the document's graph (of a shared region: of its first call)."""
        return join(self.draft.absolute, self.draft.path())

    def side(self, name: str, value: Value) -> None:
        """Expose an auxiliary value (router logits) under the current path."""
        self.draft.side[self.draft.path(name)] = value

    def refuse(self, block: Block, *faults: Fault) -> None:
        """Record faults that only expansion shows, and give the block up.

        Raises:
            Unexpanded: if there is any fault.
        """
        if faults:
            self.faults += [(block, self.absolute, fault) for fault in faults]
            raise Unexpanded

    def refuse_in(self, block: Block, name: str, fault: Fault) -> None:
        """Record a fault of the block about to be expanded at ``name``, and give it up.

        Raises:
            Unexpanded: always.
        """
        self.faults.append((block, join(self.absolute, name), fault))
        raise Unexpanded

    def require(self, holds: bool) -> None:
        """Give the block up because of faults recorded before.

        Raises:
            Unexpanded: unless ``holds``.
        """
        if not holds:
            raise Unexpanded

    def require_like(self, block: Block, field_name: str, y: Any, x: SequenceEdge) -> None:
        """What a layer or body returns must be a sequence of the width and length it was given.

        Raises:
            Unexpanded: it is not.
        """
        if not isinstance(y, SequenceEdge):
            self.refuse(block, Fault(
                code="FX0302", field=field_name, message="changes the type of the edge", expected="a sequence",
                found=str(getattr(y, "type_name", "a list")), cure="end it with a block that returns a sequence",
            ))  # fmt: skip
        elif y.width != x.width:
            self.refuse(block, Fault(
                code="FX0401", field=field_name, message="changes the width", expected=f"width {x.width}, as it is given",
                found=str(y.width), cure=f"end it with a linear with d_out: {x.width}",
            ))  # fmt: skip
        elif y.axis is not x.axis:
            self.refuse(block, Fault(
                code="FX0402", field=field_name, message="changes the length", expected=x.axis.described,
                found=y.axis.described, cure="undo it with an upsample",
            ))  # fmt: skip

    def residual_branch(self) -> None:
        """Count a residual branch, for depth-scaled initialisation."""
        self.draft.branches += 1

    # ---- context

    @contextmanager
    def providing(self, name: str, thing: Any) -> Iterator[None]:
        """Make ``thing`` visible to every block expanded inside, under ``name``."""
        before = self._provided
        self._provided = {**before, name: thing}
        try:
            yield
        finally:
            self._provided = before

    def provided(self, name: str) -> Any | None:
        """What an enclosing block provides under ``name``."""
        return self._provided.get(name)

    def hoist(self, key: object, anchors: Sequence[Value], path: tuple[str, ...], make: Callable[[], Any]) -> Any:
        """Make something once in the outermost region where all ``anchors`` are known, and share it.

        Args:
            key: what makes two requests the same; anchors are part of it.
            anchors: values it depends on.
            path: scope there, for parameters.
            make: writes it.
        """
        current, chain = self.draft, [self.draft]
        while chain[-1].parent is not None:
            chain.append(chain[-1].parent)
        home = next(draft for draft in reversed(chain) if all(draft.knows(anchor) for anchor in anchors))
        full_key = (key, tuple(anchors))
        if full_key not in home.memo:
            scope, width, self.draft = home.scope, home.width, home
            home.scope = path
            try:
                home.memo[full_key] = make()
            finally:
                home.scope, home.width, self.draft = scope, width, current
        return home.memo[full_key]

    # ---- axes, masks, rotary tables

    def axis(self, key_mask: Value, *, described: str, seq: Size, position_ids: Value | None = None) -> Axis:
        """The axis whose slots ``key_mask [batch, total]`` describes; with ``position_ids``, an optional input."""
        total = key_mask.dims[1]
        anchors = [key_mask]
        rank = self.hoist("rank", anchors, (), lambda: self.write(Positions(), key_mask, name="rank"))
        new_mask, new_rank = key_mask, rank
        if total != seq:
            start = total - seq
            new_mask = self.hoist("new_mask", anchors, (), lambda: self.slice(key_mask, 1, start, total))
            new_rank = self.hoist("new_rank", anchors, (), lambda: self.slice(rank, 1, start, total))
        ids = new_rank
        if position_ids is not None:
            ids = self.write(Given(), position_ids, new_rank, name="position_ids")
        return Axis(
            key_mask=key_mask, new_mask=new_mask, key_rank=rank, new_rank=new_rank, position_ids=ids, seq=seq,
            total=total, decoded=total != seq, described=described,
        )  # fmt: skip

    def slots(self, axis: Axis) -> Value:
        """Slots of this step's tokens, ``i64[1, seq]``, cached ones counted."""

        def make() -> Value:
            slots = self.write(Positions(kind="slot"), axis.key_mask, name="slots")
            return slots if axis.total == axis.seq else self.slice(slots, 1, axis.total - axis.seq, axis.total)

        return self.hoist("slots", [axis.key_mask], (), make)

    def mask(self, axis: Axis, pieces: Sequence[Piece] = (), *, keep_first: int = 0, causal: bool = False) -> Value:
        """Which keys of ``axis`` its queries see; ``causal`` keys include the cached ones. Made once per piece list."""
        keys, ranks = (axis.key_mask, axis.key_rank) if causal else (axis.new_mask, axis.new_rank)
        op = Mask(pieces=tuple(pieces), keep_first=keep_first)
        queries = (axis.new_rank, ranks) if pieces else (None, None)
        anchors = [keys, *(value for value in queries if value is not None)]
        return self.hoist(op, anchors, (), lambda: self.write(op, keys, *queries, None, None, name="mask"))

    def rotary(self, axis: Axis, *, dim: int, theta: float) -> tuple[Value, Value]:
        """Cosines and sines for the axis's position ids. Made once per (dim, theta)."""
        op = RotaryTable(dim=dim, theta=theta)
        ids = axis.position_ids
        return self.hoist(op, [ids], (), lambda: self.write_many(op, ids, name="rotary"))

    # ---- states

    def append(self, x: Value, axis: Axis, dim: int, name: str) -> Value:
        """``x`` after the values of earlier steps, along ``dim``; ``x`` itself where the axis is not decoded."""
        if not (axis.decoded and self.cached):
            return x
        held = [axis.total - axis.seq if index == dim else size for index, size in enumerate(x.dims)]
        state = State(path=self.draft.path(name), type=x.type.with_dims(held), rule="append", axis=dim)
        return self.write(Append(axis=dim, total=axis.total), x, name=name, states=(state,))

    def keep(self, x: Value, axis: Axis, name: str) -> Value:
        """``x``, computed once per sequence; for values over an axis that is not decoded."""
        if axis.decoded or not self.cached:
            return x
        state = State(path=self.draft.path(name), type=x.type, rule="static")
        return self.write(Keep(), x, name=name, states=(state,))

    # ---- parameters of other blocks

    def param(self, name: str, shape: tuple[int, ...], role: Role, **more: Any) -> Param | Value:
        own = super().param(name, shape, role, **more)
        assert isinstance(own, Param)
        path = join(self.draft.absolute, own.path)
        for prefix, owner in self._borrowed.items():
            if not path.startswith(f"{prefix}."):
                continue
            theirs = owner + path[len(prefix) :]
            if theirs in self._owned(owner):
                known = self._owned(owner)[theirs]
                if known.shape != shape:
                    self._clash(prefix, owner, at_path(known, theirs), shape)
                return at_path(known, theirs) if self.draft.parent is None else self.borrow(theirs, shape, role)
        return own

    def _clash(self, path: str, owner: str, known: Param, shape: tuple[int, ...]) -> None:
        """Record that a block would give a parameter it shares another shape; once per block."""
        if any(at == path and fault.code == "FX0703" for _, at, fault in self.faults):
            return
        fault = Fault(
            code="FX0703", field="shares", message=f"{known.path} would have another shape than in {owner}",
            expected=f"{list(known.shape)}, as {owner} has it", found=f"{list(shape)}",
            cure="delete the field that changes it, or delete shares",
        )  # fmt: skip
        self.faults.append((None, path, fault))

    def borrow(self, path: str, shape: tuple[int, ...], role: Role) -> Value:
        """The parameter at an absolute path, read in the outermost region."""
        key = ("borrow", path)
        params = {"value": Param(path=path, shape=shape, role=role)}
        op = Parameter(shape=shape, borrowed=True)
        value = self.hoist(key, [], (), lambda: self.write(op, name="borrowed", params=params))
        return self.draft.use(value)

    def table(self, block: Block, name: str) -> Table:
        """The token table that ``tied_to: name`` means for ``block``.

        Raises:
            Unexpanded: there is none.
        """
        path = self._table_path(name)
        if path is None:
            self.refuse(block, Fault(
                code="FX0701", field="tied_to", message="no block here owns a token table by this name",
                expected=f"one of {', '.join(self.tables)}" if self.tables else "an embedding", found=name,
                cure=f"write {next(iter(self.tables), 'the name of an embedding')}",
            ))  # fmt: skip
        assert path is not None
        return self.tables[path]

    def _table_path(self, name: str) -> str | None:
        scope, _, _ = self.absolute.rpartition(".")
        return next((path for path in (join(scope, name), name) if path in self.tables), None)

    def tied(self, table: Table) -> Param | Value:
        """A token table to be used as a weight here."""
        shape = (table.rows, table.width)
        if self.draft.parent is None and table.at_root:
            return Param(path=table.path, shape=shape, role="embedding", width=table.width)
        return self.borrow(table.path, shape, "embedding")

    def tied_linear(self, x: Value, rows: int, weight: Param | Value, bias: str | None) -> Value:
        """Scores by a table that an embedding owns, with a bias parameter of that name if any."""
        params = {"weight": weight}
        if bias is not None:
            params["bias"] = self.param(bias, (rows,), "bias")
        return self.write(Linear(d_out=rows, tied=True), x, name="table", params=params)

    def tied_embedding(self, ids: Value, rows: int, width: int, weight: Param | Value) -> Value:
        """Rows of a table that another embedding owns."""
        return self.write(Embedding(rows=rows, width=width, tied=True), ids, name="tokens", params={"weight": weight})

    def experts(
        self, x: SequenceEdge, index: Value, weights: Value, expert: Block, n_experts: int, name: str
    ) -> Value:
        """Sum over the chosen experts of weight * expert(x); the expert's parameters get a leading axis."""
        tokens = Type("f32", (symbol("tokens"), x.width))
        outer = self.draft
        self.draft = Draft("expert", absolute=join(self.absolute, name), parent=outer, width=x.width)
        try:
            inner = self.draft.input("x", tokens)
            result = expert.expand(self, x=replace(x, x=inner))
            assert isinstance(result, SequenceEdge)
            body = self.draft.seal((result.x,))
            assert not self.draft.captures and not body.side, "an expert reads nothing but its tokens"
        finally:
            self.draft = outer
        params = {
            param.path: self.param(join(name, param.path), (n_experts, *param.shape), param.role)
            for param in body.params
        }
        op = Experts(n_experts=n_experts, body=body)
        return self.write(op, x.x, index, weights, name=name, params=params)

    def rotate(self, x: Value, table: tuple[Value, Value], *, dim: int, style: Literal["half", "interleaved"]) -> Value:
        """``x [batch, heads, seq, head_dim]`` with its first ``dim`` channels turned by a rotary table."""
        return self.write(Rotate(dim=dim, style=style), x, *table, name="rotate")

    def _owned(self, owner: str) -> dict[str, Param]:
        """Parameters below an absolute path that are written already."""
        root = self.draft
        while root.parent is not None:
            root = root.parent
        found: dict[str, Param] = {}
        for node in root.nodes:
            if isinstance(node, Call):
                found |= {join(at, p.path): p for at, region in walk(node.region, node.weights) for p in region.params}
            else:
                found |= {p.path: p for p in node.params.values() if isinstance(p, Param)}
        return {path: param for path, param in found.items() if path.startswith(f"{owner}.")}

    # ---- regions

    def _call(self, block: Block, name: str, weights: str, ports: dict[str, Any]) -> dict[str, Any]:
        path = join(self.absolute, name)
        reuse: str | None = None
        borrowing = next((p for p in self._borrowed if path == p or path.startswith(f"{p}.")), None)
        key = _key(block, ports, self.draft, self._provided)
        if borrowing is not None:
            owner = self._borrowed[borrowing] + path[len(borrowing) :]
            self._borrowed, kept = {}, self._borrowed
            plain = self._written(block, path, ports)
            self._borrowed = kept
            same = owner in self._expanded and structure(self._expanded[owner]) == structure(plain[0])
            reuse = owner if same and self.draft.parent is None else None
            written = plain if reuse else self._written(block, path, ports)
        elif key in self._regions:
            written = self._regions[key]
        else:
            written = self._regions[key] = self._written(block, path, ports)
            self._alive.append((block, ports))
        region, captures, result = written
        self._expanded.setdefault(path, region)
        inputs = [value for edge in ports.values() for value in _values(edge)]
        call = Call(
            region=region,
            inputs=tuple(self.draft.use(value) for value in (*inputs, *captures)),
            outputs=tuple(
                self.draft.new(name.rpartition(".")[2] if not name[-1].isdigit() else "h", value.type)
                for value in (*region.outputs, *region.side.values())
            ),
            path=self.draft.path(name),
            weights=reuse or self.draft.path(weights),
        )
        self.draft.nodes.append(call)
        for path_, value in zip(region.side, call.outputs[len(region.outputs) :], strict=True):
            self.draft.side[join(call.path, path_)] = value
        outputs = _rebound(result, iter(call.outputs))
        self.draft.marks[call.path] = call.outputs[0]
        return outputs

    def _written(self, block: Block, path: str, ports: dict[str, Any]) -> tuple[Region, tuple[Value, ...], Any]:
        """A new region of one block: it, the outer values it reads, and its outputs by port."""
        outer = self.draft
        self.draft = Draft(path.rpartition(".")[2], absolute=path, parent=outer, width=_width(ports))
        if self.draft.name.isdigit():
            self.draft.name = block.kind.replace(":", "_")
        try:
            inner = {port: _rebound(edge, iter(self._formals(port, edge))) for port, edge in ports.items()}
            result = self._outputs(block, inner)
            region = self.draft.seal(tuple(value for edge in result.values() for value in _values(edge)))
            return region, tuple(self.draft.captures), result
        finally:
            self.draft = outer

    def _formals(self, port: str, edge: Any) -> list[Value]:
        values = _values(edge)
        return [self.draft.input(port, value.type) for value in values]

    def _outputs(self, block: Block, ports: dict[str, Any]) -> dict[str, Any]:
        result = block.expand(self, **ports)
        if not isinstance(result, dict):
            result = {MAIN_OUTPUT[result.type_name]: result}
        first = next(iter(result.values()))
        if not isinstance(first, list):
            self.draft.marks[self.draft.path()] = _values(first)[0]
        return cast("dict[str, Any]", result)


def _values(edge: Any) -> list[Value]:
    """The values an edge consists of that are not its axis's."""
    if isinstance(edge, list):
        return [value for one in cast("list[Edge]", edge) for value in _values(one)]
    if isinstance(edge, Tokens):
        return [edge.ids]
    assert isinstance(edge, SequenceEdge | Vector | Logits)
    return [edge.x]


def _rebound(edge: Any, values: Iterator[Value]) -> Any:
    """The same edge (or mapping or list of edges) made of other values."""
    if isinstance(edge, dict):
        return {port: _rebound(one, values) for port, one in cast("dict[str, Any]", edge).items()}
    if isinstance(edge, list):
        return [_rebound(one, values) for one in cast("list[Any]", edge)]
    if isinstance(edge, Tokens):
        return Tokens(ids=next(values), axis=edge.axis)
    if isinstance(edge, Logits):
        return Logits(x=next(values))
    assert isinstance(edge, SequenceEdge | Vector)
    return edge.of(next(values))


def _signature(edge: Any) -> object:
    """What of an edge a region depends on: types and the axis, not the values."""
    if isinstance(edge, list):
        return tuple(_signature(one) for one in cast("list[Edge]", edge))
    return (type(edge), tuple(value.type for value in _values(edge)), id(getattr(edge, "axis", None)))


def _key(block: Block, ports: Mapping[str, Any], draft: Draft, provided: Mapping[str, Any]) -> object:
    """Two calls with one key are instances of one region."""
    edges = tuple((port, _signature(edge)) for port, edge in ports.items())
    return (id(block), edges, id(draft), tuple((name, id(thing)) for name, thing in provided.items()))


def _width(ports: Mapping[str, Any]) -> int:
    """Width of the main input, 0 for tokens."""
    first = next(iter(ports.values()), None)
    first = first[0] if isinstance(first, list) and first else first
    return first.width if isinstance(first, SequenceEdge | Vector) else 0

