"""LoRA as a user writes it, and what it means for a model (Hu et al. 2021, arXiv 2106.09685)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Annotated, Any, ClassVar

from pydantic import Field

from flexit.errors import UserError
from flexit.ir.language.kinds import INFERRED, Group, PositiveFloat, PositiveInt, Probability
from flexit.ir.passes.freeze import freeze
from flexit.ir.passes.lora import LowRank, adaptable, beside, lora
from flexit.ir.program import Program
from flexit.ir.wording import nearest
from flexit.runtime.train.optimisation.selection import Selection, selected

ROLES = ("projection", "query_projection", "residual_projection", "gate")
"""What is adapted where nothing is said: all matrices of the layers (Dettmers et al. 2023, arXiv 2305.14314)."""


class Lora(Group):
    """Branches of low rank beside matrices, which learn in their place."""

    examples: ClassVar = ({"rank": 8}, {"rank": 16, "targets": [{"match": "*.attention.*"}]})

    rank: PositiveInt = 8
    """Rows of A and columns of B."""
    alpha: PositiveFloat = 16.0
    """The branch is multiplied by alpha / rank."""
    rank_stabilised: bool = False
    """By alpha / sqrt(rank) in its place."""
    dropout: Probability = 0.0
    """On what the branches read."""
    targets: Annotated[list[Selection] | None, INFERRED] = None
    """Matrices with a branch; inferred: all projections of layers."""
    trained: list[Selection] = Field(default_factory=list[Selection])
    """Parameters that learn besides, such as a new head."""
    full: bool = False
    """Whether each checkpoint has the frozen weights too."""

    @property
    def scale(self) -> float:
        """Factor of the branches; Kalajdzievski 2023 (rsLoRA, arXiv 2312.03732) has the square root."""
        return self.alpha / (self.rank**0.5 if self.rank_stabilised else self.rank)


@dataclass(frozen=True, slots=True)
class Adapter:
    """What stands beside the weights of a model.

    Attributes:
        rank, alpha, scale, dropout: of the branches.
        targets: paths of the matrices that have one.
        trained: paths of other parameters that learn.
        base: ``path`` of the checkpoint with the frozen weights, and ``sha256`` of its file; None where they are kept
            beside the adapter.
    """

    rank: int
    alpha: float
    scale: float
    dropout: float
    targets: tuple[str, ...]
    trained: tuple[str, ...] = ()
    base: Mapping[str, str] | None = None

    @property
    def low(self) -> LowRank:
        """The branch."""
        return LowRank(rank=self.rank, scale=self.scale, dropout=self.dropout)

    @property
    def names(self) -> tuple[str, ...]:
        """Paths of all that learns."""
        return (*(name for path in self.targets for name in beside(path)), *self.trained)

    def program(self, plain: Program) -> Program:
        """The program with its branches, in which nothing else learns."""
        adapted = lora(plain, dict.fromkeys(self.targets, self.low))
        learned = {*self.names}
        return freeze(adapted, [param.path for param in adapted.params() if param.path not in learned])

    def to_json(self) -> str:
        """What ``adapter.json`` says."""
        from flexit.version import __version__

        return json.dumps({"flexit": __version__, "kind": "lora", **asdict(self)}, indent=1)


def adapter_of(program: Program, wanted: Lora) -> Adapter:
    """What LoRA means for a model.

    Raises:
        UserError: FX2210, an entry means no matrix that can have a branch, or no parameter.
    """
    params = {param.path: param for param in program.params()}
    may = [params[path] for path in adaptable(program)]
    if wanted.targets is None:
        targets = [param.path for param in may if param.role in ROLES and ".layers." in f".{param.path}"]
        if not targets:
            raise _refused("lora.targets", found="nothing that is said", among=[param.path for param in may])
    else:
        targets = selected(wanted.targets, may)
        _require_meant(wanted.targets, may, path="lora.targets", all_params=[*params.values()])
    _require_meant(wanted.trained, [*params.values()], path="lora.trained", all_params=[])
    beside_them = [path for path in selected(wanted.trained, params.values()) if path not in targets]
    return Adapter(
        wanted.rank, wanted.alpha, wanted.scale, wanted.dropout, tuple(targets), tuple(beside_them)
    )  # fmt: skip


def adapter_in(model: object) -> Adapter | None:
    """What stands beside the weights of a module, if anything does."""
    found = vars(model).get("adapter")
    return found if isinstance(found, Adapter) else None


def _require_meant(entries: Sequence[Selection], among: Sequence[Any], *, path: str, all_params: Sequence[Any]) -> None:
    for index, entry in enumerate(entries):
        if not any(entry.holds(param) for param in among):
            others = [param.path for param in all_params if entry.holds(param)]
            found = (
                f"{entry.said}, which means {others[0]}: a table, a vector or a shared matrix" if others else entry.said
            )
            raise _refused(f"{path}.{index}", found=found, among=[param.path for param in among], match=entry.match)


def _refused(path: str, *, found: str, among: Sequence[str], match: str | None = None) -> UserError:
    near = nearest(match or "", among) or (among[0] if among else None)
    return UserError.of(
        "FX2210", "means nothing that can be adapted", path=path,
        expected=f"matrices that linear maps alone read{f', such as {near}' if near else ''}", found=found,
        cure="correct it; flexit show lists the blocks, whose paths parameter names begin with",
    )  # fmt: skip
