"""Would two inputs bring the same companion, or is one named like a companion of another?"""

from __future__ import annotations

from collections.abc import Iterator

from flexit.errors import Problem
from flexit.ir.block import Fault
from flexit.ir.checks.walk import Walk
from flexit.ir.language.inputs import alike, companions


def check(walk: Walk) -> Iterator[Problem]:
    """FX0309."""
    spec = walk.spec
    likes = alike(spec.inputs, spec.blocks)
    prefixed = any(site.block.reads_prefix for site in walk.sites)
    brought: dict[str, str] = {}
    for name, declared in spec.inputs.items():
        if not hasattr(declared, "like") or name in likes:
            continue
        mine = companions(name)
        for companion in (*mine.names, *([mine.prefix_lengths] if prefixed else [])):
            other = brought.setdefault(companion, name)
            if other != name:
                yield walk.problem(Fault(
                    code="FX0309", field=f"inputs.{name}", on_key=True,
                    message=f"brings the same companion as {other}",
                    expected=f"one input with the companion {companion}",
                    found=f"{other}{{line inputs.{other}}} and {name}",
                    cure=f"rename one of them, or write like: {other} here",
                ))  # fmt: skip
                break
    for name in spec.inputs:
        if name in brought:
            yield walk.problem(Fault(
                code="FX0309", field=f"inputs.{name}", on_key=True,
                message=f"named like a companion of {brought[name]}",
                expected=f"another name: {name} comes with {brought[name]} and is never declared", found=name,
                cure="delete it, or rename it",
            ))  # fmt: skip
