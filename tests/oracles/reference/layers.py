"""Composites: residual sub-layers, layers, stacks with variants, graphs."""

from tests.oracles.reference.blocks import main
from tests.oracles.reference.fields import Fields
from tests.oracles.reference.numbers import normed

PLACES = {"pre": ["input"], "post": ["residual"], "sandwich": ["input", "output"], "reordered": ["output"]}
SUBLAYERS = ("attention", "cross_attention", "feed_forward")


class Wrapped:
    """x = residual_norm(skip * x + multiplier * scale * output_norm(f(input_norm(x))))."""

    def __init__(self, norm, placement, prefix, *, multiplier, skip_multiplier, layer_scale, skip_from="input"):
        self.norm, self.prefix = norm, prefix
        self.places = PLACES[placement] if isinstance(placement, str) else placement or []
        self.multiplier, self.skip_multiplier = multiplier, skip_multiplier
        self.layer_scale, self.skip_from = layer_scale, skip_from

    def apply(self, run, x, branch):
        before = self.at(run, "input", x.x)
        y = self.at(run, "output", branch(x.of(before)))
        if self.layer_scale is not None:
            y = y * run.weight(f"{self.prefix}layer_scale", (x.x.shape[-1],))
        skip = before if self.skip_from == "normed" else x.x
        return x.of(self.at(run, "residual", self.skip_multiplier * skip + self.multiplier * y))

    def at(self, run, place, x):
        if self.norm is None or place not in self.places:
            return x
        return normed(run, self.norm, f"{self.prefix}{place}_norm", x)


def transformer_layer(run, f, path, ports):
    """Attention, cross-attention and feed-forward, each in a residual sub-layer."""
    x, memory = ports["x"], ports.get("memory")
    norm, placement = f.one("norm", "Block"), f.get("norm_placement", None)
    bodies = {name: f.get(name, None) if name == "cross_attention" else f.get(name) for name in SUBLAYERS}
    present = [name for name in SUBLAYERS if bodies[name] is not None]
    form = f.one("residual", "Residual", "sequential")
    if form.kind == "parallel":
        return main(parallel(run, f, form, path=path, x=x))
    multiplier = form.get("multiplier", 1.0)
    more = {
        "skip_multiplier": form.get("skip_multiplier", 1.0),
        "layer_scale": form.get("layer_scale", None),
        "skip_from": form.get("skip_from", "input"),
    }
    normed_ones = f.get("norm_on", present)
    f.aside("dropout", "drop_path", "init")
    times = {}
    for name in f.get("order", present):
        times[name] = times.get(name, 0) + 1
        at = f"{path}.{name}" if times[name] == 1 else f"{path}.{name}_{times[name]}"
        factor = multiplier.get(name, 1.0) if isinstance(multiplier, dict) else multiplier
        given = norm if name in normed_ones else None
        wrapped = Wrapped(given, placement, f"{at}_", multiplier=factor, **more)

        def branch(h, name=name, at=at):
            more_ports = {"memory": memory} if name == "cross_attention" else {}
            return next(iter(run.block(bodies[name], at, {"x": h, **more_ports}).values())).x

        x = wrapped.apply(run, x, branch)
    return main(x)


def parallel(run, f, form, *, path, x):
    """skip * x + multiplier * (s1 * o1(attention(n1(x))) + s2 * o2(feed_forward(n2(x)))), n1 = n2 if shared."""
    norm, placement = f.one("norm", "Block"), f.get("norm_placement", None)
    places = PLACES[placement] if isinstance(placement, str) else placement or []
    normed_ones = f.get("norm_on", ["attention", "feed_forward"]) if norm is not None else []
    shared, scale = form.get("norms", "shared") == "shared", form.get("layer_scale", None)
    f.aside("dropout", "drop_path", "init")
    branches = []
    for name in ("attention", "feed_forward"):
        at, h = f"{path}.{name}", x.x
        if name in normed_ones and "input" in places:
            h = normed(run, norm, f"{path}.input_norm" if shared else f"{at}_input_norm", h)
        y = next(iter(run.block(f.get(name), at, {"x": x.of(h)}).values())).x
        if name in normed_ones and "output" in places:
            y = normed(run, norm, f"{at}_output_norm", y)
        branches.append(y if scale is None else y * run.weight(f"{at}_layer_scale", (y.shape[-1],)))
    return x.of(form.get("skip_multiplier", 1.0) * x.x + form.get("multiplier", 1.0) * sum(branches))


