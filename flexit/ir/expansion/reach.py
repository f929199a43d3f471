"""Whether a table of positions reaches over a length that no input changes; of other lengths sessions refuse what is
longer.
"""

from __future__ import annotations

from collections.abc import Iterator

from flexit.ir.block import Fault
from flexit.ir.expansion.edges import Sequence


def check_reach(field: str, limit: int | None, x: Sequence) -> Iterator[Fault]:
    """FX0206 at a field, where ``x`` always has more positions than ``limit``."""
    if limit is not None and isinstance(x.axis.seq, int) and x.axis.seq > limit:
        yield Fault(
            code="FX0206", field=field, message="out of range", found=str(limit),
            expected=f"at least {x.axis.seq}, the positions that x always has", cure=f"set {field} to {x.axis.seq}",
        )  # fmt: skip
