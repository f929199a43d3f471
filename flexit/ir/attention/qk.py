"""What happens to queries and keys between projection and scores: norms and rotation."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar, Literal

from flexit.ir.attention.projections import channels, joined, split
from flexit.ir.block import Fault, Norm
from flexit.ir.dims import fixed
from flexit.ir.language.kinds import Group
from flexit.ir.language.rotary import Rotary, Rotation, Table
from flexit.ir.program import Value

if TYPE_CHECKING:
    from flexit.ir.expansion.expander import Expander


class Qk(Group):
    """What happens to q and k between projection and scores."""

    later: ClassVar[tuple[str, ...]] = ("v_norm",)

    norm: Norm | None = None
    """On q and k."""
    over: Literal["head", "all"] = "head"
    """Statistics per head, or over all heads at once (OLMo2)."""
    gain: Literal["shared", "per_head"] = "shared"
    """Gain and bias of the norm ``[head_dim]``, or ``[heads, head_dim]`` (StableLM 12B, Cohere): only over a head."""
    at: Literal["before_rotary", "after_rotary"] = "before_rotary"
    """Only with rotary; after: Hunyuan."""

    def check_with(self, rotary: Rotary | None) -> Iterator[Fault]:
        """Values without effect."""
        if self.at != "before_rotary" and rotary is None:
            yield Fault(
                code="FX0501", field="qk.at", message="has no effect", expected="before_rotary, since rotary is null",
                found=self.at, cure="delete qk.at, or write rotary: {}",
            )  # fmt: skip
        if self.norm is None:
            yield from self._check_without_norm()
        elif self.gain != "shared":
            yield from self._check_gain(self.norm)

    def _check_without_norm(self) -> Iterator[Fault]:
        default = {"over": "head", "gain": "shared", "at": "before_rotary"}
        field = next((name for name, value in default.items() if getattr(self, name) != value), None)
        if field is not None:
            yield Fault(
                code="FX0501", field=f"qk.{field}", message="has no effect",
                expected="the default, since qk.norm is null", found=str(getattr(self, field)),
                cure=f"delete qk.{field}, or write qk.norm",
            )  # fmt: skip

    def _check_gain(self, norm: Norm) -> Iterator[Fault]:
        reason, cure = "", ""
        if self.over == "all":
            reason, cure = "qk.over is all, which has a gain per channel of every head", "over: head"
        elif not any(norm.learned):
            reason, cure = "qk.norm has neither gain nor bias", "gain: true in qk.norm"
        if reason:
            yield Fault(
                code="FX0501", field="qk.gain", message="has no effect", expected=f"shared, since {reason}",
                found=self.gain, cure=f"delete qk.gain, or write {cure}",
            )  # fmt: skip

    def heads(self, e: Expander, h: Value, name: str, *, heads: int) -> Value:
        """Heads of q or k, normed (with parameters at ``name``) if that comes before the rotation:
        ``[batch, heads, seq, head_dim]``.
        """
        early = self.at == "before_rotary"
        h = self._over_all(e, h, name) if early else h
        h = e.reshape(h, "=0", "=1", heads, channels(h) // heads)
        return e.permute(self._per_head(e, h, name) if early else h, 0, 2, 1, 3)

    def turned(
        self, e: Expander, h: Value, name: str, *, rotation: Rotation | None, table: Table | None = None
    ) -> Value:
        """Heads rotated, by another table than that of this step's tokens if one is given, then normed if that comes
        last.
        """
        if rotation is not None:
            h = rotation.turned(e, h, table)
        if self.at == "before_rotary":
            return h
        if self.over == "all":
            h = split(e, self._over_all(e, joined(e, h), name), fixed(h.dims[1]))
        return self._per_head(e, h, name)

    def _over_all(self, e: Expander, h: Value, name: str) -> Value:
        """All heads normed at once, where that is asked for: ``[batch, seq, heads * head_dim]``."""
        return self.norm.apply(e, h, name) if self.norm is not None and self.over == "all" else h

    def _per_head(self, e: Expander, h: Value, name: str) -> Value:
        """Each head normed, where that is asked for: ``[..., head_dim]``."""
        if self.norm is None or self.over == "all":
            return h
        if self.gain == "shared":
            return self.norm.apply(e, h, name)
        return _own_gains(e, self.norm, h, name=name, heads_at=2 if self.at == "before_rotary" else 1)


def _own_gains(e: Expander, norm: Norm, h: Value, *, name: str, heads_at: int) -> Value:
    """``norm`` of the last dim with a gain and a bias for each head; ``heads_at``: which dim the heads are."""
    heads, width = h.dims[heads_at], channels(h)
    assert isinstance(heads, int)
    gain, bias = norm.learned
    offset, wide = getattr(norm, "gain_offset", 0.0), getattr(norm, "fp32_gain", False)
    y = norm.bare(e, e.cast(h, "f32") if wide else h, name)

    def per_head(slot: str, size: int, role: Literal["gain", "bias"], *, offset: float = 0.0) -> Value:
        own = e.parameter(f"{name}.{slot}", (heads, size), role, offset=offset)
        own = e.cast(own, "f32") if wide else own
        own = own if offset == 0.0 else e.add(own, offset)
        return e.reshape(own, heads, 1, size) if heads_at == 1 else own

    if gain:
        y = e.mul(y, per_head("weight", 1 if gain == "scalar" else width, "gain", offset=offset))
    if bias:
        y = e.add(y, per_head("bias", width, "bias"))
    return e.like(y, h) if wide else y
