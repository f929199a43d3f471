"""Sources, feed-forwards, small blocks and heads."""

import math

import numpy as np

from tests.oracles.reference.attention import biases
from tests.oracles.reference.edges import Axis, Logits, Sequence, Vector, axis_of
from tests.oracles.reference.fields import Fields, Ledger
from tests.oracles.reference.numbers import activate, linear, normed, softmax


def main(x):
    """The one output port of a block, by the type of the edge."""
    return {{Sequence: "last_hidden_state", Vector: "pooled", Logits: "logits"}[type(x)]: x}


# ---- sources


def embedding(run, f, path, ports):
    """Rows x multiplier, + positions, + token types; norm, projection and dropout of mask tokens in their places."""
    tokens, tied = ports["tokens"], f.get("tied_to", None)
    home = path if tied is None else run.owner(path, tied)
    own = (
        f if tied is None else Fields(Ledger(), run.text_at(home), family="Block")
    )  # what the tie brings is its case's
    width, held = own.get("d_model"), own.group("projection", None)
    at, biased = (held.get("at", "sum"), held.get("bias", False)) if held else (None, False)
    if tied is None:
        table = run.weight(f"{path}.tokens.weight", (f.get("vocab_size"), held.get("dim") if held else width))
    else:
        table = run.table(path, tied)
    multiplier = f.get("multiplier", 1.0)
    x = table[tokens.ids] * (math.sqrt(width) if multiplier == "sqrt_d_model" else multiplier)
    x = without_masked(f.group("token_dropout", None), x, tokens)
    norm, norm_at = f.one("norm", "Block", None), f.get("norm_at", "sum")

    def norm_here(x, place):
        return x if norm is None or norm_at != place else normed(run, norm, f"{path}.norm", x)

    def projected(x):
        return norm_here(linear(run, f"{home}.projection", x, d_out=width, bias=biased), "projected")

    x = norm_here(x, "token")
    x = projected(x) if at == "token" else x
    position = f.one("position", "Position", None)
    if position is not None:
        x = x + positions(run, position, path, axis=tokens.axis, width=x.shape[-1], tokens=tokens)
    types = f.get("token_types", None)
    if types is not None:
        rows = run.weight(f"{path}.token_types.weight", (types, x.shape[-1]))
        x = x + (rows[0] if types == 1 else rows[ports["token_types"].ids])
    x = norm_here(x, "sum")
    f.aside("dropout", "init")
    return main(Sequence(projected(x) if at == "sum" else x, tokens.axis))


def without_masked(dropout, x, tokens):
    """ESM: rows of the mask token are zero, the others times (1 - ratio) / (1 - share of masked tokens)."""
    if dropout is None:
        return x
    mask_id, ratio = dropout.get("mask_id"), dropout.get("ratio", 0.12)
    y = np.zeros_like(x)
    for row in range(len(x)):
        valid = [slot for slot in range(x.shape[1]) if tokens.axis.mask[row, slot]]
        masked = sum(tokens.ids[row, slot] == mask_id for slot in valid)
        for slot in valid:
            if tokens.ids[row, slot] != mask_id:
                y[row, slot] = x[row, slot] * (1 - ratio) / (1 - masked / len(valid))
    return y


def add_position(run, f, path, ports):
    """A table added to any sequence."""
    x, position = ports["x"], f.one("position", "Position")
    f.aside("init")
    return main(x.of(x.x + positions(run, position, path, axis=x.axis, width=x.x.shape[-1])))


def position_ids(ids, axis, tokens):
    """Those that were passed, or ranks, slots, or a running count of what is neither hidden nor the pad token."""
    if axis.passed or ids.kind == "rank":
        ids.aside("pad_id")
        return axis.position
    if ids.kind == "slot":
        return np.tile(np.arange(axis.length), (axis.rows, 1))
    assert ids.kind == "non_pad_cumsum"
    pad = ids.get("pad_id")
    at = np.full(tokens.ids.shape, pad)
    for row in range(axis.rows):
        count = pad
        for slot in range(axis.length):
            if axis.mask[row, slot] and tokens.ids[row, slot] != pad:
                count += 1
                at[row, slot] = count
    return at


def positions(run, position, path, *, axis, width, tokens=None):
    """A trained row per position id, or sines and cosines of it."""
    ids = position.one("ids", "Ids", "rank")
    at = position_ids(ids, axis, tokens) + position.get("offset", 0)
    if position.kind == "learned":
        counted = ids.get("pad_id") + 1 if ids.kind == "non_pad_cumsum" else 0
        rows = position.get("max_len") + position.get("offset", 0) + counted
        return run.weight(f"{path}.positions.weight", (rows, width))[at]
    style, theta = position.get("style", "interleaved"), position.get("theta", 10000.0)
    half = width // 2
    table = np.zeros((*at.shape, width))
    for row, slot, i in np.ndindex(*at.shape, half):
        exponent = -i / (half - 1) if style == "fairseq" else -2.0 * i / width
        angle = int(at[row, slot]) * theta**exponent
        one, two = (2 * i, 2 * i + 1) if style == "interleaved" else (i, i + half)
        table[row, slot, one], table[row, slot, two] = math.sin(angle), math.cos(angle)
    return table


