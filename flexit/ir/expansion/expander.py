"""What a block's expand() is given: the primitive ops, and what blocks share beyond them: nested blocks and regions,
axes, masks, rotary tables, states, token tables, side outputs.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Literal, cast

from flexit.ir.block import Block, Fault, TokenTable
from flexit.ir.dims import Size, symbol
from flexit.ir.expansion.drafts import Draft
from flexit.ir.expansion.edge_values import rebound, region_key, values_of, width_of
from flexit.ir.expansion.edges import MAIN_OUTPUT
from flexit.ir.expansion.edges import Sequence as SequenceEdge
from flexit.ir.expansion.refusals import Refusals, Unexpanded
from flexit.ir.expansion.shared_parameters import join_shared, kept
from flexit.ir.ops.embedding import Embedding
from flexit.ir.ops.experts import Experts
from flexit.ir.ops.linear import Linear
from flexit.ir.ops.parameter import Parameter
from flexit.ir.ops.rotate import Rotate
from flexit.ir.program import Call, Node, Param, Region, Role, Value, join, walk
from flexit.ir.types import Type
from flexit.ir.valid import Valid


@dataclass(frozen=True, slots=True)
class Table(TokenTable):
    """A token table that heads and other embeddings may be tied to; paths are absolute.

    Attributes:
        at_root: whether the outermost region holds its parameters.
    """

    at_root: bool = False


@dataclass(eq=False)
class Expander(Refusals):
    """Expands blocks into regions of ops.

    Attributes:
        tables: token tables by the absolute path of the block that owns them.
        faults: what check_ports() found, with the block.
        cached: whether states are written at all (a decoded axis exists).
        compact: whether they have their compact form where a block has one; compacted: whether any does.
        why_not_packed: the first block that would mix the documents of packed rows, and how.
    """

    tables: Mapping[str, Table]
    cached: bool
    compact: bool = False
    compacted: bool = False
    draft: Draft = field(default_factory=lambda: Draft("main"))
    faults: list[tuple[Block | None, str, Fault]] = field(default_factory=list[tuple[Block | None, str, Fault]])
    replaced: set[str] = field(default_factory=set[str])
    why_not_packed: str = ""
    valid: dict[Size, frozenset[Valid]] = field(default_factory=dict[Size, "frozenset[Valid]"])
    _regions: dict[object, tuple[Region, tuple[Value, ...], Any]] = field(default_factory=dict[object, Any])
    _provided: dict[str, Any] = field(default_factory=dict[str, Any])
    _alive: list[object] = field(default_factory=list[object])

    # ---- blocks

    def block(self, block: Block, name: str, **ports: Any) -> dict[str, Any]:
        """Expand a nested block at ``name``, as a region of its own if its class says so.

        Args:
            block: the block.
            name: its path below the current one.
            ports: its wired edges.

        Returns:
            Output ports by name, the main one first.

        Raises:
            Unexpanded: the block or one inside it has faults.
        """
        return self._expanded(block, name, ports, in_field=False)

    def main(self, block: Block, name: str, **ports: Any) -> Any:
        """Like :meth:`block`, the main output only, of a block that stands in a field of the current one."""
        return next(iter(self._expanded(block, name, ports, in_field=True).values()))

    def _expanded(self, block: Block, name: str, ports: dict[str, Any], *, in_field: bool) -> dict[str, Any]:
        """One more call of a region that is known, or what is written for a block whose ports are right."""
        key = region_key(block, ports, self.draft, provided=self._provided) if block.region else None
        if key is not None and key in self._regions:
            return self._called(name, ports, self._regions[key])
        if in_field:
            self.require_ports(block, name, ports)
        if block.why_not_packed and not self.why_not_packed:
            self.why_not_packed = f"{join(self.absolute, name)} {block.why_not_packed}"
        found = list(block.check_ports(**ports))
        if found:
            self.faults += [(block, join(self.absolute, name), fault) for fault in found]
            raise Unexpanded
        if key is None:
            with self.inside(name, width_of(ports)):
                return self._outputs(block, ports)
        self._regions[key] = self._written(block, join(self.absolute, name), ports)
        self._alive.append((block, ports, self.draft, self._provided))
        return self._called(name, ports, self._regions[key])

    def parameters(self, name: str) -> dict[str, tuple[int, ...]]:
        """Shapes of the parameters of the block that was expanded at ``name``, by their path in it; those that
        blocks in it share, once.
        """
        prefix = f"{self.draft.path(name)}."
        found: dict[str, Param] = {}
        for node in self.draft.nodes:
            if isinstance(node, Node):
                found |= {param.path: param for param in node.params.values() if isinstance(param, Param)}
            elif f"{node.weights}.".startswith(prefix):
                inside = walk(node.region, node.weights)
                found |= {join(at, param.path): param for at, region in inside for param in region.params}
        below = {path: param for path, param in found.items() if path.startswith(prefix)}
        return {path.removeprefix(prefix): param.shape for path, param in kept(below, self.draft.owners).items()}

    def share(self, name: str, owner: str) -> None:
        """Let the block at ``name`` use the parameters of the one at ``owner``, both below the current path."""
        self.draft.owners[self.draft.path(name)] = self.draft.path(owner)

    @contextmanager
    def inside(self, name: str, width: int) -> Generator[None]:
        """Write below ``name``."""
        draft = self.draft
        before = (draft.scope, draft.width)
        draft.scope, draft.width = (*draft.scope, *name.split(".")) if name else draft.scope, width
        try:
            yield
        finally:
            draft.scope, draft.width = before

    def side(self, name: str, value: Value) -> None:
        """Expose an auxiliary value (router logits) under the current path."""
        self.draft.side[self.draft.path(name)] = value

    def residual_branch(self) -> None:
        """Count a residual branch, for depth-scaled initialisation."""
        self.draft.branches += 1

    # ---- context

    @contextmanager
    def providing(self, name: str, thing: Any) -> Generator[None]:
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

    def hoist(self, key: object, anchors: Sequence[Value], path: tuple[str, ...], *, make: Callable[[], Any]) -> Any:
        """Make something once in the outermost region where all ``anchors`` are known, and share it.

        Args:
            key: what makes two requests the same; anchors are part of it.
            anchors: values it depends on.
            path: scope there, for parameters.
            make: writes it.
        """
        return self._once(self.draft.outermost_seeing(anchors), (key, tuple(anchors)), path, make=make)

    def _once(self, home: Draft, key: object, path: tuple[str, ...], *, make: Callable[[], Any]) -> Any:
        """What ``make`` writes in a region around the current one, written there once."""
        if key not in home.memo:
            current, scope, width = self.draft, home.scope, home.width
            self.draft, home.scope = home, path
            try:
                home.memo[key] = make()
            finally:
                home.scope, home.width, self.draft = scope, width, current
        return home.memo[key]

    # ---- parameters of other blocks

    def borrow(self, path: str, shape: tuple[int, ...], role: Role) -> Value:
        """The parameter at an absolute path, read in the innermost region that it lies in."""
        home = self.draft.home_of(path)
        params = {"value": Param(path=home.local(path), shape=shape, role=role)}
        op = Parameter(shape=shape, borrowed=True)
        value = self._once(home, ("borrow", path), (), make=lambda: self.write(op, name="borrowed", params=params))
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
        return self._lent(table, table.path, (table.rows, table.width), role="embedding")

    def _lent(self, table: Table, path: str, shape: tuple[int, ...], *, role: Role) -> Param | Value:
        """A parameter of the embedding that owns a table."""
        if self.draft.parent is None and table.at_root:
            return Param(path=path, shape=shape, role=role, width=table.model_width)
        return self.borrow(path, shape, role)

    def tied_linear(self, x: Value, table: Table, *, bias: str | None) -> Value:
        """Scores by a table that an embedding owns, with a bias parameter of that name if any."""
        params = {"weight": self.tied(table)}
        if bias is not None:
            params["bias"] = self.param(bias, (table.rows,), "bias")
        return self.write(Linear(d_out=table.rows, tied=True), x, name="table", params=params)

    def tied_embedding(self, ids: Value, table: Table) -> Value:
        """Rows of a table that another embedding owns."""
        op = Embedding(rows=table.rows, width=table.width, tied=True)
        return self.write(op, ids, name="tokens", params={"weight": self.tied(table)})

    def tied_projection(self, x: Value, table: Table) -> Value:
        """Rows of such a table, or what was added to them, in the model's width."""
        held = table.projection
        assert held is not None
        shapes = {"weight": (held.width, table.width)} | ({"bias": (held.width,)} if held.bias else {})
        roles: dict[str, Role] = {"weight": "projection", "bias": "bias"}
        params = {
            slot: self._lent(table, f"{held.path}.{slot}", shape, role=roles[slot]) for slot, shape in shapes.items()
        }
        return self.write(Linear(d_out=held.width, tied=True), x, name="projection", params=params)

    def experts(
        self, x: SequenceEdge, expert: Block, name: str, *, n_experts: int, index: Value, weights: Value,
        weight_on: Literal["output", "input"] = "output",
    ) -> Value:  # fmt: skip
        """Sum over the chosen experts of weight * expert(x); the expert's parameters get a leading axis.

        Args:
            x: the tokens.
            expert: the block that every expert is.
            name: where its parameters are.
            n_experts: how many there are to choose from.
            index: the experts chosen per token.
            weights: what each of their results counts.
            weight_on: whether they multiply what an expert gives or what it reads.
        """
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
            param.path: replace(
                param,
                path=self.draft.path(join(name, param.path)),
                shape=(n_experts, *param.shape),
                first_value=None if param.first_value is None else param.first_value * n_experts,
            )
            for param in body.params
        }
        op = Experts(n_experts=n_experts, body=body, weight_on=weight_on)
        return self.write(op, x.x, index, weights, name=name, params=params)

    def rotate(self, x: Value, table: tuple[Value, Value], *, dim: int, style: Literal["half", "interleaved"]) -> Value:
        """``x [batch, heads, seq, head_dim]`` with its first ``dim`` channels turned by a rotary table."""
        return self.write(Rotate(dim=dim, style=style), x, *table, name="rotate")

    # ---- regions

    def _called(
        self, name: str, ports: dict[str, Any], written: tuple[Region, tuple[Value, ...], Any]
    ) -> dict[str, Any]:
        """A call at ``name`` of a region with its captures and its outputs by port."""
        region, captures, result = written
        draft, path = self.draft, self.draft.path(name)
        inputs = [value for edge in ports.values() for value in values_of(edge)]
        hint = "h" if name[-1].isdigit() else name.rpartition(".")[2]
        call = Call(
            region=region,
            inputs=tuple([draft.use(value) for value in (*inputs, *captures)]),
            outputs=tuple([draft.new(hint, value.type) for value in (*region.outputs, *region.side.values())]),
            path=path,
            weights=path,
        )
        draft.nodes.append(call)
        for below, value in zip(region.side, call.outputs[len(region.outputs) :], strict=True):
            draft.side[join(path, below)] = value
        draft.marks[path] = call.outputs[0]
        return rebound(result, iter(call.outputs))

    def seal(self, outputs: tuple[Value, ...]) -> Region:
        """The region that was written, with what shares in it joined."""
        region, faults = join_shared(self.draft.seal(outputs), self.draft.owners)
        self.faults += [(None, join(self.draft.absolute, name), fault) for name, fault in faults]
        return region

    def _written(self, block: Block, path: str, ports: dict[str, Any]) -> tuple[Region, tuple[Value, ...], Any]:
        """A new region of one block: it, the outer values it reads, and its outputs by port."""
        outer = self.draft
        self.draft = Draft(path.rpartition(".")[2], absolute=path, parent=outer, width=width_of(ports))
        if self.draft.name.isdigit():
            self.draft.name = block.kind.replace(":", "_")
        try:
            inner = {port: rebound(edge, iter(self._formals(port, edge))) for port, edge in ports.items()}
            result = self._outputs(block, inner)
            region = self.seal(tuple(value for edge in result.values() for value in values_of(edge)))
            return region, tuple(self.draft.captures), result
        finally:
            self.draft = outer

    def _formals(self, port: str, edge: Any) -> list[Value]:
        return [self.draft.input(port, value.type) for value in values_of(edge)]

    def _outputs(self, block: Block, ports: dict[str, Any]) -> dict[str, Any]:
        result = block.expand(self, **ports)
        if not isinstance(result, dict):
            result = {MAIN_OUTPUT[result.type_name]: result}
        first = next(iter(result.values()))
        if not isinstance(first, list):
            self.draft.marks[self.draft.path()] = values_of(first)[0]
        return cast("dict[str, Any]", result)
