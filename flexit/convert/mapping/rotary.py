"""The form of rotations: ``rope_parameters`` and the older keys that say the same, and our ``rotary``.

What the keys mean: ``transformers``' ``modeling_rope_utils``.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import nextafter
from typing import Any, cast

from flexit.convert.mapping.forms import ABSENT, Data, Form, Found, Incomplete, Mismatch, Scope, is_absent

PARAMETERS = "rope_parameters"
SCALING = "rope_scaling"
OLDER = (SCALING, "rope_theta", "partial_rotary_factor", "original_max_position_embeddings")
"""Keys of configurations that were written before ``rope_parameters``."""
ORIGINAL, LONGEST = "original_max_position_embeddings", "max_position_embeddings"

SCALINGS: dict[str, dict[str, str]] = {
    "linear": {"factor": "factor"},
    "dynamic": {"factor": "factor"},
    "yarn": {
        "factor": "factor", ORIGINAL: "original_max_len", "beta_fast": "beta_fast", "beta_slow": "beta_slow",
        "mscale": "mscale", "mscale_all_dim": "mscale_all_dim", "attention_factor": "attention_factor",
        "truncate": "truncate",
    },
    "longrope": {
        "factor": "factor", ORIGINAL: "original_max_len", "short_factor": "short_factor",
        "long_factor": "long_factor", "attention_factor": "attention_factor",
    },
    "llama3": {
        "factor": "factor", ORIGINAL: "original_max_len", "low_freq_factor": "low_freq_factor",
        "high_freq_factor": "high_freq_factor",
    },
}  # fmt: skip
"""Rope type -> their parameters and ours."""
OLD_NAMES = {"su": "longrope"}
"""What early configurations of a family call a rope type."""


class Rope(Form):
    """``{$rope: style}``: a rotation with what the configuration says of theta, channels and scaling.

    Beside it: ``theta``, the base where none is given, or ``{layer: base}``; ``base: key``, where it stands if it is
    not ``rope_theta``; ``by: key``, where each kind of layer has a rotation of its own; ``heads: X``, the channels of a
    head; ``dim: X``, the channels that turn; ``part: key``, where the share of them stands if it is not
    ``partial_rotary_factor``; ``share: X``, that share where nothing is given; ``thetas: {layer: key}``, the base of a
    kind of layer where rotations are not given by kind, which then has no scaling; ``besides: [key, ...]``, parameters
    that something else reads; ``latent: true``, of latent attention, whose scores ``mscale_all_dim`` scales.
    """

    name = "rope"
    arguments = frozenset({"theta", "by", "heads", "dim", "part", "share", "thetas", "base", "besides", "latent"})

    @staticmethod
    def fill(args: Data, scope: Scope) -> Any:
        given = _parameters(args, scope)
        if args.get("latent") and given.get("mscale_all_dim") and not _is_pair(given):
            raise Incomplete(f"{PARAMETERS}.mscale_all_dim", "mscale beside it, and no attention_factor", given)
        dim: Any = ABSENT
        if "dim" in args:
            dim = scope.fill(args["dim"])
        elif (share := given.get("partial_rotary_factor", args.get("share"))) is not None and share != 1:
            dim = int(scope.fill(args.get("heads", "$head_dim")) * share)
        besides = cast("list[str]", args.get("besides", []))
        scaling = _scaling({key: value for key, value in given.items() if key not in besides}, scope)
        rotary = {"theta": given["rope_theta"], "style": str(args[""]), "dim": dim, "scaling": scaling}
        return {key: value for key, value in rotary.items() if not isinstance(value, str) or value != ABSENT}

    @staticmethod
    def read(args: Data, value: Any, found: Found) -> None:
        if not isinstance(value, dict):
            raise Mismatch("a rotation", value)
        rotary = cast("Data", value)
        if rotary.get("style", "half") != args[""]:
            raise Mismatch(args[""], rotary.get("style"), ("style",))
        told: Data = {"rope_theta": rotary.get("theta", 10000.0), "rope_type": "default"}
        if "dim" in args:
            found.read(args["dim"], rotary.get("dim"))
        elif rotary.get("dim") is not None:
            width = _width(args.get("heads", "$head_dim"), found)
            if width is not None:
                told["partial_rotary_factor"] = share_of(rotary["dim"], width)
        elif "share" in args:
            told["partial_rotary_factor"] = 1.0
        _read_scaling(rotary.get("scaling"), told, found)
        _note(args, told, found)


def _note(args: Data, told: Data, found: Found) -> None:
    """Note the parameters of a rotation, and where else a part of them stands."""
    if told["rope_type"] == "longrope" and "by" not in args:
        found.bind(ORIGINAL, told[ORIGINAL])  # Phi-3 has a default of its own for it, outside the parameters
    if "." in str(args.get("base")):
        found.bind(str(args["base"]), told["rope_theta"])
    if "by" in args:
        kind = found.known(str(args["by"]))
        if kind is None:
            raise Mismatch("a kind of layer that is known", None)
        found.bind(f"{PARAMETERS}.{kind}", told)
    else:
        found.bind(PARAMETERS, told)


def _width(heads: Any, found: Found) -> int | None:
    """The channels of a head as far as they are known."""
    try:
        return Scope(found.keys, {}, frozenset()).fill(heads)
    except Incomplete:
        return None


def share_of(dim: int, width: int) -> float:
    """The share of the channels that turn, such that its product with all of them is not rounded down."""
    share = dim / width
    return share if int(width * share) == dim else nextafter(share, 1.0)


def _parameters(args: Data, scope: Scope) -> Data:
    """The parameters of one rotation in the newest form, ``rope_theta`` and ``rope_type`` among them."""
    scope.used.update((PARAMETERS, *OLDER))
    kind = scope.value(str(args["by"])) if "by" in args else None
    given = _given(scope.config)
    if not isinstance(given, dict):
        raise Incomplete(PARAMETERS, "a mapping", given)
    entries = cast("Data", given)
    is_nested = bool(entries) and all(isinstance(each, dict) or each is None for each in entries.values())
    found: Data = {}
    thetas = cast("Data", args.get("thetas", {}))
    scope.used.update(str(key) for key in thetas.values())
    if is_nested:
        if kind is None or entries.get(kind) is None:
            raise Incomplete(PARAMETERS, "one rotation" if kind is None else f"a rotation of {kind}", given)
        found = dict(cast("Data", entries[kind]))
    elif kind in thetas and (scope.knows(str(thetas[kind])) or not scope.has(PARAMETERS)):
        named = str(thetas[kind])
        found = {"rope_theta": scope.value(named) if scope.knows(named) else _usual(args, kind)}
    else:
        found = dict(entries)
    if kind in thetas and thetas[kind] in scope.defaults:
        found.setdefault("rope_theta", scope.value(str(thetas[kind])))
    base = str(args.get("base", "rope_theta"))
    theta = scope.value(base) if base in scope.config else None
    scope.used.add(base)
    found.setdefault("rope_theta", _usual(args, kind) if theta is None else theta)
    named = str(args.get("part", "partial_rotary_factor"))
    scope.used.add(named)
    part = scope.value(named) if scope.knows(named) else None
    if part is not None and not is_absent(part):
        found.setdefault("partial_rotary_factor", part)
    older = str(found.pop("type", "default"))
    found.setdefault("rope_type", older)
    found["rope_type"] = OLD_NAMES.get(found["rope_type"], found["rope_type"])
    return found


def _given(config: Mapping[str, Any]) -> Any:
    """What the one key or the other says; ``transformers`` drops the newer one where both stand there."""
    newer, older = config.get(PARAMETERS), config.get(SCALING)
    if newer and older and _settled(newer, config) != _settled(older, config):
        raise Incomplete(SCALING, f"only one of it and {PARAMETERS}, or the same in both", older)
    return newer or older or {}


def _settled(given: Any, config: Mapping[str, Any]) -> Any:
    """What is said of a rotation, whatever its words."""
    if not isinstance(given, dict):
        return given
    entries = {"rope_theta": config.get("rope_theta"), **cast("Data", given)}
    older = entries.pop("type", "default")
    return {"rope_type": older, **entries}


def _usual(args: Data, kind: Any) -> float:
    """The base where none is given."""
    theta: Any = args.get("theta", 10000.0)
    return cast("Data", theta)[kind] if isinstance(theta, dict) else theta


def _scaling(given: Data, scope: Scope) -> Any:
    kind = given["rope_type"]
    if kind == "default":
        return ABSENT
    if kind == "dynamic" and given.get("alpha") is not None:
        return {"kind": "ntk", "alpha": given["alpha"]}
    if kind not in SCALINGS:
        raise Incomplete(f"{PARAMETERS}.rope_type", f"one of default, {', '.join(SCALINGS)}", kind)
    _refuse_others(given, kind)
    scaling: Data = {"kind": kind}
    if kind == "dynamic":
        scaling["original_max_len"] = scope.value(LONGEST)
    elif ORIGINAL in SCALINGS[kind]:
        scaling["original_max_len"] = scope.config.get(ORIGINAL) or given.get(ORIGINAL) or scope.value(LONGEST)
    for theirs, ours in SCALINGS[kind].items():
        if given.get(theirs) is not None and ours not in scaling:
            scaling[ours] = given[theirs]
    if "factor" not in scaling:
        scaling["factor"] = scope.value(LONGEST) / scaling["original_max_len"]
    return _told(scaling)


def _is_pair(given: Data) -> bool:
    """Whether both scales of yarn stand there, and nothing that takes their place."""
    return bool(given.get("mscale")) and given.get("attention_factor") is None


def _refuse_others(given: Data, kind: str) -> None:
    """Refuse parameters that the kind of scaling is not known to have."""
    known = {"rope_type", "rope_theta", "partial_rotary_factor", *SCALINGS[kind]}
    known |= {ORIGINAL, "alpha"} if kind == "dynamic" else set[str]()
    for key in given.keys() - known:
        if given[key] is not None:
            raise Incomplete(f"{PARAMETERS}.{key}", f"no such parameter of {kind}", given[key])


def _told(scaling: Data) -> Data:
    """Without what stands alone, or stands beside what it follows from: theirs ignore it."""
    if scaling.get("attention_factor") is not None:
        return {key: value for key, value in scaling.items() if key not in ("mscale", "mscale_all_dim")}
    pair = [scaling.get(key) for key in ("mscale", "mscale_all_dim")]
    if not all(pair):
        return {key: value for key, value in scaling.items() if key not in ("mscale", "mscale_all_dim")}
    return scaling


def _read_scaling(value: Any, told: Data, found: Found) -> None:
    """Add to ``told`` what gives the scaling."""
    if value is None:
        return
    scaling = cast("Data", value)
    kind = scaling.get("kind")
    if kind == "ntk":
        told |= {"rope_type": "dynamic", "factor": 1.0, "alpha": scaling["alpha"]}
        return
    if kind not in SCALINGS:
        raise Mismatch(f"one of {', '.join(SCALINGS)}", kind, ("scaling", "kind"))
    told["rope_type"] = kind
    for theirs, ours in SCALINGS[str(kind)].items():
        if scaling.get(ours) is not None:
            told[theirs] = scaling[ours]
    if kind == "dynamic":
        found.bind(LONGEST, scaling["original_max_len"])