# ---- feed-forwards


def mlp(run, f, path, ports):
    """down(act(up(x))), or with a gate down(act(gate(x)) * up(x))."""
    x, d_ff, gated = ports["x"], f.get("d_ff"), f.kind == "gated_mlp"
    activation = f.get("activation", "silu" if gated else "gelu")
    bias = biases(f, "bias", ("in", "out"))
    h = linear(run, f"{path}.up_proj", x.x, d_out=d_ff, bias=bias["in"])
    if gated:
        gate, clamp = linear(run, f"{path}.gate_proj", x.x, d_out=d_ff, bias=bias["in"]), f.group("clamp", None)
        if clamp is not None:
            gate = np.where(gate > clamp.get("gate_max"), clamp.get("gate_max"), gate)
            most, offset = clamp.get("up_abs"), clamp.get("up_offset", 0.0)
            h = np.where(abs(h) > most, np.sign(h) * most, h) + offset
        h = h * activate(run, activation, gate, path)
    else:
        h = activate(run, activation, h, path)
    norm = f.one("norm", "Block", None)
    h = h if norm is None else normed(run, norm, f"{path}.norm", h)
    f.aside("dropout", "init")
    return main(x.of(linear(run, f"{path}.down_proj", h, d_out=x.x.shape[-1], bias=bias["out"])))


def moe(run, f, path, ports):
    """Sum over the chosen experts of weight * expert(x), token by token, and what runs for every token."""
    x, n_experts, top_k = ports["x"], f.get("n_experts"), f.get("top_k")
    router = f.group("router", {})
    logits = linear(run, f"{path}.router", x.x, d_out=n_experts, bias=router.get("bias", False))
    run.side.append(logits)
    preferred = np.zeros(n_experts)
    if router.get("selection_bias", False):
        preferred = run.weight(f"{path}.router.selection_bias", (n_experts,))
    on_input = router.get("weight_on", "output") == "input"
    y, groups = np.zeros_like(x.x), router.group("groups", None)
    weights = np.zeros((*x.x.shape[:2], n_experts))
    for row, slot in np.ndindex(x.x.shape[:2]):
        scores = scored(router.get("score", "softmax"), logits[row, slot])
        pool = set(range(n_experts)) if groups is None else in_best_groups(groups, scores + preferred)
        chosen = sorted(pool, key=lambda number, all_=scores + preferred: -all_[number])[:top_k]
        counted = scored(router.get("after_top_k", "none"), scores[chosen])
        counted = counted / sum(counted) if router.get("normalize", False) else counted
        weights[row, slot, chosen] = counted * router.get("scale", 1.0)
    for number in range(n_experts):
        weight = weights[..., number, None]
        given = x.of(x.x * weight) if on_input else x
        (result,) = run.block(f.get("expert"), f"{path}.experts[{number}]", {"x": given}).values()
        y += np.where(weight == 0, 0, result.x) if on_input else weight * result.x
    if f.get("shared", None) is not None:
        (always,) = run.block(f.get("shared"), f"{path}.shared", {"x": x}).values()
        gate = 1.0
        if f.get("shared_gate", False):
            gate = scored("sigmoid", linear(run, f"{path}.shared_gate", x.x, d_out=1, bias=False))
        y += gate * always.x
    f.aside("init", "shared_gate")
    return main(x.of(y))


def scored(name, logits):
    """A function of the logits of one token, or the logits themselves."""
    if name == "softmax":
        return softmax(logits)
    return 1.0 / (1.0 + np.exp(-logits)) if name == "sigmoid" else logits


def in_best_groups(groups, scores):
    """The experts of the groups whose best, or whose two best together, are the highest."""
    count, size = groups.get("n_groups"), len(scores) // groups.get("n_groups")
    best = 1 if groups.get("score", "max") == "max" else 2
    worth = [sum(sorted(scores[size * at : size * (at + 1)])[-best:]) for at in range(count)]
    kept = sorted(range(count), key=lambda at: -worth[at])[: groups.get("top_k")]
    return {number for at in kept for number in range(size * at, size * (at + 1))}


# ---- small blocks


