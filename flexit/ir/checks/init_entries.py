"""Does each ``init`` entry name a role, draw it in a way that role can be drawn, and reach a parameter?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from flexit.errors import Problem
from flexit.ir.block import Block, Fault
from flexit.ir.checks.lenders import Lenders
from flexit.ir.checks.walk import Walk
from flexit.ir.language.initialisation import FOLLOWS, ROLES, Init
from flexit.ir.language.layers import Varied
from flexit.ir.program import Call, Param, Region, join
from flexit.ir.spec import Spec
from flexit.ir.wording import nearest

if TYPE_CHECKING:
    from flexit.ir.program import Program

FLAT = ("gain", "bias", "sink")
"""Roles of one-dimensional parameters."""
FOR_FLAT = ("normal", "truncated_normal", "uniform", "constant", "zeros", "ones")
HEAD_DIM = "rsqrt_fan_in_head_dim"


def check(walk: Walk) -> Iterator[Problem]:
    """FX0510 for roles that do not exist, FX0511 for ways that do not go with a role."""
    yield from (walk.problem(fault) for fault in _entries(walk.spec.init))
    for site in walk.sites:
        for fault in _entries(site.block.init):
            yield site.problem(fault)


def check_reach(walk: Walk, program: Program) -> Iterator[Problem]:
    """FX0510 for entries that no parameter follows; where none could be wrong, parameters are not gone through."""
    if not any(site.block.init for site in walk.sites) and not _may_miss(walk.spec.init):
        return
    everywhere: dict[str, bool] = {}
    below: dict[int, dict[str, bool]] = {}
    for blocks, param in _owned(walk.spec, program.root):
        layered = any(isinstance(block, Varied) for block in blocks)
        for roles in (everywhere, *(below.setdefault(id(block), {}) for block in blocks)):
            roles[param.role] = roles.get(param.role, False) or layered
    yield from (walk.problem(fault) for fault in _unreached(walk.spec.init, everywhere, everywhere=True))
    lenders = Lenders(walk, frozenset(below))
    for site in walk.sites:
        said = {role: way for role, way in site.block.init.items() if not lenders.say(site, role, way)}
        for fault in _unreached(said, below.get(id(site.block), {})):
            yield site.problem(lenders.explained(site, fault))


def _may_miss(init: Mapping[str, Init]) -> bool:
    """Whether an entry of the document is more than a default for every weight."""
    return any(role != "default" or getattr(way, "depth_scaled", False) for role, way in init.items())


def _owned(spec: Spec, root: Region) -> Iterator[tuple[tuple[Block, ...], Param]]:
    """Parameters with the blocks they lie in, outermost first; of equal layers, those of one."""
    seen: set[object] = set()
    waiting = [("", root)]
    while waiting:
        prefix, region = waiting.pop()
        blocks, rest = spec.locate(prefix)
        key = (id(region), *map(id, blocks), *rest)
        if key in seen:
            continue
        seen.add(key)
        yield from ((spec.locate(join(prefix, param.path))[0], param) for param in region.params)
        waiting += [(join(prefix, node.weights), node.region) for node in region.nodes if isinstance(node, Call)]


def _entries(init: Mapping[str, Init]) -> Iterator[Fault]:
    for role, way in init.items():
        if role not in ROLES:
            yield Fault(
                code="FX0510", field=f"init.{role}", on_key=True, message="no role of this name",
                expected=f"one of {', '.join(ROLES)}", found=role,
                cure=f"write {nearest(role, ROLES) or 'one of them'}",
            )  # fmt: skip
        elif role in FLAT and way.kind not in FOR_FLAT:
            yield Fault(
                code="FX0511", field=f"init.{role}",
                message=f"not for one-dimensional parameters, as those of role {role}",
                expected=f"one of {', '.join(FOR_FLAT)}", found=way.kind, cure="write constant, zeros or ones",
            )  # fmt: skip
        elif getattr(way, "std", None) == HEAD_DIM and role != "query_projection":
            yield Fault(
                code="FX0511", field=f"init.{role}.std", message="needs a head width, which this role does not have",
                expected=f"another std, since {HEAD_DIM} is for query_projection alone", found=HEAD_DIM,
                cure="write rsqrt_fan_in, or move it to query_projection",
            )  # fmt: skip


def _unreached(init: Mapping[str, Init], roles: Mapping[str, bool], *, everywhere: bool = False) -> Iterator[Fault]:
    """Entries without a parameter; ``everywhere``: the document's own, of which ``default`` is always there."""
    here = sorted(role for role in roles if role in ROLES)
    for role, way in init.items():
        followers = [other for other in roles if _follows(other, role)]
        if not followers and not (everywhere and role == "default"):
            yield Fault(
                code="FX0510", field=f"init.{role}", on_key=True, message="no parameter here has this role",
                expected=f"one of the roles here: {', '.join(here) or 'none'}", found=role,
                cure=f"delete {role}, or write one of these roles",
            )  # fmt: skip
        elif getattr(way, "depth_scaled", False) and not any(roles[other] for other in followers):
            yield Fault(
                code="FX0510", field=f"init.{role}.depth_scaled",
                message="its parameters lie outside any repeated layer",
                expected="false, since there is no depth to scale by", found="true", cure="delete depth_scaled",
            )  # fmt: skip


def _follows(role: str, entry: str) -> bool:
    """Whether parameters of a role are drawn by an entry if none is closer; what its own field says is never drawn."""
    if role not in ROLES:
        return False
    if entry == "default":
        return role not in FLAT
    return role == entry or FOLLOWS.get(role) == entry
