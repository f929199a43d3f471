"""Every block of a spec with its surroundings, merged layers included: what the checks go through."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from flexit.ir.block import Block
from flexit.ir.layers import LayerPlan, Varied, check_variation
from flexit.ir.scope import Scope, resolve
from flexit.ir.spec import Spec
from flexit.ir.variation import Choice
from flexit.ir.written import Node


@dataclass(frozen=True, slots=True)
class Site:
    """A block where it stands.

    Attributes:
        path: its path in the program; of a layer, that of the first one like it.
        ports: names of the ports it is given.
        outer: the blocks around it, outermost first.
        scope: the named blocks it is one of, or None in a slot.
        base: the layer as written, where overrides were merged into it.
    """

    block: Block
    path: str
    ports: tuple[str, ...]
    outer: tuple[Block, ...] = ()
    scope: Named | None = None
    base: Node | None = None

    @property
    def name(self) -> str:
        """Its name in its scope."""
        return self.path.rpartition(".")[2]


@dataclass(frozen=True, slots=True, eq=False)
class Named:
    """A map of blocks where it stands.

    Attributes:
        blocks: the blocks as written.
        ports: the ports of the composite around it, or the graph inputs.
        resolved: its edges.
        path: path of the composite, empty for the document.
        owner: the composite, None for the document.
    """

    blocks: Mapping[str, Block]
    ports: tuple[str, ...]
    resolved: Scope
    path: str = ""
    owner: Block | None = None


@dataclass(slots=True)
class Walk:
    """All sites and scopes of a spec, outer ones first."""

    spec: Spec
    sites: list[Site] = field(default_factory=list[Site])
    scopes: list[Named] = field(default_factory=list[Named])

    @property
    def document(self) -> Named:
        """The outermost scope."""
        return self.scopes[0]


def walk(spec: Spec) -> Walk:
    """Go through a spec whose fields are valid. Layers whose variation has faults are left out."""
    found = Walk(spec)
    inputs = tuple(spec.inputs)
    resolved = resolve(spec.blocks, inputs, chain_from=inputs[0] if len(inputs) == 1 else None)
    _scope(found, Named(spec.blocks, inputs, resolved), ())
    return found


def plan_of(block: Block) -> LayerPlan | None:
    """The merged layers of a block that repeats one, if its variation has no faults."""
    if not isinstance(block, Varied) or any(check_variation(block, effect=False)):
        return None
    plan = getattr(block, "plan", None)
    return plan if isinstance(plan, LayerPlan) else None


def _scope(found: Walk, named: Named, outer: tuple[Block, ...], base: Node | None = None) -> None:
    found.scopes.append(named)
    for name, block in named.blocks.items():
        ports = tuple(named.resolved.wires.get(name, {}))
        path = f"{named.path}.{name}" if named.path else name
        _visit(found, Site(block, path, ports, outer, named, base))


def _visit(found: Walk, site: Site) -> None:
    found.sites.append(site)
    block, outer = site.block, (*site.outer, site.block)
    maps: dict[str, dict[str, Block]] = {}
    for keys, child in block.inside():
        if len(keys) > 1:
            maps.setdefault(keys[0], {})[keys[1]] = child
        else:
            ports = site.ports if block.takes_extra_ports else tuple(child.inputs)[:1]
            _visit(found, Site(child, f"{site.path}.{keys[0]}", ports, outer, None, site.base))
    for blocks in maps.values():
        resolved = resolve(blocks, site.ports, chain_from="x")
        _scope(found, Named(blocks, site.ports, resolved, site.path, block), outer, site.base)
    plan = plan_of(block)
    if plan is not None:
        assert isinstance(block, Varied)
        first = _first_uses(plan)
        for choice, layer, _ in plan.distinct():
            base = block.layer.node if choice.names else site.base
            inner = Site(layer, f"{site.path}.layers.{first[choice]}", site.ports, outer, None, base)
            _visit(found, inner)


def _first_uses(plan: LayerPlan) -> dict[Choice, int]:
    first: dict[Choice, int] = {}
    for index, choice in enumerate(plan.choices):
        first.setdefault(choice, index)
    return first


def in_layers(site: Site) -> bool:
    """Whether the block stands in a layer that is repeated."""
    return any(isinstance(block, Varied) for block in site.outer)


