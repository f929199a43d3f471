"""What is known about the length axis of a sequence, in ops: masks, slots, rotary tables, and states along it."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

from flexit.ir.dims import Size, between
from flexit.ir.expansion.edges import Axis, Tokens
from flexit.ir.expansion.vocabulary import Vocabulary
from flexit.ir.ops.append import Append
from flexit.ir.ops.downsample import Downsample
from flexit.ir.ops.extent import Extent
from flexit.ir.ops.given import Given
from flexit.ir.ops.keep import Keep
from flexit.ir.ops.mask import Mask, Piece
from flexit.ir.ops.positions import Positions
from flexit.ir.ops.rotary_table import RotaryTable
from flexit.ir.program import State, Value
from flexit.ir.valid import Counted, Groups, Joined, Part, Valid


class AxisVocabulary(Vocabulary):
    """Writes what blocks share about an axis, each thing once in the outermost region where it is known."""

    cached: bool
    """Whether states are written at all (a decoded axis exists)."""
    valid: dict[Size, frozenset[Valid]]
    """What is known of the padding of each length that a sequence has."""
    compact: bool
    """Whether states have their compact form where a block has one."""
    compacted: bool
    """Whether some block has been asked for it."""

    @abstractmethod
    def hoist(self, key: object, anchors: Sequence[Value], path: tuple[str, ...], *, make: Callable[[], Any]) -> Any:
        """Make something once where all ``anchors`` are known, and share it."""

    def axis(
        self, key_mask: Value, *, described: str, seq: Size, valid: Valid, position_ids: Value | None = None,
        prefix_lengths: Value | None = None, documents: Value | None = None,
    ) -> Axis:  # fmt: skip
        """The axis whose slots ``key_mask [batch, total]`` describes; the last three are optional inputs."""
        total = key_mask.dims[1]
        anchors = [key_mask]
        self._note(seq, valid)
        rank = self.hoist("rank", anchors, (), make=lambda: self._positions(Positions(), key_mask, documents))
        new_mask, new_rank = key_mask, rank
        if total != seq:
            new_mask = self.hoist("new_mask", anchors, (), make=lambda: self._last(key_mask, seq))
            new_rank = self.hoist("new_rank", anchors, (), make=lambda: self._last(rank, seq))
        ids = new_rank
        if position_ids is not None:
            ids = self.write(Given(), position_ids, new_rank, name="position_ids")
        return Axis(
            key_mask=key_mask, new_mask=new_mask, key_rank=rank, new_rank=new_rank, position_ids=ids,
            passed_ids=position_ids, seq=seq, total=total, decoded=total != seq, described=described,
            valid=valid, prefix_lengths=prefix_lengths, documents=documents,
        )  # fmt: skip

    def _positions(self, op: Positions, mask: Value, documents: Value | None) -> Value:
        """Ranks or slots, in the document where rows are packed."""
        name = "rank" if op.kind == "valid" else "slots"
        return self.write(op, mask, *([] if documents is None else [documents]), name=name)

    def _note(self, seq: Size, valid: Valid) -> None:
        self.valid[seq] = self.valid.get(seq, frozenset()) | {valid}

    def shortened(self, axis: Axis, factor: int) -> Axis:
        """The axis of groups of ``factor`` neighbours. The same one for everything on ``axis``, in any region."""

        def make() -> Axis:
            members = self.reshape(self.cast(axis.new_mask, "f32"), "=0", "=1", 1)
            op = Downsample(factor=factor, method="max")
            _, mask = self.write_many(op, members, axis.new_mask, name="groups")
            valid = Groups(axis.valid, factor)
            return self.axis(mask, described=f"ceil({axis.described} / {factor})", seq=mask.dims[1], valid=valid)

        return self.hoist(("shortened", factor), [axis.new_mask], (), make=make)

    def counted(self, count: int, like: Value) -> Axis:
        """The axis of ``count`` slots without padding, in every row that ``like`` has."""

        def make() -> Axis:
            ones = self.constant([1] * count, (1, count), dtype="i64")
            return self.axis(self.repeat(ones, 0, like), described=str(count), seq=count, valid=Counted(count))

        return self.hoist(("counted", count), [like], (), make=make)

    def joined(self, axes: Sequence[Axis]) -> Axis:
        """The axis of these one after the other, counted anew. The same one for everything joined of them."""

        def make() -> Axis:
            mask = self.concat([axis.new_mask for axis in axes], 1)
            described = " + ".join(axis.described for axis in axes)
            valid = Joined(tuple(axis.valid for axis in axes))
            return self.axis(mask, described=described, seq=mask.dims[1], valid=valid)

        return self.hoist("joined", [axis.new_mask for axis in axes], (), make=make)

    def part(self, axis: Axis, start: int, stop: int | None) -> Axis:
        """A range of an axis as Python slices, which keeps slots, ranks and position ids; the whole is the axis."""
        begin, end = between(axis.seq, start, stop)
        if begin == 0 and end == axis.seq:
            return axis

        def make() -> Axis:
            mask, rank, ids = (
                self.slice(value, 1, start=begin, stop=end)
                for value in (axis.new_mask, axis.new_rank, axis.position_ids)
            )
            self._note(mask.dims[1], Part(axis.valid, start, stop))
            known = self.known_documents(axis)
            documents = None if known is None else self.slice(known, 1, start=begin, stop=end)
            return Axis(
                key_mask=mask, new_mask=mask, key_rank=rank, new_rank=rank, position_ids=ids, passed_ids=None,
                seq=mask.dims[1], total=mask.dims[1], decoded=False, part=(axis, start, stop),
                valid=Part(axis.valid, start, stop), prefix_lengths=axis.prefix_lengths, documents=documents,
                described=f"slots {start} to {'the end' if stop is None else stop} of {axis.described}",
            )  # fmt: skip

        anchors = [axis.new_mask, axis.new_rank, axis.position_ids]
        return self.hoist(("part", start, stop), anchors, (), make=make)

    def known_documents(self, axis: Axis) -> Value | None:
        """The documents of an axis, all of them one where none are passed."""
        if axis.documents is None:
            return None
        return self.write(Given(fallback="zero"), axis.documents, self.mul(axis.new_mask, 0.0), name="documents")

    def _part_of(self, axis: Axis, of: Callable[[Axis], Value]) -> Value:
        """What a range has of what the axis around it has."""
        assert axis.part is not None
        whole, start, stop = axis.part
        begin, end = between(whole.seq, start, stop)
        return self.slice(of(whole), 1, start=begin, stop=end)

    def slots(self, axis: Axis) -> Value:
        """Slots of this step's tokens in their row or document, ``i64[batch, seq]``, cached ones counted."""

        def make() -> Value:
            if axis.part is not None:
                return self._part_of(axis, self.slots)
            slots = self._positions(Positions(kind="slot"), axis.key_mask, axis.documents)
            return slots if axis.total == axis.seq else self._last(slots, axis.seq)

        return self.hoist("slots", [axis.key_mask], (), make=make)

    def slot_ids(self, axis: Axis) -> Value:
        """The position ids that were passed, else the slots: ``i64[batch, seq]``."""
        if axis.part is not None:
            make = lambda: self._part_of(axis, self.slot_ids)  # noqa: E731
            return self.hoist("slot_ids", [axis.key_mask], (), make=make)
        slots, passed = self.slots(axis), axis.passed_ids
        if passed is None:
            return slots
        op = Given(fallback="slot")
        return self.hoist(op, [passed, slots], (), make=lambda: self.write(op, passed, slots, name="position_ids"))

    def counted_ids(self, tokens: Tokens, *, pad_id: int) -> Value:
        """The position ids that were passed, else a running count of the tokens that are neither ``pad_id`` nor hidden,
        + ``pad_id``, which others get: ``i64[batch, seq]``.
        """
        axis = tokens.axis
        apart = self.add(tokens.ids, float(-pad_id))
        counts = self.mul(self.binary("min", self.mul(apart, apart), 1.0), axis.new_mask)
        counted = self.append(counts, axis, "positions.counted", dim=1)
        before = self._positions(Positions(), counted, axis.documents)
        before = before if axis.total == axis.seq else self._last(before, axis.seq)
        ids = self.add(self.mul(self.add(before, 1.0), counts), float(pad_id))
        if axis.passed_ids is None:
            return ids
        return self.write(Given(fallback="count", first=pad_id + 1), axis.passed_ids, ids, name="position_ids")

    def _last(self, x: Value, seq: Size) -> Value:
        """The last ``seq`` entries of ``x [batch, total]``."""
        total = x.dims[1]
        return self.slice(x, 1, start=total - seq, stop=total)

    def mask(
        self, axis: Axis, pieces: Sequence[Piece] = (), *, keep_first: int = 0, causal: bool = False,
        prefix: bool = False, queries: Axis | None = None,
    ) -> Value:  # fmt: skip
        """Which keys of ``axis`` its queries see, made once per piece list.

        Args:
            axis: of the keys.
            pieces: the conditions, of queries and keys on one axis.
            keep_first: tokens that windows and chunks do not hide.
            causal: whether keys include the cached ones.
            prefix: whether the row's prefix sees itself whatever the pieces say.
            queries: another axis, whose documents see theirs where both are packed.
        """
        keys, ranks = (axis.key_mask, axis.key_rank) if causal else (axis.new_mask, axis.new_rank)
        op = Mask(pieces=tuple(pieces), keep_first=keep_first)
        compared = (axis.new_rank, ranks) if pieces else (None, None)
        lengths = axis.prefix_lengths if prefix else None
        documents = ((queries or axis).documents, axis.documents)
        documents = documents if None not in documents else (None, None)
        read = (keys, *compared, lengths, *documents)
        anchors = [value for value in read if value is not None]
        return self.hoist(op, anchors, (), make=lambda: self.write(op, *read, name="mask"))

    def rotary(self, axis: Axis, *, dim: int, theta: float) -> tuple[Value, Value]:
        """Cosines and sines for the axis's position ids. Made once per (dim, theta)."""
        op = RotaryTable(dim=dim, theta=theta)
        ids = axis.position_ids
        return self.hoist(op, [ids], (), make=lambda: self.write_many(op, ids, name="rotary"))

    def key_ids(self, axis: Axis) -> Value:
        """Position ids of all keys of ``axis``, ``i64[batch, total]``; those of cached ones are a state."""
        ids = axis.position_ids
        return self.hoist("key_ids", [ids], (), make=lambda: self.append(ids, axis, "rotary.position_ids", dim=1))

    def extent(self, axis: Axis) -> Value:
        """The largest position id of each row + 1, cached tokens counted: ``[batch, 1, 1]`` in fp32."""
        ids, mask = self.key_ids(axis), axis.key_mask

        def make() -> Value:
            return self.reshape(self.cast(self.write(Extent(), ids, mask, name="extent"), "f32"), "=0", "=1", 1)

        return self.hoist("extent", [ids, mask], (), make=make)

    # ---- states

    def compacts(self, axis: Axis) -> bool:
        """Whether a block that can keep less per token of ``axis`` should, and compute more at each step for it."""
        asked = self.compact and self.cached and axis.decoded
        self.compacted |= asked
        return asked

    def append(self, x: Value, axis: Axis, name: str, *, dim: int) -> Value:
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
