"""``shares`` written out, before validation: the other fields of a block that shares are merged over the owner's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from flexit.errors import Problem
from flexit.ir.diagnostics import problem
from flexit.ir.faults import placed
from flexit.ir.language.variation import BLOCK, MergeRefused, merge
from flexit.ir.language.written import Node, dotted
from flexit.ir.schema.phase import merge_problem
from flexit.ir.wording import either, nearest, shown


def write_out(root: Node) -> tuple[Node, list[Problem]]:
    """The document with the fields of owners merged in, and what is wrong with who shares whose parameters."""
    problems: list[Problem] = []
    blocks = root.entries.get("blocks")
    if blocks is None or not blocks.entries or not any("shares" in node.entries for node in blocks.walk()):
        return root, problems
    return replace(root, value={**root.entries, "blocks": _scope(blocks, problems)}), problems


def _scope(blocks: Node, problems: list[Problem]) -> Node:
    entries = {name: _inner(entry, problems) for name, entry in blocks.entries.items()}
    merged = {name: _merged(name, entry, entries) for name, entry in entries.items()}
    problems += [found for found in merged.values() if isinstance(found, Problem)]
    return replace(blocks, value={
        name: entries[name] if isinstance(found, Problem) else found for name, found in merged.items()
    })  # fmt: skip


def _inner(node: Node, problems: list[Problem]) -> Node:
    """The same value with the scopes inside it written out."""
    if not node.entries:
        return node
    return replace(node, value={
        key: _scope(child, problems) if key == "blocks" and child.entries else _inner(child, problems)
        for key, child in node.entries.items()
    })  # fmt: skip


def _merged(name: str, entry: Node, scope: Mapping[str, Node]) -> Node | Problem:
    """One entry of a scope, merged over the block that it shares with, if any."""
    shares = entry.entries.get("shares")
    if shares is None or not isinstance(shares.value, str):
        return entry
    owner = _owner(name, entry, scope)
    if isinstance(owner, Problem):
        return owner
    inherited = {key: node for key, node in owner.entries.items() if key not in ("from", "kind")}
    own = {key: node for key, node in entry.entries.items() if key != "kind"}
    try:
        merged = merge(
            replace(owner, value={"kind": entry.entries["kind"], **inherited}), replace(entry, value=own), BLOCK
        )
    except MergeRefused as refused:
        return merge_problem(refused)
    return replace(merged, path=entry.path, mark=entry.mark, key=entry.key)


def _at(name: str, scope: Mapping[str, Node]) -> Node | None:
    """The block of a dotted name."""
    first, *rest = name.split(".")
    node = scope.get(first)
    for step in rest:
        blocks = node.entries.get("blocks") if node is not None else None
        node = blocks.entries.get(step) if blocks is not None else None
    return node


def _owner(name: str, entry: Node, scope: Mapping[str, Node]) -> Node | Problem:
    """The block that an entry shares with."""
    shares, kind = entry.entries["shares"], _kind(entry)
    owner = _at(str(shares.value), scope)
    path = dotted((*entry.path, "shares"))
    owners = [other for other, node in scope.items() if other != name and _kind(node) == kind and _owns(node)]
    expected = f"another block of kind {kind} that owns its parameters: {either(owners)}" if owners else "another block"
    cure = f"write {nearest(str(shares.value), owners) or owners[0]}" if owners else "delete shares"
    if owner is None or shares.value == name:
        return placed(
            problem(
                "FX0701", path=path, message="names the block itself" if owner is not None else "no block of this name",
                expected=expected, found=shown(shares.value), cure=cure,
            ), shares.mark,
        )  # fmt: skip
    if not _owns(owner):
        return placed(
            problem(
                "FX0701", path=path, message=f"{shown(shares.value)} does not own its parameters", expected=expected,
                found="a block that shares or is tied itself", cure=cure,
            ), shares.mark,
        )  # fmt: skip
    if "kind" in entry.entries and _kind(owner) != kind:
        node = entry.entries["kind"]
        return placed(
            problem(
                "FX0703", path=dotted((*entry.path, "kind")), message=f"not the kind of {shown(shares.value)}",
                expected=shown(_kind(owner)), found=shown(kind), cure=f"write kind: {shown(_kind(owner))}",
            ), node.mark,
        )  # fmt: skip
    return owner if "kind" in entry.entries else _no_kind(entry, owner)


def _no_kind(entry: Node, owner: Node) -> Problem:
    return placed(
        problem(
            "FX0202", path=dotted((*entry.path, "kind")), message="required field is missing",
            expected="the kind of the block that it shares with", found="no kind",
            cure=f"add kind: {shown(_kind(owner))}",
        ), entry.key or entry.mark,
    )  # fmt: skip


def _kind(node: Node) -> object:
    return node.entries["kind"].value if "kind" in node.entries else node.value if isinstance(node.value, str) else None


def _owns(node: Node) -> bool:
    return all(key not in node.entries or node.entries[key].value is None for key in ("shares", "tied_to"))
