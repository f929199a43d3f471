"""Which keys of a configuration a mapping file reads: all others might change what is computed."""

from __future__ import annotations

from typing import Any, cast

from flexit.convert.mapping.family import Family
from flexit.convert.mapping.forms import Data, form_of, is_key


def keys_read(family: Family) -> set[str]:
    """Keys that some model of a family reads."""
    said = family.model_dump(include={"spec", "heads", "keys", "derived", "tensors", "ahead"})
    heads: list[Data] = list(said["heads"].values())
    found = named_keys([said["spec"], *(list(said[part].values()) for part in ("keys", "derived", "ahead"))])
    for part in (said, *heads):
        rules: list[Data] = [rule for rule in part["tensors"].values() if isinstance(rule, dict)]
        found |= named_keys([[rule["layout"], rule["stride"], {"$if": rule["where"]}] for rule in rules])
        found |= {rule["when"] for rule in rules if rule["tied_to"] is not None}
    for head in heads:
        found |= {*head["keys"], *named_keys([head["blocks"], head["outputs"], *head["keys"].values()])}
    return found


def named_keys(template: Any) -> set[str]:
    """Every key of a configuration that some branch of a template reads."""
    form = form_of(template)
    if is_key(template):
        return {template[1:]}
    if isinstance(template, list):
        return {key for each in cast("list[Any]", template) for key in named_keys(each)}
    if not isinstance(template, dict):
        return set()
    entries = cast("Data", template if form is None else form[1])
    found = {key for each in entries.values() for key in named_keys(each)}
    head = entries.get("") if form is not None else None
    if isinstance(head, str):
        found.add(head)
    elif isinstance(head, dict | list):
        found.update(str(key) for key in cast("list[Any]", head))
    return found if form is None else found | _beside(entries)


def _beside(args: Data) -> set[str]:
    """Keys that the arguments of a form name."""
    found = {str(args[name]) for name in ("by", "base", "part") if name in args}
    besides = args.get("besides", [])
    found.update([besides] if isinstance(besides, str) else besides)
    found.update(cast("Data", args.get("thetas", {})).values())
    return found