def add(run, f, path, ports):
    """Sum."""
    f.aside("init")
    first = ports["x"][0]
    return main(first.of(sum(edge.x for edge in ports["x"])))


def multiply(run, f, path, ports):
    """Product; a vector is repeated for every slot of the sequences."""
    f.aside("init")
    edges = ports["x"]
    first = next((edge for edge in edges if isinstance(edge, Sequence)), edges[0])
    product = np.ones_like(first.x)
    for edge in edges:
        spread = isinstance(first, Sequence) and isinstance(edge, Vector)
        product = product * (edge.x[:, None] if spread else edge.x)
    return main(first.of(product))


def concat(run, f, path, ports):
    """Channels side by side, or slots one after the other, whose ranks and positions are counted anew."""
    f.aside("init")
    edges = ports["x"]
    if f.get("axis", "channels") == "channels":
        return main(edges[0].of(np.concatenate([edge.x for edge in edges], axis=-1)))
    rows = [[slot for edge in edges for slot in edge.x[row]] for row in range(len(edges[0].x))]
    mask = [[valid for edge in edges for valid in edge.axis.mask[row]] for row in range(len(edges[0].x))]
    return main(Sequence(np.array(rows), axis_of(np.array(mask, bool))))


def cut(run, f, path, ports):
    """Slots from start to stop; ranks and position ids are kept."""
    x, start, stop = ports["x"], f.get("start", 0), f.get("stop", None)
    f.aside("init")
    kept = list(range(x.axis.length))[start:stop]
    axis = Axis(x.axis.mask[:, kept], x.axis.rank[:, kept], x.axis.position[:, kept])
    return main(Sequence(x.x[:, kept], axis))


def learned_tokens(run, f, path, ports):
    """The same trained vectors in every row, none of them padding."""
    like, count = ports["like"], f.get("n_tokens")
    f.aside("init")
    rows = run.weight(f"{path}.tokens", (count, like.x.shape[-1]))
    return main(Sequence(np.array([rows] * like.axis.rows), axis_of(np.ones((like.axis.rows, count), bool))))


def unpool(run, f, path, ports):
    """One linear map, cut into vectors."""
    x, count = ports["x"].x, f.get("n_tokens")
    f.aside("init")
    flat = linear(run, f"{path}.projection", x, d_out=count * x.shape[1], bias=f.get("bias", False))
    rows = np.array([np.split(row, count) for row in flat])
    return main(Sequence(rows, axis_of(np.ones((len(x), count), bool))))


def dot_product(run, f, path, ports):
    """Sum of products."""
    f.aside("init")
    one, other = (edge.x for edge in ports["x"])
    return main(Logits(np.array([[math.fsum(a * b)] for a, b in zip(one, other, strict=True)]), None))


def weighted_sum(run, f, path, ports):
    """Learned weights per input, or per input and channel."""
    edges, by_channel = ports["x"], f.get("weights", "scalar") == "channel"
    weights = run.weight(f"{path}.weights", (len(edges), edges[0].x.shape[-1] if by_channel else 1))
    if f.get("softmax", False):
        weights = np.stack([softmax(column) for column in weights.T], axis=1)
    f.aside("initial", "init")
    return main(edges[0].of(sum(edge.x * weight for edge, weight in zip(edges, weights, strict=True))))


def linear_block(run, f, path, ports):
    """activation(x W^T + b)."""
    x = ports["x"]
    y = linear(run, path, x.x, d_out=f.get("d_out"), bias=f.get("bias", False))
    f.aside("init")
    return main(x.of(activate(run, f.get("activation", None), y, path)))


def nothing(run, f, path, ports):
    """Dropout outside training."""
    f.aside("p", "init")
    return main(ports["x"])


def norm_block(run, f, path, ports):
    """A norm that stands alone."""
    return main(ports["x"].of(normed(run, f, path, ports["x"].x)))


def downsample(run, f, path, ports):
    """Length n to ceil(n / factor), over the unpadded members of each group."""
    x, factor, method = ports["x"], f.get("factor"), f.get("method", "mean")
    f.aside("init")
    groups = math.ceil(x.axis.length / factor)
    y = np.zeros((x.axis.rows, groups, x.x.shape[-1]))
    mask = np.zeros((x.axis.rows, groups), bool)
    for row, group in np.ndindex(mask.shape):
        slots = range(group * factor, min((group + 1) * factor, x.axis.length))
        members = [x.x[row, slot] for slot in slots if x.axis.mask[row, slot]]
        if members:
            mask[row, group] = True
            y[row, group] = {
                "mean": lambda rows: np.mean(rows, axis=0),
                "max": lambda rows: np.max(rows, axis=0),
                "first": lambda rows: rows[0],
            }[method](members)
    return main(Sequence(y, axis_of(mask)))


