"""A whole model from the text of its spec: inputs and companions, scopes, edges, shared parameters, outputs."""

import re
from dataclasses import dataclass, field

import numpy as np

from tests.oracles.reference import attention, blocks, layers
from tests.oracles.reference.edges import Logits, Sequence, Tokens, Vector, axis_of
from tests.oracles.reference.fields import Fields, Ledger

KINDS = {
    "embedding": blocks.embedding, "add_position": blocks.add_position,
    "stack": layers.stack, "transformer_layer": layers.transformer_layer,
    "residual": layers.residual, "graph": layers.graph, "multi_head": attention.multi_head,
    "mla": attention.mla, "short_conv": attention.short_conv,
    "mlp": blocks.mlp, "gated_mlp": blocks.mlp, "moe": blocks.moe,
    "layer_norm": blocks.norm_block, "rms_norm": blocks.norm_block, "std_norm": blocks.norm_block, "add": blocks.add,
    "weighted_sum": blocks.weighted_sum, "linear": blocks.linear_block, "dropout": blocks.nothing,
    "pool": blocks.pool, "downsample": blocks.downsample, "upsample": blocks.upsample, "lm_head": blocks.lm_head,
    "multiply": blocks.multiply, "concat": blocks.concat, "slice": blocks.cut, "unpool": blocks.unpool,
    "learned_tokens": blocks.learned_tokens, "dot_product": blocks.dot_product, "mlm_head": blocks.mlm_head,
    "sequence_classifier": blocks.row_head, "regression": blocks.row_head,
    "token_classifier": blocks.token_classifier, "span": blocks.span,
}  # fmt: skip
MAIN = {"embedding": "tokens", "learned_tokens": "like"}
VARIADIC = ("add", "multiply", "weighted_sum", "concat", "dot_product")
EDGE = re.compile(r"(\w+)(?:\.(\w+))?(?:\[(-?\d+)\])?")


@dataclass
class Run:
    """One model being computed.

    Attributes:
        weights: parameters by path. used: those that were read.
        shared: path of a block -> path of the block whose parameters it uses.
        side: router logits in order.
        shared_bias: the score bias of the enclosing stack and the stack's path.
        layer_index: of the layer being computed, in its stack.
    """

    weights: dict
    spec: dict
    ledger: Ledger = field(default_factory=Ledger)
    used: set = field(default_factory=set)
    shared: dict = field(default_factory=dict)
    side: list = field(default_factory=list)
    shared_bias: tuple | None = None
    layer_index: int | None = None

    def weight(self, path, shape):
        """A parameter in float64, its shape checked; ``experts[2]`` is one of a stack."""
        for prefix, owner in self.shared.items():
            theirs = owner + path[len(prefix) :]
            if path.startswith(f"{prefix}.") and re.sub(r"\[\d+\]", "", theirs) in self.weights:
                path = theirs
        number = re.search(r"\[(\d+)\]", path)
        path = re.sub(r"\[\d+\]", "", path)
        self.used.add(path)
        array = np.asarray(self.weights[path], np.float64)
        array = array if number is None else array[int(number[1])]
        assert array.shape == tuple(shape), f"{path} is {array.shape}, not {shape}"
        return array

    def table(self, path, name):
        """The token table of a sibling, or of a block at the top."""
        found = f"{self.owner(path, name)}.tokens.weight"
        self.used.add(found)
        return np.asarray(self.weights[found], np.float64)

    def owner(self, path, name):
        """The path of a sibling that owns a token table, or of such a block at the top."""
        sibling = f"{path.rpartition('.')[0]}.{name}".lstrip(".")
        return sibling if f"{sibling}.tokens.weight" in self.weights else name

    def text_at(self, path):
        """A block of the document, or of the graphs in it, as written."""
        found = self.spec
        for name in path.split("."):
            found = found["blocks"][name]
        return found

    def only_table(self):
        (path,) = [path for path in self.weights if path.endswith("tokens.weight")]
        return self.weights[path]

    def block(self, text, path, ports):
        """The output ports of one block."""
        f = Fields(self.ledger, text, family="Block")
        f.aside("from", "shares")
        return KINDS[f.kind](self, f, path, ports)

    def scope(self, written, ports, path, *, chain):
        """A scope of blocks below ``path``."""
        return Scope(self, written, ports, path=path, chain=chain)

    def wire(self, text, wired, edge):
        """The edges of a block's ports."""
        kind = text if isinstance(text, str) else text["kind"]
        if isinstance(wired, dict) and list(wired) == ["x"] and kind in VARIADIC:
            wired = wired["x"]
        if kind in VARIADIC:
            several = wired if isinstance(wired, list) else [wired]
            found = [edge(one) for one in several]
            return {"x": found[0] if isinstance(found[0], list) else found}
        if not isinstance(wired, dict) or "each" in wired:
            wired = {MAIN.get(kind, "x"): wired}
        return {port: edge(one) for port, one in wired.items()}

    def text_of(self, written, name, path):
        """A block as written; one that shares is merged over its owner, whose parameters it uses."""
        text = written[name]
        owner = text.get("shares") if isinstance(text, dict) else None
        self.ledger.note("Block", "shares", owner, written=owner is not None)
        if owner is None:
            return text
        theirs = {key: value for key, value in written[owner].items() if key != "from"}
        own = {key: value for key, value in text.items() if key not in ("shares", "kind")}
        self.shared[join(path, name)] = join(path, owner)
        return layers.merged(theirs, own)


