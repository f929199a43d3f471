"""Every block of a spec with its surroundings, merged layers included: what the checks go through."""

from __future__ import annotations

from dataclasses import dataclass, field

from flexit.errors import Problem
from flexit.ir.block import Block, Fault
from flexit.ir.expansion.scope import Scope, resolve
from flexit.ir.faults import at_node, problem_of
from flexit.ir.language.layers import LayerPlan, Varied, check_variation
from flexit.ir.language.variation import Choice
from flexit.ir.language.written import Node
from flexit.ir.spec import Spec


@dataclass(frozen=True, slots=True)
class Site:
    """A block where it stands.

    Attributes:
        path: its path in the program; of a layer, that of the first one like it.
        ports: names of the ports it is given.
        outer: the blocks around it, outermost first.
        scope: the named blocks it is one of, or None in a slot.
        base: the layer as written, where overrides were merged into it.
        node: where it is written, also where that is just the name of its kind.
    """

    block: Block
    path: str
    ports: tuple[str, ...]
    outer: tuple[Block, ...] = ()
    scope: Named | None = None
    base: Node | None = None
    node: Node | None = None

    def problem(self, fault: Fault) -> Problem:
        """The problem that a fault of the block is."""
        return problem_of(self.node, self.path, fault, siblings=self.scope.node if self.scope is not None else None)

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
        node: where the map is written.
    """

    blocks: dict[str, Block]
    ports: tuple[str, ...]
    resolved: Scope
    path: str = ""
    owner: Block | None = None
    node: Node | None = None

    def problem(self, name: str, fault: Fault) -> Problem:
        """The problem that a fault of one of the blocks is."""
        node = self.blocks[name].node or _below(self.node, name)
        return problem_of(node, f"{self.path}.{name}" if self.path else name, fault)


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

    def problem(self, fault: Fault) -> Problem:
        """The problem that a fault of the document's own fields is."""
        return at_node(self.spec.node or Node({}), fault)


def walk(spec: Spec) -> Walk:
    """Go through a spec whose fields are valid. Layers whose variation has faults are left out."""
    found = Walk(spec)
    inputs = tuple(spec.inputs)
    resolved = resolve(spec.blocks, inputs, chain_from=inputs[0] if len(inputs) == 1 else None)
    _scope(found, Named(spec.blocks, inputs, resolved, node=_below(spec.node, "blocks")))
    return found


def plan_of(block: Block) -> LayerPlan | None:
    """The merged layers of a block that repeats one, if its variation has no faults."""
    if not isinstance(block, Varied) or any(check_variation(block, effect=False)):
        return None
    plan = getattr(block, "plan", None)
    return plan if isinstance(plan, LayerPlan) else None


def _scope(found: Walk, named: Named, *, outer: tuple[Block, ...] = (), base: Node | None = None) -> None:
    found.scopes.append(named)
    for name, block in named.blocks.items():
        ports = tuple(named.resolved.wires.get(name, {}))
        path = f"{named.path}.{name}" if named.path else name
        _visit(found, Site(block, path, ports, outer, named, base, block.node or _below(named.node, name)))


def _visit(found: Walk, site: Site) -> None:
    found.sites.append(site)
    block, outer = site.block, (*site.outer, site.block)
    maps: dict[str, dict[str, Block]] = {}
    for (key, *entry), child in block.inside():
        if entry:
            maps.setdefault(key, {})[entry[0]] = child
        else:
            ports = site.ports if block.takes_extra_ports else tuple(child.inputs)[:1]
            node = child.node or _below(site.node, key)
            _visit(found, Site(child, f"{site.path}.{key}", ports, outer, None, site.base, node))
    for key, blocks in maps.items():
        resolved = resolve(blocks, site.ports, chain_from="x")
        named = Named(blocks, site.ports, resolved, site.path, block, _below(site.node, key))
        _scope(found, named, outer=outer, base=site.base)
    plan = plan_of(block)
    if plan is not None:
        assert isinstance(block, Varied)
        first = _first_uses(plan)
        for choice, layer, written in plan.distinct():
            base = block.layer.node if choice.names else site.base
            inner = Site(layer, f"{site.path}.layers.{first[choice]}", site.ports, outer, None, base, written)
            _visit(found, inner)


def _below(node: Node | None, key: str) -> Node | None:
    if node is None:
        return None
    found, left = node.find(tuple(key.split(".")))
    return None if left else found


def _first_uses(plan: LayerPlan) -> dict[Choice, int]:
    first: dict[Choice, int] = {}
    for index, choice in enumerate(plan.choices):
        first.setdefault(choice, index)
    return first
