"""How a token chooses among many: scores, choice and weights."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal

from flexit.ir.block import Fault
from flexit.ir.language.kinds import Group, PositiveFloat, PositiveInt
from flexit.ir.program import Value
from flexit.ir.wording import divisors, either

if TYPE_CHECKING:
    from flexit.ir.expansion.expander import Expander

LEAST_SUM = 1e-20


class RouterGroups(Group):
    """The choice is limited to the best groups of neighbouring experts."""

    n_groups: PositiveInt
    """How many groups there are, a divisor of n_experts."""
    top_k: PositiveInt
    """Groups that stay."""
    score: Literal["max", "top2_sum"] = "max"
    """What a group counts: its best score (DeepSeek-V2), or the sum of its two best (DeepSeek-V3)."""


class Router(Group):
    """logits -> score -> choice -> weights."""

    bias: bool = False
    """On the logits (gpt-oss)."""
    score: Literal["softmax", "sigmoid", "none"] = "softmax"
    """Function of the logits before the choice."""
    selection_bias: bool = False
    """A number per expert, added for the choice only and not trained by the loss (DeepSeek-V3)."""
    groups: RouterGroups | None = None
    """Limits the choice to the best groups."""
    after_top_k: Literal["softmax", "sigmoid", "none"] = "none"
    """Function of the chosen scores, with score: none (gpt-oss, Granite: softmax; Llama 4: sigmoid)."""
    normalize: bool = False
    """Divide the chosen weights by their sum."""
    scale: PositiveFloat = 1.0
    """Factor on the weights."""
    weight_on: Literal["output", "input"] = "output"
    """Where the weight multiplies: what an expert gives, or what it reads (Llama 4)."""

    def check_for(self, n_experts: int, top_k: int) -> Iterator[Fault]:
        """Faults in the fields of the block around the group."""
        pool, whole = n_experts, "n_experts"
        if self.groups is not None:
            yield from _check_groups(self.groups, n_experts)
            if n_experts % self.groups.n_groups == 0:
                pool = min(self.groups.top_k, self.groups.n_groups) * (n_experts // self.groups.n_groups)
                whole = "the experts of the groups that stay" if pool < n_experts else whole
        if top_k > pool:
            yield Fault(
                code="FX0404", field="top_k", message=f"is larger than {whole}",
                expected=f"at most {whole}, which {'is' if whole == 'n_experts' else 'are'} {pool}", found=str(top_k),
                cure=f"set top_k to {pool} or less",
            )  # fmt: skip
        if self.after_top_k != "none" and self.score != "none":
            yield Fault(
                code="FX0511", field="router.after_top_k", message="does not go with a score before the choice",
                expected=f"none, since router.score is {self.score}", found=self.after_top_k,
                cure="write router.score: none, or delete router.after_top_k",
            )  # fmt: skip
        if self.normalize and self.after_top_k == "softmax":
            yield Fault(
                code="FX0501", field="router.normalize", message="has no effect",
                expected="false, since a softmax over the chosen sums to 1", found="true",
                cure="delete router.normalize, or router.after_top_k",
            )  # fmt: skip

    def choose(self, e: Expander, logits: Value, top_k: int) -> tuple[Value, Value]:
        """Weights and indices of the chosen experts, both ``[batch, seq, top_k]``."""
        scores = self._function(e, self.score, logits)
        weights, index = self._chosen(e, scores, top_k)
        weights = self._function(e, self.after_top_k, weights)
        if self.normalize:
            # Raw logits may sum to 0, as those of padding do; DeepSeek-V3 adds as much.
            weights = e.binary("div", weights, e.add(e.reduce("sum", weights, -1, keep=True), LEAST_SUM))
        return e.mul(weights, self.scale), index

    def _chosen(self, e: Expander, scores: Value, top_k: int) -> tuple[Value, Value]:
        """The chosen scores and their indices."""
        ranked = scores
        if self.selection_bias:
            n_experts = scores.dims[-1]
            assert isinstance(n_experts, int)
            first = (0.0,) * n_experts
            bias = e.parameter("router.selection_bias", (n_experts,), "selection_bias", first_value=first)
            ranked = e.add(scores, bias)
        if self.groups is not None:
            index = _within_groups(e, ranked, self.groups, top_k=top_k)
        elif ranked is scores:
            return e.top_k(scores, top_k)
        else:
            _, index = e.top_k(ranked, top_k)
        return e.take_along(scores, index, -1), index

    @staticmethod
    def _function(e: Expander, name: Literal["softmax", "sigmoid", "none"], x: Value) -> Value:
        if name == "softmax":
            return e.softmax(x)
        return x if name == "none" else e.unary("sigmoid", x)


def _within_groups(e: Expander, ranked: Value, groups: RouterGroups, *, top_k: int) -> Value:
    """Indices of the best experts of the best groups.

    What the chosen groups hold is laid side by side, scores and numbers of experts alike, so that no expert of another
    group needs a score that loses.
    """
    n_experts = ranked.dims[-1]
    assert isinstance(n_experts, int)
    size = n_experts // groups.n_groups
    grouped = e.reshape(ranked, "=0", "=1", groups.n_groups, size)
    if groups.score == "max":
        worth = e.reduce("max", grouped, -1)
    else:
        best, _ = e.top_k(grouped, 2)
        worth = e.reduce("sum", best, -1)
    _, kept = e.top_k(worth, groups.top_k)
    kept = e.reshape(kept, "=0", "=1", groups.top_k, 1)
    numbers = e.constant(range(n_experts), (1, 1, groups.n_groups, size), dtype="i64")
    pool, scores = groups.top_k * size, e.take_along(grouped, kept, 2)
    _, index = e.top_k(e.reshape(scores, "=0", "=1", pool), top_k)
    return e.take_along(e.reshape(e.take_along(numbers, kept, 2), "=0", "=1", pool), index, -1)


def _check_groups(groups: RouterGroups, n_experts: int) -> Iterator[Fault]:
    if n_experts % groups.n_groups:
        yield Fault(
            code="FX0404", field="router.groups.n_groups", message="does not divide n_experts",
            expected=f"a divisor of n_experts, which is {n_experts}{{line n_experts}}: "
            + either(map(str, divisors(n_experts))),
            found=str(groups.n_groups), cure="set n_groups to one of these",
        )  # fmt: skip
    if groups.top_k > groups.n_groups:
        yield Fault(
            code="FX0404", field="router.groups.top_k", message="is larger than n_groups",
            expected=f"at most n_groups, which is {groups.n_groups}", found=str(groups.top_k),
            cure=f"set router.groups.top_k to {groups.n_groups} or less",
        )  # fmt: skip
    if groups.score == "top2_sum" and groups.n_groups == n_experts:
        yield Fault(
            code="FX0406", field="router.groups.score", message="needs two experts in a group",
            expected="score: max, or fewer groups than experts", found="groups of one expert",
            cure="write score: max" if n_experts == 1 else "write fewer groups, or score: max",
        )  # fmt: skip
