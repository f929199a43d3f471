"""The canonical form of a spec: every default, every edge and the outputs written, what is inferred left out; and the
hashes that rest on it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any, cast

from flexit.ir.block import Block
from flexit.ir.expansion.scope import MAIN_PORTS, Source, Wires, main_ports, resolve
from flexit.ir.language.annotations import fields
from flexit.ir.language.kinds import Group, Kind
from flexit.ir.language.layers import LayerPlan, Varied
from flexit.ir.language.template import Template
from flexit.ir.ordering import in_dependence_order
from flexit.ir.spec import Spec

Data = dict[str, Any]


def canonical(spec: Spec) -> Data:
    """The document that says the same with nothing left to defaults; a valid spec of the same hashes."""
    data = _fields(spec)
    inputs = tuple(spec.inputs)
    data["blocks"] = _scope(spec.blocks, inputs, chain_from=inputs[0] if len(inputs) == 1 else None)
    data["outputs"] = outputs_of(spec)
    keys = [name for name in fields(Spec) if name in data]
    return {key: data[key] for key in keys}


def canonical_layers(stack: Varied) -> list[Data]:
    """The canonical form of every layer of a stack in order, its variants merged."""
    known = {choice: _block(block, tuple(block.inputs)) for choice, block, _ in LayerPlan.of(stack).distinct()}
    return [known[choice] for choice in LayerPlan.of(stack).choices]


def to_json(spec: Spec, *, indent: int | None = 2) -> str:
    """The canonical form as JSON."""
    return json.dumps(canonical(spec), indent=indent, ensure_ascii=False)


def spec_hash(spec: Spec) -> str:
    """A hash of what was chosen: equal for documents that differ in key order, defaults written or number notation."""
    text = json.dumps(_sorted(canonical(spec)), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def program_hash(spec: Spec) -> str:
    """A hash of what is computed: equal for specs that say one model differently, such as with or without dropout."""
    from flexit.ir.analysis.structure import structure
    from flexit.ir.compile import compile_spec

    program = compile_spec(Spec.model_validate(_in_order(canonical(spec))))
    interface = json.dumps([[name.name for name in program.inputs], list(program.outputs)])
    return hashlib.sha256(f"{interface}\n{structure(program.root, training=False)}".encode()).hexdigest()


# ---- values


def _value(value: Any) -> Any:
    if isinstance(value, Template):
        return _plain(value.data)
    if isinstance(value, Group):
        kind = {"kind": value.kind} if isinstance(value, Kind) else {}
        return {**kind, **_fields(value)}
    if isinstance(value, dict):
        entries = cast("dict[str, Any]", value)
        return {key: _value(entry) for key, entry in entries.items()}
    if isinstance(value, list):
        return [_value(entry) for entry in cast("list[Any]", value)]
    return value


def _fields(group: Group) -> Data:
    """Every field that is not left to inference; edges are the scope's business."""
    data: Data = {}
    for name, entry in fields(type(group)).items():
        value = getattr(group, entry.attribute)
        if name in ("from", "shares") and isinstance(group, Block):
            continue
        if not (entry.inferred and value is None):
            data[name] = _value(value)
    return data


def _is_blocks(value: Any) -> bool:
    return isinstance(value, dict) and any(isinstance(entry, Block) for entry in cast("dict[str, Any]", value).values())


def _layer(template: Template, ports: tuple[str, ...]) -> Any:
    """The layer of a stack with its defaults, if it is complete; overrides mean the same over either form."""
    from flexit.ir.schema.phase import validate_block

    block, problems = validate_block(template.node)
    return _plain(template.data) if block is None or problems else _block(block, ports)


def _plain(data: Any) -> Any:
    """An override as it stands, a kind alone always by its name."""
    if isinstance(data, dict):
        entries = cast("dict[str, Any]", data)
        if list(entries) == ["kind"] and isinstance(entries["kind"], str):
            return entries["kind"]
        return {key: _plain(entry) for key, entry in entries.items()}
    return [_plain(entry) for entry in cast("list[Any]", data)] if isinstance(data, list) else data


# ---- blocks and edges


def _scope(blocks: Mapping[str, Block], ports: tuple[str, ...], *, chain_from: str | None) -> Data:
    wires = resolve(blocks, ports, chain_from=chain_from).wires
    return {name: _named(block, wires[name]) for name, block in blocks.items()}