def residual(run, f, path, ports):
    """One residual sub-layer around any block; ports other than x go to the body."""
    others = {name: edge for name, edge in ports.items() if name != "x"}
    body = f.get("body")
    wrapped = Wrapped(
        f.one("norm", "Block", None), f.get("norm_placement", None), f"{path}.", multiplier=f.get("multiplier", 1.0),
        skip_multiplier=f.get("skip_multiplier", 1.0), layer_scale=f.get("layer_scale", None),
    )  # fmt: skip
    f.aside("dropout", "drop_path", "init")

    def branch(h):
        return next(iter(run.block(body, f"{path}.body", {"x": h, **others}).values())).x

    return main(wrapped.apply(run, ports["x"], branch))


def graph(run, f, path, ports):
    """A scope of its own; its output is the main port of the last block."""
    blocks = f.get("blocks")
    f.aside("init")
    results = run.scope(blocks, ports, path, chain="x")
    return main(next(iter(results(list(blocks)[-1]).values())))


def stack(run, f, path, ports):
    """``layer`` repeated, with variants; the port ``layers`` is every layer's output, before ``final_norm``."""
    n_layers, x = f.get("n_layers"), ports["x"]
    plan = varied(f, n_layers)
    bias, outer = f.one("score_bias", "Bias", None), run.shared_bias
    outputs, around = [], run.layer_index
    run.shared_bias = outer if bias is None else (bias, path)
    for index, layer in enumerate(plan):
        run.layer_index = index
        taken = {name: edge[index] if isinstance(edge, list) else edge for name, edge in ports.items() if name != "x"}
        weights = f"{path}.layers.{parameter_set(f, index, n_layers)}"
        x = next(iter(run.block(layer, weights, {"x": x, **taken}).values()))
        outputs.append(x)
    run.shared_bias, run.layer_index = outer, around
    final = f.get("final_norm", False)
    if final is not False:
        norm = Fields(run.ledger, f.get("layer")["norm"] if final is True else final, family="Block")
        x = x.of(normed(run, norm, f"{path}.final_norm", x.x))
    f.aside("drop_path_rate", "init")
    return {"last_hidden_state": x, "layers": outputs}


def parameter_set(f, index, n_layers):
    """The layer whose parameters layer ``index`` has: the first of its set."""
    share = f.group("share", None)
    if share is None:
        return index
    groups, order = share.get("groups"), share.get("order", "consecutive")
    sets = [i % groups if order == "cyclic" else i * groups // n_layers for i in range(n_layers)]
    return sets.index(sets[index])


def varied(f, n_layers):
    """The text of each layer: as written, then its pattern entry, then its index."""
    variants, by_index = f.get("variants", {}), f.get("layers", {})
    cycle = []
    for entry in f.get("pattern", ["default"]):
        name, _, count = entry.partition("*") if isinstance(entry, str) else (entry, "", "")
        cycle += [[name] if isinstance(name, str) else name] * int(count or 1)
    plan = []
    for index in range(n_layers):
        layer = f.get("layer")
        for name in [*cycle[index % len(cycle)], *named(by_index, index, n_layers)]:
            layer = layer if name == "default" else merged(layer, variants[name])
        plan.append(layer)
    return plan


def named(by_index, index, n_layers):
    """The variants of the key that hits this layer."""
    for key, names in by_index.items():
        parts = [int(part) if part else None for part in str(key).split(":")]
        hit = index in range(n_layers)[slice(*parts)] if len(parts) > 1 else index == parts[0] % n_layers
        if hit:
            return [names] if isinstance(names, str) else names
    return []


DEFAULT_KINDS = {"residual": "sequential"}
"""Kinds that a merge finds where the text leaves a field out."""


def merged(old, new):
    """A mapping without ``kind`` merges key by key; anything else replaces."""
    if not isinstance(new, dict) or "kind" in new:
        return new
    old = {"kind": old} if isinstance(old, str) else old if isinstance(old, dict) else {}
    return {**old, **{key: merged(old.get(key, DEFAULT_KINDS.get(key)), value) for key, value in new.items()}}
