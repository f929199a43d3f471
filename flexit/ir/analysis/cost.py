"""What a model needs, computed from its program before anything is allocated."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from operator import index
from typing import Literal

from flexit.errors import UserError
from flexit.ir.analysis.kept import kept
from flexit.ir.analysis.limits import longest_within
from flexit.ir.analysis.measure import NOTHING, Amount, Measures, distinct
from flexit.ir.compile import States, compile_spec, unusable_states
from flexit.ir.ops.binary import Binary
from flexit.ir.ops.bucket import Bucket
from flexit.ir.ops.embedding import Embedding
from flexit.ir.ops.given import Given
from flexit.ir.ops.parameter import Parameter
from flexit.ir.program import Call, Node, Param, Program, Region, Value, join
from flexit.ir.spec import Spec
from flexit.ir.wording import shown

Precision = Literal["fp32", "fp16", "bf16", "int8", "int4"]
LONGEST = 2**31 - 1
DEFAULT_SEQ = 1024
LARGEST_CASE = (5, 54)
"""Sequences of the largest case of a proof, and tokens of each."""
BUFFERS = 128 * 2**20
"""Bytes that backends take for themselves."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockCost:
    """What one block needs, or each of ``count`` equal ones.

    Attributes:
        path: path of the (first) block.
        count: blocks that are the same, such as the layers of a stack; the figures are those of one.
        children: the regions inside it, equal ones together.
    """

    path: str
    count: int
    parameters: int
    active: int
    flops: int
    children: tuple[BlockCost, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What a model needs.

    Attributes:
        parameters: trained numbers, shared ones counted once.
        active: those that one token uses (of a mixture, the chosen experts).
        blocks: by block of the document.
        flops: matmul-class operations of one forward at ``lengths``, a multiply-add counted as two.
        cache_per_token: bytes in fp32 that one more token of one sequence adds to the decoding state.
        cache: bytes in fp32 of the decoding state of the whole batch at ``lengths``.
        weights: bytes of the weights by precision. ``int8`` and ``int4`` pack what only matrix products read, with an
            fp32 scale per output row or per 32 numbers, and leave the rest in fp32.
        training_peak: predicted bytes of a training step in fp32 with AdamW, beyond an idle process: 16 per parameter
            (weight, gradient, two moments; of frozen ones 4), 4 per number that the backward needs of the forward
            (``kept``), 8 more per score for the loss in pieces, and 128 MiB of buffers. Measured peaks were 93 to 109 %
            of it. With ``recompute`` it is what PyTorch asks for; where little is kept, malloc may hold up to twice as
            much in pieces.
        frozen: numbers among ``parameters`` that stay as they are.
        kept: float numbers of results that the backward needs, without the loss.
        scores: numbers of the model's outputs.
        export_peak: predicted bytes of export with proof, beyond an idle process: 12 per parameter (given and stress
            weights, and those being drawn), 12 per parameter for every op that reads it (a session of ONNX Runtime
            packs each), 4 per number of each result in the largest case of a proof, and 128 MiB of buffers. Measured
            peaks were 65 to 75 % of it.
        lengths: the length symbols and ``batch`` in numbers.
    """

    parameters: int
    active: int
    blocks: tuple[BlockCost, ...]
    flops: int
    cache_per_token: int
    cache: int
    weights: Mapping[Precision, int]
    training_peak: int
    frozen: int
    kept: int
    scores: int
    export_peak: int
    lengths: Mapping[str, int] = field(default_factory=dict[str, int])


def cost(
    model: Spec | Program, *, batch: int = 1, seq: int | Mapping[str, int] | None = None, states: States = "full",
    recompute: bool = False,
) -> Cost:  # fmt: skip
    """What a model needs for a forward over whole sequences.

    Args:
        model: a spec, or its program.
        batch: sequences.
        seq: tokens of each input, or by length symbol (``{"seq": 512, "decoder_seq": 64}``); 1024 where it is not said,
            or what the smallest position table allows.
        states: the form of what decoding keeps (of a spec; a program has its own).
        recompute: whether training computes each layer again in backward.

    Raises:
        SpecError: the spec does not expand.
        UserError: ``batch`` or ``seq`` is not positive, ``seq`` names no length of the model, or its states have no
            such form.
    """
    if isinstance(model, Program) and states != "full":
        raise unusable_states(states, "nothing: a program has its own states")
    program = model if isinstance(model, Program) else compile_spec(model, states=states)
    lengths = _lengths(program, batch, seq)
    batch = lengths["batch"]
    decoded = None if program.decoded is None else (program.decoded.seq, program.decoded.total)
    measures = Measures(lengths, decoded)
    whole = measures.region(program.root)
    scores = sum(measures.elements(value.type) for value in program.outputs.values())
    tokens = lengths[decoded[0]] if decoded else 0
    held, again = kept(program.root, measures, recompute=recompute)
    frozen = sum(param.size for param in program.params() if param.frozen)
    return Cost(
        parameters=whole.parameters,
        active=whole.active,
        blocks=_blocks(measures, program.root),
        flops=whole.flops,
        cache_per_token=4 * whole.cache_per_token,
        cache=4 * batch * (whole.cache_fixed + tokens * whole.cache_per_token),
        weights=_weights(whole),
        training_peak=16 * whole.parameters - 12 * frozen + 4 * held + max(8 * scores, 4 * again) + BUFFERS,
        frozen=frozen,
        kept=held,
        scores=scores,
        export_peak=_export_peak(program, whole, decoded),
        lengths=lengths,
    )


def _export_peak(program: Program, whole: Amount, decoded: tuple[str, str] | None) -> int:
    batch, seq = LARGEST_CASE
    lengths = {"batch": batch} | {name: seq for group in program.groups for name in (group.seq, group.total)}
    case = Measures(lengths, decoded).region(program.root)
    return 12 * (whole.parameters + whole.reads) + 4 * case.activations + BUFFERS


def count_parameters(program: Program) -> int:
    """Trained numbers, shared ones counted once."""
    return Measures(_lengths(program, 1, 1), None).region(program.root).parameters


def position_limit(program: Program) -> int | None:
    """The longest sequence that every table of positions allows, or None where there is none."""
    return min((limit for region in distinct(program.root) for limit in _position_limits(region)), default=None)


def _position_limits(region: Region) -> Iterator[int]:
    """Rows of each table of positions, less what is added to every position id; of distances that are not clipped."""
    nodes = [node for node in region.nodes if isinstance(node, Node)]
    added: dict[Value, int] = {}
    for node in nodes:
        source = node.inputs[0] if node.inputs else None
        if isinstance(node.op, Binary) and node.op.fn == "add" and node.op.scalar is not None and source is not None:
            added[node.output] = int(node.op.scalar) + added.get(source, 0)
        if isinstance(node.op, Given):
            added[node.output] = node.op.first
    lent = {node.output for node in nodes if isinstance(node.op, Parameter) and _is_position(node.params["value"])}
    for node in nodes:
        if isinstance(node.op, Embedding) and (node.params["weight"] in lent or _is_position(node.params["weight"])):
            ids = node.inputs[0]
            assert ids is not None
            yield from longest_within(ids.dims[1], node.op.rows - added.get(ids, 0))
        if isinstance(node.op, Bucket) and node.op.kind == "exact":
            yield from longest_within(node.output.dims[-1], node.op.max_distance + 1)


def _is_position(weight: Param | Value) -> bool:
    return isinstance(weight, Param) and weight.role == "position"


def _lengths(program: Program, batch: int, seq: int | Mapping[str, int] | None) -> dict[str, int]:
    given = dict(seq) if isinstance(seq, Mapping) else {}
    known = [group.seq for group in program.groups]
    unknown = [name for name in given if name not in known]
    if unknown:
        raise UserError.of(
            "FX1101", "no length of this name", expected=f"one of {', '.join(known)}", found=unknown[0],
            cure=f"write {known[0]}" if known else "leave seq out", path="seq",
        )  # fmt: skip
    unsaid = seq is None or isinstance(seq, Mapping)
    default = min(DEFAULT_SEQ, position_limit(program) or DEFAULT_SEQ) if unsaid else seq
    lengths: dict[str, object] = {"batch": batch}
    for group in program.groups:
        lengths[group.seq] = lengths[group.total] = given.get(group.seq, default)
    return {name: _size(name, value) for name, value in lengths.items()}


def _size(name: str, given: object) -> int:
    """A number of rows or tokens.

    Raises:
        UserError: FX1102, it is none.
    """
    try:
        size = None if isinstance(given, bool) else index(given)  # pyright: ignore[reportArgumentType]
    except TypeError:
        size = None
    if size is None or not 1 <= size <= LONGEST:
        raise UserError.of(
            "FX1102", f"{name} is not positive" if size is not None and size < 1 else f"{name} cannot be used",
            expected=f"an integer from 1 to {LONGEST:,}", found=shown(given), path=name,
            cure=f"give a {name} of 1 or more",
        )  # fmt: skip
    return size


def _weights(whole: Amount) -> dict[Precision, int]:
    rest = 4 * (whole.parameters - whole.matrices)
    return {
        "fp32": 4 * whole.parameters,
        "fp16": 2 * whole.parameters,
        "bf16": 2 * whole.parameters,
        "int8": rest + whole.matrices + 4 * whole.rows,
        "int4": rest + -(-whole.matrices // 2) + 4 * -(-whole.matrices // 32),
    }


def _blocks(measures: Measures, root: Region) -> tuple[BlockCost, ...]:
    """The blocks of the document that have parameters or work, in the order in which they are computed."""
    tops: dict[str, Amount] = {}
    calls: dict[str, list[Call]] = {}
    owned: set[str] = set()
    for node in root.nodes:
        tops.setdefault(_top(node.path), NOTHING)
    for path, amount in measures.params(root):
        _add(tops, path, amount)
    for node in root.nodes:
        if isinstance(node, Node):
            _add(tops, node.path, measures.node(node))
            continue
        inner = measures.region(node.region)
        _add(tops, node.path, inner.work())
        calls.setdefault(_top(node.path), []).append(node)
        if node.weights not in owned:
            owned.add(node.weights)
            _add(tops, node.weights, inner.weights())
    return tuple(
        BlockCost(
            path=name, count=1, parameters=amount.parameters, active=amount.active, flops=amount.flops,
            children=_children(measures, calls.get(name, []), name),
        )
        for name, amount in tops.items()
        if amount.parameters or amount.flops
    )  # fmt: skip


def _children(measures: Measures, calls: Iterable[Call], path: str) -> tuple[BlockCost, ...]:
    """What the calls need, those of one region together."""
    found: dict[Region, list[Call]] = {}
    for call in calls:
        found.setdefault(call.region, []).append(call)
    rows: list[BlockCost] = []
    for region, alike in found.items():
        at = alike[0].path if _top(alike[0].path) == path else join(path, alike[0].path)
        amount = measures.region(region)
        inner = [node for node in region.nodes if isinstance(node, Call)]
        rows.append(BlockCost(
            path=at, count=len(alike), parameters=amount.parameters, active=amount.active, flops=amount.flops,
            children=_children(measures, inner, at),
        ))  # fmt: skip
    return tuple(rows)


def _add(tops: dict[str, Amount], path: str, amount: Amount) -> None:
    tops[_top(path)] = tops.get(_top(path), NOTHING).plus(amount)


def _top(path: str) -> str:
    return path.partition(".")[0]
