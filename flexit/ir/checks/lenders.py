"""Whose ``init`` a block repeats that uses parameters of others: an entry taken over from there is no mistake."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from flexit.ir.block import Block, Fault
from flexit.ir.checks.walk import Site, Walk
from flexit.ir.language.initialisation import Init
from flexit.ir.program import join


class Lenders:
    """The blocks that own what others use.

    Args:
        walk: the document.
        owning: identities of the blocks that have parameters of their own.
    """

    def __init__(self, walk: Walk, owning: frozenset[int]) -> None:
        self.walk = walk
        self.owning = owning
        self.sites = {site.path: site for site in walk.sites}

    def say(self, site: Site, role: str, way: Init) -> bool:
        """Whether a block whose parameters stand for those of ``site`` has the same entry, or is not known."""
        return any(lender is None or lender.init.get(role) == way for lender in self._of(site))

    def explained(self, site: Site, fault: Fault) -> Fault:
        """A fault of an entry, said of a block that borrows if it is one."""
        if not any(self._of(site)):
            return fault
        return replace(
            fault, message="no parameter of its own has this role",
            cure=f"delete {fault.found}, or write it in the block that owns the parameters",
        )  # fmt: skip

    def _of(self, site: Site) -> Iterator[Block | None]:
        """The counterpart of ``site`` in each block that lends to one around it, or to itself."""
        steps = site.path.split(".")
        for end in range(1, len(steps) + 1):
            around, rest = self.sites.get(".".join(steps[:end])), steps[end:]
            if around is None:
                continue
            if around.block.shares is not None:
                scope = around.scope.path if around.scope is not None else ""
                yield self._at(join(scope, around.block.shares, *rest))
            if rest[:1] == ["layers"] and getattr(around.block, "share", None) is not None:
                yield from self._layers(around.path, rest[2:], apart_from=site)

    def _at(self, path: str) -> Block | None:
        if path in self.sites:
            return self.sites[path].block
        blocks, left = self.walk.spec.locate(path)
        return None if left else blocks[-1]

    def _layers(self, stack: str, inside: list[str], *, apart_from: Site) -> Iterator[Block]:
        """The same block in the layers of a stack that own their parameters."""
        start = f"{stack}.layers."
        for path, site in self.sites.items():
            alike = path.startswith(start) and path.removeprefix(start).split(".")[1:] == inside
            if alike and site is not apart_from and id(site.block) in self.owning:
                yield site.block
