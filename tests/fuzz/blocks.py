"""The rules of each kind of block (codes FX04xx and FX05xx), with its parameters and its output edge."""

from __future__ import annotations

from typing import Any

from tests.fuzz.edges import (
    Attention,
    Edge,
    Findings,
    Outputs,
    Param,
    Place,
    Table,
    has_prefix,
    inputs_of,
    is_cut,
    is_plain,
    length,
    same_length,
)  # fmt: skip
from tests.fuzz.latent import LatentRules

Data = dict[str, Any]
PLACES = {"pre": ["input"], "post": ["residual"], "sandwich": ["input", "output"], "reordered": ["output"]}


class BlockRules(LatentRules):
    """Rules by kind: each method takes the block with its defaults, its wired ports and its place.

    A port whose edge is not known, because what makes it is wrong itself, is None.
    """

    def __init__(self) -> None:
        self.found = Findings()

    def block(self, written: Any, ports: Outputs, place: Place) -> Outputs | None:
        raise NotImplementedError

    def init(self, init: Data, params: dict[str, Param] | None) -> None:
        raise NotImplementedError

    def say(self, code: str, *, when: object = True) -> None:
        if when:
            self.found.graph.add(code)

    def param(self, place: Place, name: str, role: str, *shape: int) -> None:
        path = place.at(name).path if name else place.path
        self.found.params[path] = Param(role, shape, place.layered)

    def linear(self, place: Place, name: str, widths: tuple[int, int], *, bias: bool, role: str = "projection") -> None:
        """``widths``: in, out."""
        start = f"{name}." if name else ""
        self.param(place, f"{start}weight", role, widths[1], widths[0])
        if bias:
            self.param(place, f"{start}bias", "bias", widths[1])

    # ---- norms

    def norm(self, norm: Data | None, width: int | None, place: Place) -> None:
        if norm is None:
            return
        gain, by_std = norm.get("gain", True), norm["kind"] == "std_norm"
        self.say("FX0501", when=gain is False and norm["gain_offset"] != 0)
        self.say("FX0501", when=gain is False and norm.get("fp32_gain"))
        self.say("FX0406", when=by_std and width == 1)
        if gain and width is not None:
            self.param(place, "weight", "gain", 1 if gain == "scalar" else width)
        if norm.get("bias", by_std) and width is not None:
            self.param(place, "bias", "bias", width)
        if width is not None and not norm.get("shares"):
            self.init(norm["init"], self.found.below(place.path))

    def layer_norm(self, b: Data, ports: Outputs, place: Place) -> Any:
        x = ports.get("x")
        self.norm(b, x.width if x else None, place)
        return x

    rms_norm = std_norm = layer_norm

    def placement(self, b: Data) -> list[str]:
        self.say("FX0504", when=(b["norm"] is None) != (b["norm_placement"] is None))
        written = b["norm_placement"] or []
        return PLACES[written] if isinstance(written, str) else written

    # ---- embeddings

    def embedding(self, b: Data, ports: Outputs, place: Place) -> Any:
        tied, position, types, held = b["tied_to"], b["position"], b["token_types"] or 0, b["projection"]
        own = table_of(b) if tied is None else None
        table = self.found.tables.get(tied) if tied is not None else own
        self.say("FX0202", when=tied is None and None in (b["vocab_size"], b["d_model"]))
        fixed = (b["vocab_size"], b["d_model"], held)
        self.say("FX0702", when=tied is not None and any(value is not None for value in fixed))
        self.say("FX0701", when=tied is not None and table is None)
        adds = position is not None or types > 0
        projected = held is not None if tied is None else table is None or table.at is not None
        self.say("FX0501", when=b["norm_at"] != "sum" and b["norm"] is None)
        self.say("FX0501", when=b["norm_at"] == "projected" and not projected)
        self.say("FX0501", when=b["norm_at"] == "token" and not adds)
        self.say("FX0501", when=held is not None and held["at"] == "token" and not adds)
        self.say("FX0508", when=(types >= 2) != ("token_types" in ports))
        tokens, segments = ports.get("tokens"), ports.get("token_types")
        self.say("FX0402", when=tokens and segments and tokens.axis != segments.axis)
        self.position(position, None)
        if table is None:
            return None
        width = table.width if table.at == "sum" else table.model_width
        self.position(position, width)
        self._embedding_params(b, table, place)
        if tokens is None:
            return None
        if position is not None and position["ids"]["kind"] == "non_pad_cumsum":
            self.found.stateful.add(tokens.axis[0])
        reach = {position["max_len"]} if position is not None and "max_len" in position else set()
        return Edge("sequence", table.model_width, tokens.axis, tokens.tables | reach)

    def _embedding_params(self, b: Data, table: Table, place: Place) -> None:
        width = table.width if table.at == "sum" else table.model_width
        if b["tied_to"] is None:
            self.param(place, "tokens.weight", "embedding", table.rows, table.width)
            if table.at is not None:
                self.linear(place, "projection", (table.width, table.model_width), bias=table.biased)
        self.position_rows(b["position"], width, place)
        if b["token_types"]:
            self.param(place, "token_types.weight", "token_type", b["token_types"], width)
        normed = {"token": table.width, "sum": width, "projected": table.model_width}[b["norm_at"]]
        self.norm(b["norm"], normed, place.at("norm"))

    def position(self, position: Data | None, width: int | None) -> None:
        """What of a table goes by its own fields and the width it is added to."""
        if position is None:
            return
        self.say("FX0406", when=position.get("theta", 2) <= 1)
        if position["kind"] == "sinusoidal" and width is not None:
            self.say("FX0405", when=width % 2)
            self.say("FX0406", when=position["style"] == "fairseq" and width < 4)

    def position_rows(self, position: Data | None, width: int, place: Place) -> None:
        if position is None or "max_len" not in position:
            return
        counted = position["ids"]["pad_id"] + 1 if position["ids"]["kind"] == "non_pad_cumsum" else 0
        self.param(place, "positions.weight", "position", position["max_len"] + position["offset"] + counted, width)

    def add_position(self, b: Data, ports: Outputs, place: Place) -> Any:
        x, position = ports.get("x"), b["position"]
        self.say("FX0508", when=position["ids"]["kind"] == "non_pad_cumsum")
        self.position(position, x.width if x else None)
        if x is None:
            return None
        self.position_rows(position, x.width, place)
        self.reaches(position.get("max_len"), x)
        reach = {position["max_len"]} if "max_len" in position else set()
        return Edge(x.type, x.width, x.axis, x.tables | reach)

    def reaches(self, max_len: int | None, x: Edge) -> None:
        """A length that no input changes lies within the table."""
        self.say("FX0206", when=max_len is not None and not inputs_of(x.axis) and length(x.axis, len) > max_len)

    # ---- attention

    def multi_head(self, b: Data, ports: Outputs, place: Place) -> Any:
        x = ports.get("x")
        memory = ports.get("memory", x)
        self.say("FX0404", when=b["n_heads"] % (b["n_kv_heads"] or b["n_heads"]))
        qk = b["qk"]
        self.say("FX0501", when=qk["at"] != "before_rotary" and (b["rotary"] is None or qk["norm"] is None))
        self.say("FX0501", when=qk["norm"] is None and (qk["over"] != "head" or qk["gain"] != "shared"))
        silent = qk["norm"] is not None and not (qk["norm"].get("gain", True) or qk["norm"].get("bias"))
        self.say("FX0501", when=qk["gain"] != "shared" and (qk["over"] == "all" or silent))
        self.say("FX0511", when=b["scores"]["inverse_layer_scale"] and not place.layered)
        self.mask_alone(b["mask"] or {})
        if b["rotary"] is not None:
            self.say("FX0406", when=b["rotary"]["theta"] <= 1)
            self.scaling_alone(b["rotary"]["scaling"])
        if x is None:
            return None
        self.say("FX0403", when=b["head_dim"] is None and x.width % b["n_heads"])
        if memory is None:
            return x
        if memory.axis == x.axis:
            self._self_attention(b, x, memory.width, place=place)
        else:
            masked = b["mask"] is not None and (b["mask"]["kind"] != "full" or mask_spans(b["mask"]))
            self.say("FX0502", when=b["rotary"] is not None or b["scores"]["bias"] is not None or masked)
            if not is_plain(memory.axis):
                self.found.stateful |= inputs_of(memory.axis)
        self._attention_params(b, x.width, memory.width, place=place)
        return x

    def _self_attention(self, b: Data, x: Edge, memory: int, *, place: Place) -> None:
        self.say("FX0202", when=b["mask"] is None)
        mask = b["mask"] or {"kind": "full"}
        causal = mask["kind"] == "causal"
        self.mask_over(mask, x)
        head_dim = b["head_dim"] or x.width // b["n_heads"]
        if b["rotary"] is not None:
            dim = b["rotary"]["dim"] or head_dim
            self.say("FX0405", when=dim % 2 or dim > head_dim)
            self.scaling(b["rotary"], dim, head_dim)
        own = b["scores"]["bias"]
        self.say("FX0503", when=own is not None and place.shared is not None)
        reader = self._reader(b, x, memory, causal=causal)
        if own is not None:
            self.bias(own, reader, place.at("score_bias"))
        if place.shared is not None:
            place.shared.readers.add(reader)
        read = own or (place.shared.bias if place.shared is not None else None)
        if read is not None:
            self.reaches(read.get("max_len"), x)
            self.projections(read, reader, place)

    def mask_alone(self, mask: Data) -> None:
        """What its own fields show."""
        self.say("FX0501", when=mask.get("keep_first") and not mask_spans(mask))

    def mask_over(self, mask: Data, x: Edge) -> None:
        """What shows over a sequence, and whether it is read token by token."""
        self.say("FX0501", when=mask["kind"] == "prefix" and not has_prefix(x.axis))
        if mask["kind"] != "full" and is_plain(x.axis):
            self.found.stateful.add(x.axis[0])
        for span in mask_spans(mask):
            late = [reach for reach in x.tables if span >= reach]
            if late and len(late) < len(x.tables):
                self.found.doubtful.add("FX0509")
            self.say("FX0509", when=late and len(late) == len(x.tables))

    def _reader(self, b: Data, x: Edge, memory: int, *, causal: bool) -> Attention:
        head_dim, bias = b["head_dim"] or x.width // b["n_heads"], b["bias"]
        return Attention(
            heads=b["n_heads"], groups=b["n_kv_heads"] or b["n_heads"], head_dim=head_dim,
            v_dim=b["v_head_dim"] or head_dim, width=x.width, key_width=memory, causal=causal,
            sinks=b["scores"].get("sinks") is not None,
            biased=(bias["q"], bias["k"]) if isinstance(bias, dict) else (bias, bias),
        )  # fmt: skip

    def _attention_params(self, b: Data, width: int, memory: int, *, place: Place) -> None:
        heads, groups = b["n_heads"], b["n_kv_heads"] or b["n_heads"]
        head_dim = b["head_dim"] or width // heads
        v_dim = b["v_head_dim"] or head_dim
        bias = b["bias"] if isinstance(b["bias"], dict) else dict.fromkeys("qkvo", b["bias"])
        self.linear(place, "q_proj", (width, heads * head_dim), bias=bias["q"], role="query_projection")
        self.linear(place, "k_proj", (memory, groups * head_dim), bias=bias["k"])
        self.linear(place, "v_proj", (memory, groups * v_dim), bias=bias["v"])
        self.linear(place, "o_proj", (heads * v_dim, width), bias=bias["o"], role="residual_projection")
        for name, several in (("q_norm", heads), ("k_norm", groups)):
            self.norm(b["qk"]["norm"], several * head_dim if b["qk"]["over"] == "all" else head_dim, place.at(name))
            if b["qk"]["gain"] == "per_head":
                for path, param in self.found.below(place.at(name).path).items():
                    self.param(place.at(name), path, param.role, several, *param.shape)
        if b["scores"]["sinks"] == "learned":
            self.param(place, "sinks", "sink", heads)
        self.norm(b["output"]["norm"], heads * v_dim, place.at("norm"))
        if b["output"]["gate"] is not None:
            self.linear(place, "gate_proj", (width, heads * v_dim), bias=False, role="gate")

    def scaling(self, rotary: Data, dim: int, head_dim: int) -> None:
        """What of a scaling goes by the channels of a head."""
        scaling = rotary["scaling"]
        if scaling is None:
            return
        self.say("FX0406", when=scaling["kind"] in ("dynamic", "ntk") and dim < 4)
        if scaling["kind"] == "proportional":
            self.say("FX0405", when=head_dim % 2)
            self.say("FX0406", when=rotary["style"] == "interleaved")
        if scaling["kind"] == "longrope":
            self.say("FX0405", when={len(scaling["short_factor"]), len(scaling["long_factor"])} != {dim // 2})

    def scaling_alone(self, scaling: Data | None) -> None:
        """What its own fields show."""
        if scaling is None:
            return
        self.say("FX0406", when=scaling.get("original_max_len", 2) < 2)
        self.say("FX0406", when=scaling.get("low_freq_factor", 0) >= scaling.get("high_freq_factor", 1))
        self.say("FX0406", when=scaling.get("beta_slow", 0) >= scaling.get("beta_fast", 1))
        scales = [scaling.get("mscale"), scaling.get("mscale_all_dim")]
        self.say("FX0511", when=(scales[0] is None) != (scales[1] is None))
        self.say("FX0511", when=None not in scales and scaling["attention_factor"] is not None)

    def short_conv(self, b: Data, ports: Outputs, place: Place) -> Any:
        x = ports.get("x")
        if x is None:
            return None
        if is_plain(x.axis):
            self.found.stateful.add(x.axis[0])
        self.linear(place, "in_proj", (x.width, 3 * x.width), bias=b["bias"])
        self.param(place, "conv.weight", "conv", x.width, 1, b["kernel"])
        if b["bias"]:
            self.param(place, "conv.bias", "bias", x.width)
        self.linear(place, "out_proj", (x.width, x.width), bias=b["bias"], role="residual_projection")
        return x

    # ---- small blocks

    def linear_block(self, b: Data, ports: Outputs, place: Place) -> Any:
        x = ports.get("x")
        if x is None:
            return None
        self.linear(place, "", (x.width, b["d_out"]), bias=b["bias"])
        self.slopes(b, place)
        return x.of(b["d_out"])

    def same(self, b: Data, ports: Outputs, place: Place) -> Any:
        return ports.get("x")

    dropout = same

    def add(self, b: Data, ports: Outputs, place: Place) -> Any:
        edges = ports.get("x") or []
        if not isinstance(edges, list):
            self.say("FX0305")
            return None
        if not edges or None in edges:
            return None
        first = edges[0]
        if any(edge.type != first.type for edge in edges):
            self.say("FX0302")
            return None
        self.one_width(edges)
        self.one_length(edges)
        if b["kind"] == "weighted_sum":
            self.say("FX0511", when=b["initial"] is not None and len(b["initial"]) != len(edges))
            self.param(place, "weights", "", len(edges), first.width if b["weights"] == "channel" else 1)
        return Edge(first.type, first.width, first.axis, reach(edges))

    def one_width(self, edges: list[Edge]) -> None:
        self.say("FX0401", when=len({edge.width for edge in edges}) > 1)

    def one_length(self, edges: list[Edge]) -> None:
        axes = [edge.axis for edge in edges if edge.type == "sequence"]
        self.say("FX0402", when=any(not same_length(axes[0], axis) for axis in axes[1:]))
        if any(axis != axes[0] and (is_cut(axis) or is_cut(axes[0])) for axis in axes):
            self.found.doubtful.add("FX0402")

    def joined(self, ports: Outputs) -> list[Edge]:
        """The edges of a variadic port, none if they are not known."""
        edges = ports.get("x") or []
        if not isinstance(edges, list):
            self.say("FX0305")
            return []
        return [] if None in edges else edges

    weighted_sum = add

    def downsample(self, b: Data, ports: Outputs, place: Place) -> Any:
        x = ports.get("x")
        return x and Edge("sequence", x.width, (*x.axis, b["factor"]), x.tables)

    def upsample(self, b: Data, ports: Outputs, place: Place) -> Any:
        x, like = ports.get("x"), ports.get("like")
        if x is None or like is None:
            return None
        self.say("FX0402", when=not same_length(x.axis, like.axis, factor=b["factor"]))
        if is_cut(x.axis) or is_cut(like.axis):
            self.found.doubtful.add("FX0402")
        return Edge("sequence", x.width, like.axis, x.tables)


def reach(edges: list[Edge]) -> frozenset[int]:
    """The position tables on the way to any of these."""
    return frozenset[int]().union(*(edge.tables for edge in edges))


def table_of(b: Data) -> Table | None:
    """The table that an embedding owns, as far as its fields say."""
    rows, width, held = b.get("vocab_size"), b.get("d_model"), b.get("projection")
    if not isinstance(rows, int) or not isinstance(width, int):
        return None
    if held is None:
        return Table(rows, width, width)
    return Table(rows, held["dim"], width, held.get("at", "sum"), held.get("bias", False))


def mask_spans(mask: Data) -> list[int]:
    """How far a mask lets queries see, where it says so."""
    return [mask[field] for field in ("window", "chunk") if mask.get(field)]