def _named(block: Block, wires: Wires) -> Data:
    data = _block(block, tuple(wires))
    main = next(iter(block.inputs))
    ports = sorted(wires, key=lambda port: (port != main, port))
    edges = {port: _edges(block, port, wires[port]) for port in ports}
    kind = data.pop("kind")
    return {"kind": kind, "from": edges[main] if list(edges) == [main] else edges, "shares": block.shares, **data}


def _edges(block: Block, port: str, sources: tuple[Source, ...]) -> Any:
    if sources[0].each is not None:
        return {"each": sources[0].name, "order": sources[0].each}
    declared = block.inputs.get(port)
    texts = [source.name if source.port in MAIN_PORTS else str(source) for source in sources]
    return texts if declared is not None and declared.variadic and len(texts) > 1 else texts[0]


def _block(block: Block, ports: tuple[str, ...]) -> Data:
    data: Data = {"kind": block.kind, **_fields(block)}
    for name, entry in fields(type(block)).items():
        value = getattr(block, entry.attribute)
        if isinstance(value, Template):
            data[name] = _layer(value, ports)
        elif _is_blocks(value):
            data[name] = _scope(cast("dict[str, Block]", value), ports, chain_from="x")
        elif isinstance(value, Block):
            inner = ports if block.takes_extra_ports else ("x",)
            data[name] = _block(value, inner)
    return data


def outputs_of(spec: Spec) -> dict[str, str]:
    """The outputs, a main port by its block alone; inferred: those of the last block."""
    from flexit.ir.compile import compile_spec

    if not spec.outputs:
        last = next(reversed(spec.blocks))
        more = spec.blocks[last].more_outputs
        return {name: f"{last}.{name}" if name in more else last for name in compile_spec(spec).outputs}
    return {name: _output(spec, edge) for name, edge in spec.outputs.items()}


def _output(spec: Spec, edge: str) -> str:
    name, _, port = edge.partition(".")
    return name if name in spec.blocks and port in main_ports(spec.blocks[name]) else edge


# ---- order


def _in_order(data: Data) -> Data:
    """The same document with its blocks in an order that depends on nothing but their edges and names."""
    sorted_maps = {key: dict(sorted(data[key].items())) for key in ("inputs", "outputs")}
    return {**data, **sorted_maps, "blocks": _ordered_scope(data["blocks"], keep_last=False)}


def _ordered_scope(blocks: Data, *, keep_last: bool) -> Data:
    last = next(reversed(blocks))
    names = sorted(blocks, key=lambda name: (keep_last and name == last, name))
    sources = {name: {source for source in _sources(blocks[name].get("from")) if source in blocks} for name in names}
    order, _ = in_dependence_order(sources)
    placed = [name for name in order if not (keep_last and name == last)] + ([last] if keep_last else [])
    return {name: _ordered_inside(blocks[name]) for name in placed}


def _ordered_inside(value: Any) -> Any:
    if isinstance(value, dict):
        entries = cast("dict[str, Any]", value)
        if entries.get("variants"):
            return entries  # an override may add blocks that chain from the one written before
        return {
            key: _ordered_scope(cast("Data", entry), keep_last=True)
            if key == "blocks" and isinstance(entry, dict) and "kind" in entries
            else _ordered_inside(entry)
            for key, entry in entries.items()
        }
    return value


def _sources(written: Any) -> set[str]:
    if isinstance(written, str):
        return {written.partition(".")[0]}
    if isinstance(written, dict):
        entries = cast("dict[str, Any]", written)
        each = {str(entries["each"])} if "each" in entries else set[str]()
        return each.union(*(_sources(entry) for key, entry in entries.items() if key not in ("each", "order")))
    return set[str]().union(*(_sources(entry) for entry in cast("list[Any]", written or [])))


def _sorted(value: Any, *, top: bool = True) -> Any:
    """Data to hash: which block is last matters inside composites, and 1 is 1.0."""
    if isinstance(value, dict):
        entries = cast("dict[str, Any]", value)
        data = {key: _sorted(entry, top=False) for key, entry in entries.items()}
        if not top and isinstance(entries.get("blocks"), dict) and "kind" in entries and entries["blocks"]:
            data[""] = next(reversed(entries["blocks"]))
        return data
    if isinstance(value, list):
        return [_sorted(entry, top=False) for entry in cast("list[Any]", value)]
    return int(value) if isinstance(value, float) and value.is_integer() else value
