"""Stacks: a mapping file writes one layer, whose holes may differ from layer to layer; a spec says that in the fewest
words, with variants.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Sequence
from typing import Any, cast

from flexit.convert.mapping.forms import Data, Found, Mismatch, Scope, is_absent, keys_in
from flexit.ir.io.canonical import canonical, canonical_layers
from flexit.ir.language.layers import Varied
from flexit.ir.spec import Spec

UNROLLED = "$layers"
"""Where an unrolled spec has the list of a stack's layers."""
WIDTHS = ("d_model", "vocab_size")
LONGEST_CYCLE = 16
"""Layers after which a pattern still reads as one."""


def fill_stack(template: Data, scope: Scope) -> Data:
    """The stack of a template: every layer filled, then written once with variants."""
    rest = {key: value for key, each in template.items() if key != "layer" and not is_absent(value := scope.fill(each))}
    count = rest.get("n_layers")
    if isinstance(count, bool) or not isinstance(count, int) or not 0 < count <= 100_000:
        return {**rest, "layer": scope.at(0).fill(template["layer"])}  # which the check of the spec refuses
    layers: list[Any] = []
    names: list[str] = []
    varied = keys_in(template["layer"]) & scope.per_layer
    for index in range(count):
        at = scope.at(index)
        layers.append(at.fill(template["layer"]))
        names.append("_".join(_word(key, at.value(key)) for key in sorted(varied)) or "layer")
    filled: Data = {}
    for key in template:
        if key == "layer":
            filled |= _varied(layers, names)
        elif key in rest:
            filled[key] = rest[key]
    return filled


def _varied(layers: Sequence[Any], names: Sequence[str]) -> Data:
    """``layer``, ``variants`` and ``pattern`` or ``layers`` that give these layers."""
    keys = [json.dumps(layer, sort_keys=True) for layer in layers]
    usual = Counter(keys).most_common(1)[0][0]
    base = layers[keys.index(usual)]
    named: dict[str, str] = {usual: "default"}
    variants: Data = {}
    for key, layer, name in zip(keys, layers, names, strict=True):
        if key not in named:
            named[key] = _fresh(name, variants)
            variants[named[key]] = difference(base, layer)
    if not variants:
        return {"layer": base}
    return {"layer": base, "variants": variants, **_placed([named[key] for key in keys])}


def difference(base: Any, layer: Any) -> Any:
    """The override that makes ``layer`` of ``base``: what names no kind is merged, anything else replaces."""
    if not (isinstance(base, dict) and isinstance(layer, dict)):
        return layer
    one, other = cast("Data", base), cast("Data", layer)
    gone = [key for key in one if key not in other]
    if one.get("kind") != other.get("kind") or (gone and "kind" in other):
        return other
    changed: Data = dict.fromkeys(gone)
    for key, value in other.items():
        if key not in one or one[key] != value:
            changed[key] = difference(one.get(key), value)
    return changed


def _placed(chosen: Sequence[str]) -> Data:
    """A cycle where there is one, else the layers by index."""
    count = len(chosen)
    for length in range(2, min(LONGEST_CYCLE, count - 1) + 1):
        if all(chosen[index] == chosen[index % length] for index in range(count)):
            return {"pattern": _joined(chosen[:length])}
    places: Data = {}
    start = 0
    while start < count:
        end = start
        while end + 1 < count and chosen[end + 1] == chosen[start]:
            end += 1
        if chosen[start] != "default":
            places[str(start) if end == start else f"{start}:{end + 1}"] = chosen[start]
        start = end + 1
    return {"layers": places}


def _joined(names: Sequence[str]) -> list[str]:
    """Equal neighbours as ``name*count``."""
    found: list[str] = []
    counts: list[int] = []
    for name in names:
        if found and found[-1] == name:
            counts[-1] += 1
        else:
            found.append(name)
            counts.append(1)
    return [name if count == 1 else f"{name}*{count}" for name, count in zip(found, counts, strict=True)]


def _word(key: str, value: Any) -> str:
    """What a variant is called after the value of a key."""
    flag = key if value else f"no_{key}"
    text = flag if isinstance(value, bool | int) else str(value).removesuffix("_attention")
    return re.sub(r"\W+", "_", text)


def _fresh(name: str, known: Data) -> str:
    name = name if name != "default" else "other"
    return name if name not in known else next(f"{name}{n}" for n in range(2, 100_002) if f"{name}{n}" not in known)


# ---- back


def read_stack(template: Data, stack: Data, found: Found) -> None:
    """Note what the stack's layers say, one by one.

    Raises:
        Mismatch: one cannot come of the template.
    """
    for key, each in template.items():
        if key != "layer":
            try:
                found.read(each, stack.get(key))
            except Mismatch as error:
                raise error.below(key) from error
    for index, layer in enumerate(stack[UNROLLED]):
        found.layer = index
        try:
            found.read(template["layer"], layer)
        except Mismatch as error:
            raise error.below(f"layers.{index}") from error
        finally:
            found.layer = None


def unrolled(spec: Spec) -> Data:
    """The canonical form of a spec with what is inferred written out; every stack of the outermost scope has all its
    layers as a list.
    """
    data = canonical(spec)
    blocks = cast("Data", data["blocks"])
    for name, block in spec.blocks.items():
        if isinstance(block, Varied):
            stack = blocks[name]
            stack[UNROLLED] = canonical_layers(block)
            if stack.get("final_norm") is True:  # one more like those of the layers
                stack["final_norm"] = stack[UNROLLED][0].get("norm")
    known = {key: next((each[key] for each in blocks.values() if each.get(key)), None) for key in WIDTHS}
    _infer(data, cast("dict[str, int | None]", known))
    return data


def _infer(value: Any, known: dict[str, int | None]) -> None:
    """Write out, in place, what follows from other fields and from the widths of the only table."""
    if isinstance(value, list):
        for each in cast("list[Any]", value):
            _infer(each, known)
    if not isinstance(value, dict):
        return
    data = cast("Data", value)
    heads, width = data.get("n_heads"), known["d_model"]
    if heads:
        data.setdefault("n_kv_heads", heads)
        if width and width % heads == 0:
            data.setdefault("head_dim", width // heads)
    if "tied_to" in data and data["tied_to"] is None:
        data.setdefault("vocab_size", known["vocab_size"])
    for each in data.values():
        _infer(each, known)
