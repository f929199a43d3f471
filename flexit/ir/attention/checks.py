"""What may be wrong with an attention's heads, its rotation, and what it cannot do over another sequence."""

from __future__ import annotations

from collections.abc import Iterator

from flexit.ir.block import Block, Fault
from flexit.ir.expansion.edges import Sequence
from flexit.ir.language.masks import Mask
from flexit.ir.language.rotary import Rotary
from flexit.ir.wording import divisors, either, shown


def check_groups(n_heads: int, groups: int | None) -> Iterator[Fault]:
    """Key heads that do not divide the query heads."""
    if groups is not None and n_heads % groups:
        known = divisors(n_heads)
        near = [n for n in known if n < groups][-1:] + [n for n in known if n > groups][:1]
        yield Fault(
            code="FX0404", field="n_kv_heads", message="does not divide n_heads",
            expected=f"a divisor of n_heads, which is {n_heads}{{line n_heads}}: {either(map(str, known))}",
            found=str(groups), cure=f"set n_kv_heads to {either(map(str, near))}",
        )  # fmt: skip


def check_heads(n_heads: int, width: int, *, groups: int | None, rotary: Rotary | None) -> Iterator[Fault]:
    """Heads that do not divide the width, where ``head_dim`` is not written.

    Args:
        n_heads: of the queries.
        width: of what is split into heads.
        groups: key heads, where they are written; what is proposed fits them, and so does ``rotary``.
        rotary: what turns the channels of a head.
    """
    if width % n_heads:
        fit = [n for n in divisors(width) if not n % (groups or 1)]
        if rotary is not None:
            fit = [n for n in fit if not any(check_rotary(rotary, width // n, written=False))]
        near = sorted(fit, key=lambda n: abs(n - n_heads))[:3]
        cure = f"set n_heads to {either(map(str, sorted(near)))}, or write head_dim" if near else "write head_dim"
        yield Fault(
            code="FX0403", field="n_heads", message="does not divide the width of x",
            expected=f"a divisor of {width}, or head_dim written", found=str(n_heads), cure=cure,
        )  # fmt: skip


def missing_mask() -> Fault:
    """Self-attention without a mask."""
    return Fault(
        code="FX0202", field="mask", message="required field is missing",
        expected="a Mask: full, causal or prefix (there is no default)", found="nothing",
        cure="add mask: causal for a language model, mask: full for an encoder",
    )  # fmt: skip


def check_rotary(rotary: Rotary, head_dim: int, *, written: bool) -> Iterator[Fault]:
    """Channels that cannot turn; ``written``: the user chose ``head_dim``."""
    dim = rotary.dim or head_dim
    if dim > head_dim:
        yield Fault(
            code="FX0405", field="rotary.dim", message="more channels than a head has", found=str(dim),
            expected=f"at most head_dim, which is {head_dim}", cure=f"set rotary.dim to {head_dim} or less",
        )  # fmt: skip
    elif dim % 2:
        because = "" if rotary.dim else ", because rotary.dim is head_dim unless written"
        cure = f"write rotary: {{dim: {dim - 1}}}" if dim > 2 else "make head_dim even"
        yield Fault(
            code="FX0405", field="rotary.dim" if rotary.dim else "head_dim" if written else "rotary",
            message="odd number of rotated channels",
            expected="an even number, since rotary turns channels in pairs", found=f"{dim}{because}",
            cure=f"make head_dim even, or {cure}" if dim > 2 else cure,
        )  # fmt: skip
    else:
        yield from rotary.check_scaling(head_dim)


def check_prefix(mask: Mask, x: Sequence) -> Iterator[Fault]:
    """A prefix where nobody can say how long it is."""
    if mask.reads_prefix and x.axis.prefix_lengths is None:
        yield Fault(
            code="FX0501", field="mask", message="has no effect",
            expected=f"causal: {x.axis.described} is made inside the model, which no prefix_lengths are given for",
            found="prefix", cure="write mask: causal",
        )  # fmt: skip


def check_cross(block: Block, memory: Sequence, *, rotary: bool, bias: bool, mask: bool) -> Iterator[Fault]:
    """Fields that mean nothing over another sequence; each flag says whether that one is there."""
    refused = [
        (rotary, "rotary", "rotation in cross-attention"),
        (bias, "scores.bias", "a score bias in cross-attention"),
        (mask, "mask", "a mask in cross-attention"),
    ]
    for there, field, message in refused:
        if not there:
            continue
        legal, reason = "null", "whose positions cannot be compared"
        if field == "mask":
            legal, reason = "full", "all of whose unpadded keys are visible"
        written = "" if block.node is None else shown(block.node.find(tuple(field.split(".")))[0].plain())
        yield Fault(
            code="FX0502", field=field, message=message,
            expected=f"{legal}: memory is another sequence ({memory.axis.described}), {reason}",
            found=written or "one", cure=f"delete {field} here; keep it in attention",
        )  # fmt: skip