def upsample(run, f, path, ports):
    """Each vector repeated, cut to the length of ``like``."""
    x, like, factor = ports["x"], ports["like"], f.get("factor")
    f.aside("init")
    y = np.stack([x.x[:, slot // factor] for slot in range(like.axis.length)], axis=1)
    return main(Sequence(y, like.axis))


# ---- vectors and heads


def pooled(x, method):
    """One vector per row over its unpadded positions."""
    rows = []
    for row in range(x.axis.rows):
        valid = x.x[row][x.axis.mask[row]]
        rows.append({"first": valid[0], "last": valid[-1], "mean": valid.mean(0), "max": valid.max(0)}[method])
    return np.stack(rows)


def dense(run, group, path, v):
    """Linear, activation, norm."""
    h = linear(run, f"{path}.dense", v, d_out=group.get("dim", v.shape[-1]), bias=group.get("bias", False))
    h = activate(run, group.get("activation", "tanh"), h, f"{path}.dense")
    norm = group.one("norm", "Block", None)
    return h if norm is None else normed(run, norm, f"{path}.dense_norm", h)


def pool(run, f, path, ports):
    """A vector, through a hidden layer, of length one."""
    v = pooled(ports["x"], f.get("method"))
    hidden = f.group("dense", None)
    v = v if hidden is None else dense(run, hidden, path, v)
    f.aside("init")
    return main(Vector(v / np.sqrt((v**2).sum(-1, keepdims=True)) if f.get("normalize", False) else v))


def row_head(run, f, path, ports):
    """Pool, dense, linear."""
    x, method = ports["x"], f.get("pool", None)
    v = x.x if method is None else pooled(x, method)
    hidden = f.group("dense", None)
    v = v if hidden is None else dense(run, hidden, path, v)
    f.aside("dropout", "init")
    return main(Logits(linear(run, f"{path}.out", v, d_out=f.get("n_labels"), bias=f.get("bias", True)), None))


def token_classifier(run, f, path, ports):
    """Dense, linear, per position."""
    x, hidden = ports["x"], f.group("dense", None)
    h = x.x if hidden is None else dense(run, hidden, path, x.x)
    f.aside("dropout", "init")
    y = linear(run, f"{path}.out", h, d_out=f.get("n_labels"), bias=f.get("bias", True))
    return main(Logits(y, x.axis))


def span(run, f, path, ports):
    """Two scores per position."""
    x = ports["x"]
    y = linear(run, f"{path}.out", x.x, d_out=2, bias=f.get("bias", True))
    f.aside("dropout", "init")
    return {"start_logits": Logits(y[..., 0], x.axis), "end_logits": Logits(y[..., 1], x.axis)}


def by_table(run, f, path, h, *, table=None):
    """table . h + bias."""
    if table is None:
        rows = f.get("vocab_size", None) or run.only_table().shape[0]
        table = run.weight(f"{path}.table.weight", (rows, h.shape[-1]))
    y = np.einsum("...i,oi->...o", h, table)
    if f.get("bias", f.kind == "mlm_head"):
        y = y + run.weight(f"{path}.bias", (table.shape[0],))
    f.aside("init")
    return y


def lm_head(run, f, path, ports):
    """softcap(multiplier * (table . (input_multiplier * x) + bias))."""
    x, tied = ports["x"], f.get("tied_to", None)
    held, h = f.group("projection", None), x.x
    if held is not None:
        h = linear(run, f"{path}.projection", h, d_out=held.get("dim"), bias=held.get("bias", False))
    factor = f.get("input_multiplier", 1.0)
    h = h * (1.0 / math.sqrt(x.x.shape[-1]) if factor == "rsqrt_d_model" else factor)
    y = f.get("multiplier", 1.0) * by_table(run, f, path, h, table=None if tied is None else run.table(path, tied))
    cap = f.get("softcap", None)
    return main(Logits(y if cap is None else cap * np.tanh(y / cap), x.axis))


def mlm_head(run, f, path, ports):
    """Dense, activation, norm, then the table."""
    x, tied = ports["x"], f.get("tied_to", None)
    table = None if tied is None else run.table(path, tied)
    hidden, h = f.group("dense", {}), x.x
    if hidden is not None:
        width = hidden.get("dim", h.shape[-1] if table is None else table.shape[1])
        h = linear(run, f"{path}.dense", h, d_out=width, bias=hidden.get("bias", True))
        h = activate(run, hidden.get("activation", "gelu"), h, f"{path}.dense")
        norm = hidden.one("norm", "Block", "layer_norm")
        h = h if norm is None else normed(run, norm, f"{path}.dense_norm", h)
    return main(Logits(by_table(run, f, path, h, table=table), x.axis))
