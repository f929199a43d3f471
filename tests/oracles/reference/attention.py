"""Token mixers: softmax attention and the gated short convolution, query by query and tap by tap."""

import math
from dataclasses import dataclass

import numpy as np

from tests.oracles.reference import score_bias
from tests.oracles.reference.edges import Sequence
from tests.oracles.reference.masks import seer
from tests.oracles.reference.numbers import linear, normed, softmax
from tests.oracles.reference.scaling import frequencies


def multi_head(run, f, path, ports):
    """softmax(scale * q k^T + bias) v, over the sequence itself or over a memory."""
    x, memory = ports["x"], ports.get("memory", ports["x"])
    cross = memory.axis is not x.axis
    n_heads, width = f.get("n_heads"), x.x.shape[-1]
    groups = f.get("n_kv_heads", n_heads)
    head_dim = f.get("head_dim", width // n_heads)
    v_dim = f.get("v_head_dim", head_dim)
    bias = biases(f, "bias", "qkvo")
    c = f.get("clip_qkv", None)
    q = linear(run, f"{path}.q_proj", x.x, d_out=n_heads * head_dim, bias=bias["q"])
    k = linear(run, f"{path}.k_proj", memory.x, d_out=groups * head_dim, bias=bias["k"])
    v = linear(run, f"{path}.v_proj", memory.x, d_out=groups * v_dim, bias=bias["v"])
    q, k, v = (h if c is None else np.minimum(np.maximum(h, -c), c) for h in (q, k, v))
    qk, rotary = f.group("qk", {}), f.group("rotary", None)
    q = prepared(run, qk, rotary, f"{path}.q_norm", rows=q, heads=n_heads, axis=x.axis)
    k = prepared(run, qk, rotary, f"{path}.k_norm", rows=k, heads=groups, axis=memory.axis)
    v = v.reshape(*v.shape[:2], groups, v_dim)
    scores = f.group("scores", {})
    scale = scores.get("scale", "rsqrt_head_dim")
    scale = 1.0 / math.sqrt(head_dim) if scale == "rsqrt_head_dim" else scale
    by_layer = 1.0 / (run.layer_index + 1) if scores.get("inverse_layer_scale", False) else 1.0
    cap = scores.get("softcap", None)
    sinks = sink_logits(run, scores.get("sinks", None), f"{path}.sinks", n_heads)
    q = q * temperatures(scores.group("temperature", None), x.axis)[..., None, None]
    mask = f.one("mask", "Mask", "full" if cross else None)
    sees = seer(mask)
    own, owner = scores.one("bias", "Bias", None), path
    if run.shared_bias is not None and not cross:
        own, owner = run.shared_bias
    reader = score_bias.Reader(
        path=path, q=q, k=k, rank=x.axis.rank, width=width, v_dim=v_dim, causal=mask.kind == "causal", scale=scale,
        biased=bias,
    )  # fmt: skip
    term = score_bias.read(run, own, f"{owner}.score_bias", reader)
    f.aside("dropout", "init")
    mixed = np.zeros((*x.x.shape[:2], n_heads, v_dim))
    for row, query, head in np.ndindex(mixed.shape[:3]):
        unpadded = [key for key in range(memory.axis.length) if memory.axis.mask[row, key]]
        keys = [key for key in unpadded if cross or sees(x.axis, row=row, query=query, key=key)]
        if not keys:
            continue  # a pad; whatever it holds means nothing
        group = head // (n_heads // groups)
        apart = {key: 0 if cross else int(x.axis.rank[row, key] - x.axis.rank[row, query]) for key in keys}
        raw = []
        for key, d in apart.items():
            pair = (row, query, key)
            score = float(q[row, query, head] @ k[row, key, group]) + term.inner(head, d, pair)
            score *= scale * by_layer / term.divisor
            score = score if cap is None else cap * math.tanh(score / cap)
            raw.append(score + term.outer(head, d, pair))
        weights = softmax([*raw, *sinks[head]])[: len(keys)]
        for weight, (key, d) in zip(weights, apart.items(), strict=True):
            mixed[row, query, head] += weight * (v[row, key, group] + term.value(head, d))
    joined = mixed.reshape(*mixed.shape[:2], n_heads * v_dim)
    joined = after_heads(run, f.group("output", {}), path, joined=joined, x=x.x)
    return {"last_hidden_state": x.of(linear(run, f"{path}.o_proj", joined, d_out=width, bias=bias["o"]))}


def after_heads(run, output, path, *, joined, x):
    """Normed over all heads, then times sigmoid(W x)."""
    norm = output.one("norm", "Block", None)
    if norm is not None:
        joined = normed(run, norm, f"{path}.norm", joined)
    if output.get("gate", None) == "sigmoid":
        joined = joined / (1.0 + np.exp(-linear(run, f"{path}.gate_proj", x, d_out=joined.shape[-1], bias=False)))
    return joined


def sink_logits(run, sinks, path, n_heads):
    """For each head the logits that only the denominator has: none, or one."""
    if sinks is None:
        return [[]] * n_heads
    return [[logit] for logit in (run.weight(path, (n_heads,)) if sinks == "learned" else np.zeros(n_heads))]


def temperatures(temperature, axis):
    """1 + scale * log(1 + floor((p + offset) / floor)) of every slot."""
    if temperature is None:
        return np.ones(axis.mask.shape)
    scale, floor, offset = (temperature.get("scale"), temperature.get("floor"), temperature.get("offset", 0))
    factors = np.ones((axis.rows, axis.length))
    for row, slot in np.ndindex(factors.shape):
        position = int(np.broadcast_to(axis.position, factors.shape)[row, slot])
        factors[row, slot] += scale * math.log(1 + (position + offset) // floor)
    return factors


def biases(f, key, names):
    """A bool for all projections, or a group that says which."""
    value = f.get(key, False)
    if isinstance(value, bool):
        return dict.fromkeys(names, value)
    group = f.group(key)
    return {name: group.get(name, False) for name in names}


def prepared(run, qk, rotary, path, *, rows, heads, axis):
    """Heads of q or k, normed and turned in the order that ``at`` says."""
    norm, over, at = qk.one("norm", "Block", None), qk.get("over", "head"), qk.get("at", "before_rotary")
    own_gains = qk.get("gain", "shared") == "per_head"

    def norm_heads(h):
        if norm is None:
            return h
        if own_gains:
            each = [normed(OfHead(run, heads, head), norm, path, h[:, :, head]) for head in range(heads)]
            return np.stack(each, 2)
        if over == "head":
            return normed(run, norm, path, h)
        return normed(run, norm, path, h.reshape(*h.shape[:2], -1)).reshape(h.shape)

    h = rows.reshape(*rows.shape[:2], heads, -1)
    if rotary is None:
        return norm_heads(h)
    return norm_heads(turned(rotary, h, axis)) if at == "after_rotary" else turned(rotary, norm_heads(h), axis)


@dataclass
class OfHead:
    """The weights of one head where every head has its own."""

    run: object
    heads: int
    head: int

    def weight(self, path, shape):
        return self.run.weight(path, (self.heads, *shape))[self.head]


def turned(rotary, h, axis):
    """Channel pairs turn by p times their frequency, which a scaling may change by the row's length."""
    head_dim = h.shape[-1]
    dim = rotary.get("dim", head_dim)
    theta, style = rotary.get("theta", 10000.0), rotary.get("style", "half")
    scaling = rotary.one("scaling", "Scaling", None)
    spread = head_dim if scaling is not None and scaling.kind == "proportional" else dim
    result = h.copy()
    for row in range(h.shape[0]):
        unpadded = axis.position[row][axis.mask[row]]
        turns, size = frequencies(scaling, theta, dim, head_dim=head_dim, n=max(unpadded, default=-1) + 1)
        for slot, head in np.ndindex(h.shape[1:3]):
            for pair, turn in enumerate(turns):
                one, two = (pair, pair + spread // 2) if style == "half" else (2 * pair, 2 * pair + 1)
                angle = int(axis.position[row, slot]) * turn
                a, b = h[row, slot, head, one], h[row, slot, head, two]
                result[row, slot, head, one] = size * (a * math.cos(angle) - b * math.sin(angle))
                result[row, slot, head, two] = size * (a * math.sin(angle) + b * math.cos(angle))
    return result


def mla(run, f, path, ports):
    """Heads of which some channels are maps of a latent and do not turn, and others, turned, are of the token itself;
    the turned channels of the keys are one for all heads.
    """
    x, n_heads, rank = ports["x"], f.get("n_heads"), f.get("kv_lora_rank")
    nope, rope, v_dim = f.get("qk_nope_head_dim"), f.get("qk_rope_head_dim"), f.get("v_head_dim")
    norm, biased, rotary = f.one("norm", "Block", "rms_norm"), f.get("bias", False), f.group("rotary")
    q, name, narrow = x.x, "q_proj", f.get("q_lora_rank", None)
    if narrow is not None:
        q, name = linear(run, f"{path}.q_a_proj", x.x, d_out=narrow, bias=biased), "q_b_proj"
        q = normed(run, norm, f"{path}.q_a_norm", q)
    q = linear(run, f"{path}.{name}", q, d_out=n_heads * (nope + rope), bias=False)
    q = q.reshape(*q.shape[:2], n_heads, nope + rope)
    both = linear(run, f"{path}.kv_a_proj", x.x, d_out=rank + rope, bias=biased)
    latent = normed(run, norm, f"{path}.kv_a_norm", both[..., :rank])
    own = linear(run, f"{path}.kv_b_proj", latent, d_out=n_heads * (nope + v_dim), bias=False)
    own = own.reshape(*own.shape[:2], n_heads, nope + v_dim)
    q_turned, k_turned = turned(rotary, q[..., nope:], x.axis), turned(rotary, both[:, :, None, rank:], x.axis)
    scores, sees = f.group("scores", {}), seer(f.one("mask", "Mask"))
    warmth = temperatures(scores.group("temperature", None), x.axis)
    scale = scores.get("scale", "rsqrt_head_dim")
    if scale == "rsqrt_head_dim":
        scale = magnitude(rotary.one("scaling", "Scaling", None)) ** 2 / math.sqrt(nope + rope)
    scale = scale / (run.layer_index + 1) if scores.get("inverse_layer_scale", False) else scale
    cap = scores.get("softcap", None)
    sinks = sink_logits(run, scores.get("sinks", None), f"{path}.sinks", n_heads)
    f.aside("dropout", "init")
    scores.aside("bias")
    mixed = np.zeros((*x.x.shape[:2], n_heads, v_dim))
    for row, query, head in np.ndindex(mixed.shape[:3]):
        keys = [
            key for key in range(x.axis.length)
            if x.axis.mask[row, key] and sees(x.axis, row=row, query=query, key=key)
        ]  # fmt: skip
        if not keys:
            continue  # a pad; whatever it holds means nothing
        raw = [
            scale * warmth[row, query] * float(
                q[row, query, head, :nope] @ own[row, key, head, :nope]
                + q_turned[row, query, head] @ k_turned[row, key, 0]
            ) for key in keys
        ]  # fmt: skip
        raw = raw if cap is None else [cap * math.tanh(score / cap) for score in raw]
        for weight, key in zip(softmax([*raw, *sinks[head]])[: len(keys)], keys, strict=True):
            mixed[row, query, head] += weight * own[row, key, head, nope:]
    joined = mixed.reshape(*mixed.shape[:2], n_heads * v_dim)
    return {"last_hidden_state": x.of(linear(run, f"{path}.o_proj", joined, d_out=x.x.shape[-1], bias=biased))}


def magnitude(scaling):
    """What a yarn scaling makes of the scores of heads of which only some channels turn: DeepSeek's ``mscale``."""
    if scaling is None:
        return 1.0
    scaling.aside(*scaling.data)  # the rotation reads the others
    if scaling.kind != "yarn" or scaling.get("mscale_all_dim", None) is None:
        return 1.0
    return 0.1 * scaling.get("mscale_all_dim") * math.log(scaling.get("factor")) + 1.0


def short_conv(run, f, path, ports):
    """out(c * conv(b * v)) with [b, c, v] = in(x); taps go by unpadded tokens."""
    x, kernel, bias = ports["x"], f.get("kernel"), f.get("bias", False)
    f.aside("init")
    width = x.x.shape[-1]
    parts = linear(run, f"{path}.in_proj", x.x, d_out=3 * width, bias=bias)
    b, c, v = parts[..., :width], parts[..., width : 2 * width], parts[..., 2 * width :]
    taps = run.weight(f"{path}.conv.weight", (width, 1, kernel))
    offset = run.weight(f"{path}.conv.bias", (width,)) if bias else np.zeros(width)
    mixed = np.zeros_like(x.x)
    for row, slot in np.ndindex(mixed.shape[:2]):
        mixed[row, slot] = offset
        tokens = [at for at in range(slot + 1) if x.axis.mask[row, at]]
        for back, at in enumerate(reversed(tokens[-kernel:])):
            mixed[row, slot] += taps[:, 0, kernel - 1 - back] * b[row, at] * v[row, at]
    return {"last_hidden_state": Sequence(linear(run, f"{path}.out_proj", c * mixed, d_out=width, bias=bias), x.axis)}