class Scope:
    """Named blocks and how their edges resolve; each block is computed when its result is first asked for."""

    def __init__(self, run, written, ports, *, path, chain):
        self.run, self.written, self.ports, self.path, self.chain = run, written, ports, path, chain
        self.known = {}

    def __call__(self, name):
        """The output ports of a block."""
        if name not in self.known:
            text = self.run.text_of(self.written, name, self.path)
            wired = text.get("from") if isinstance(text, dict) else None
            self.run.ledger.note("Block", "from", wired, written=wired is not None)
            if wired is None:
                names = list(self.written)
                at = names.index(name)
                wired = names[at - 1] if at else self.chain
            self.known[name] = self.run.block(text, join(self.path, name), self.run.wire(text, wired, self.edge))
        return self.known[name]

    def edge(self, text):
        """One written edge; a list where it says all layers, or one for each of the reader's."""
        if isinstance(text, dict):
            outputs = self(text["each"])["layers"]
            return outputs[::-1] if text.get("order", "same") == "reversed" else list(outputs)
        parsed = EDGE.fullmatch(text)
        assert parsed is not None
        name, port, index = parsed.groups()
        if name in self.ports:
            return self.ports[name]
        outputs = self(name)
        found = outputs[port] if port else next(iter(outputs.values()))
        return found[int(index)] if index is not None else found


def join(path, name):
    return f"{path}.{name}" if path else name


def interpret(spec, weights, given):
    """Outputs by name, each with the mask of its positions if it has any; and the run."""
    run = Run(weights, spec)
    document = Fields(run.ledger, {key: spec[key] for key in ("inputs", "outputs") if key in spec}, group="Spec")
    ports = graph_inputs(run, document.get("inputs", {"input_ids": "tokens"}), given)
    written = spec["blocks"]
    results = run.scope(written, ports, "", chain=next(iter(ports)) if len(ports) == 1 else None)
    outputs = document.get("outputs", None)
    if outputs is None:
        last = results(list(written)[-1])
        edges = {name: edge for name, edge in last.items() if not isinstance(edge, list)}
    else:
        edges = {name: results.edge(text) for name, text in outputs.items()}
    found = {}
    for name, edge in edges.items():
        several = {f"{name}.{index}": one for index, one in enumerate(edge)} if isinstance(edge, list) else {name: edge}
        found |= several
    return {name: (edge.x, mask_of(edge)) for name, edge in found.items()}, run


def mask_of(edge):
    axis = edge.axis if isinstance(edge, Sequence | Logits) else None
    return None if axis is None else axis.mask


def graph_inputs(run, declared, given):
    """Edges of the graph inputs; those with ``like`` share the axis of another."""
    ports = {}
    for name, value in declared.items():
        kind = Fields(run.ledger, value, family="Input")
        like = kind.get("like", None) if kind.kind in ("tokens", "sequence") else None
        if name == "token_type_ids" and like is None:
            like = "input_ids"
        if kind.kind == "vector":
            assert given[name].shape[1] == kind.get("width")
            ports[name] = Vector(np.asarray(given[name], np.float64))
            continue
        axis = ports[like].axis if like else companion_axis(name, given)
        if kind.kind == "tokens":
            ports[name] = Tokens(given[name], axis)
        else:
            assert given[name].shape[2] == kind.get("width")
            ports[name] = Sequence(np.asarray(given[name], np.float64), axis)
    return ports


def companion_axis(name, given):
    """Mask, position ids and prefix lengths, whose names replace the ending of the input's."""
    prefix = re.sub(r"(input_ids|inputs_embeds|hidden_states)$", "", name)
    prefix = f"{name}_" if prefix == name else prefix
    mask = given.get(f"{prefix}attention_mask", np.ones(given[name].shape[:2]))
    lengths = given.get(f"{prefix}prefix_lengths")
    return axis_of(np.asarray(mask) != 0, given.get(f"{prefix}position_ids"), lengths)
