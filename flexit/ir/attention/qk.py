"""What happens to queries and keys between projection and scores: norms and rotation."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar, Literal

from flexit.ir.attention.projections import channels, joined, split
from flexit.ir.block import Fault, Norm
from flexit.ir.edges import Axis
from flexit.ir.language import Group
from flexit.ir.program import Value
from flexit.ir.rotary import Rotary

if TYPE_CHECKING:
    from flexit.ir.expander import Expander


class Qk(Group):
    """What happens to q and k between projection and scores."""

    later: ClassVar[tuple[str, ...]] = ("gain", "v_norm")

    norm: Norm | None = None
    """On q and k."""
    over: Literal["head", "all"] = "head"
    """Statistics per head, or over all heads at once (OLMo2)."""
    at: Literal["before_rotary", "after_rotary"] = "before_rotary"
    """Only with rotary; after: Hunyuan."""

    def check_with(self, rotary: Rotary | None) -> Iterator[Fault]:
        """Values without effect."""
        if self.at != "before_rotary" and rotary is None:
            yield Fault(
                code="FX0501", field="qk.at", message="has no effect", expected="before_rotary, since rotary is null",
                found=self.at, cure="delete qk.at, or write rotary: {}",
            )  # fmt: skip
        if self.norm is None and (self.over != "head" or self.at != "before_rotary"):
            field = "over" if self.over != "head" else "at"
            yield Fault(
                code="FX0501", field=f"qk.{field}", message="has no effect",
                expected="the default, since qk.norm is null", found=str(getattr(self, field)),
                cure=f"delete qk.{field}, or write qk.norm",
            )  # fmt: skip

    def heads(
        self, e: Expander, h: Value, name: str, *, heads: int, axis: Axis, rotary: Rotary | None
    ) -> Value:  # fmt: skip
        """Heads of q or k, normed (with parameters at ``name``) and rotated: ``[batch, heads, seq, head_dim]``."""
        late = self.at == "after_rotary"
        if not late:
            h = self._over_all(e, h, name)
        h = e.reshape(h, "=0", "=1", heads, channels(h) // heads)
        if not late:
            h = self._per_head(e, h, name)
        h = e.permute(h, 0, 2, 1, 3)
        if rotary is not None:
            h = _rotated(e, h, axis, rotary=rotary)
        if late and self.over == "all":
            h = split(e, self._over_all(e, joined(e, h), name), heads)
        return self._per_head(e, h, name) if late else h

    def _over_all(self, e: Expander, h: Value, name: str) -> Value:
        """All heads normed at once, where that is asked for: ``[batch, seq, heads * head_dim]``."""
        return self.norm.apply(e, h, name) if self.norm is not None and self.over == "all" else h

    def _per_head(self, e: Expander, h: Value, name: str) -> Value:
        """Each head normed, where that is asked for: ``[..., head_dim]``."""
        return self.norm.apply(e, h, name) if self.norm is not None and self.over == "head" else h


def _rotated(e: Expander, h: Value, axis: Axis, *, rotary: Rotary) -> Value:
    dim = rotary.dim or channels(h)
    return e.rotate(h, e.rotary(axis, dim=dim, theta=rotary.theta), dim=dim, style=rotary.style)
