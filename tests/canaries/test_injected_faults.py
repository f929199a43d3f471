"""Faults put into one backend only are caught on stress weights and traced to the right block."""

import importlib
from dataclasses import replace

import numpy as np
import pytest

from flexit.errors import ProofError
from flexit.ir.program import at_path
from flexit.runtime.bundles.export import export
from tests.canaries.conftest import SPECS, load

SPEC = {path.stem: path for path in SPECS}


def _op(name):
    return importlib.import_module(f"flexit.lower.onnx.ops.{name}")


def _rotation_reversed(monkeypatch):
    honest = _op("rotate").lower

    def lower(node, e):
        sine = node.inputs[2]
        kept, e.values[sine] = e.values[sine], e("Neg", e.values[sine])
        result = honest(node, e)
        e.values[sine] = kept
        return result

    monkeypatch.setattr(_op("rotate"), "lower", lower)


def _mask_off_by_one(monkeypatch):
    honest = _op("mask")._causal
    monkeypatch.setattr(_op("mask"), "_causal", lambda e, key_mask, q_rank: _shifted(honest, e, key_mask, q_rank))


def _shifted(honest, e, key_mask, q_rank):
    node = honest(e, key_mask, q_rank).producer()
    return e("LessOrEqual", e("Sub", node.inputs[0], np.int64(1)), node.inputs[1])


def _gate_swapped(monkeypatch):
    honest = _op("linear").lower

    def lower(node, e):
        if node.path.endswith(".gate_proj"):
            up = {slot: _renamed(param) for slot, param in node.params.items()}
            node = replace(node, params=up)
        return honest(node, e)

    monkeypatch.setattr(_op("linear"), "lower", lower)


def _renamed(param):
    return at_path(param, param.path.replace("gate_proj", "up_proj"))


def _wrong_eps(monkeypatch):
    honest = _op("norm")._divided

    def divided(e, x, op):
        return honest(e, x, replace(op, eps=10 * op.eps))

    monkeypatch.setattr(_op("norm"), "_divided", divided)


def _scale_missing(monkeypatch):
    honest = _op("attention").lower

    def lower(node, e):
        return honest(replace(node, op=replace(node.op, scale=1.0)), e)

    monkeypatch.setattr(_op("attention"), "lower", lower)


def _cache_written_late(monkeypatch):
    honest = _op("append").lower

    def lower(node, e):
        state = e.state(node)
        result = honest(node, e)
        if state is not None:
            e.present[state.path] = e("Concat", e.past[state.path], e("Mul", e[node.inputs[0]], 0.0), axis=node.op.axis)
        return result

    monkeypatch.setattr(_op("append"), "lower", lower)


def _bias_dropped(monkeypatch):
    honest = _op("linear").lower

    def lower(node, e):
        if node.path.endswith(".o_proj"):
            node = replace(node, params={"weight": node.params["weight"]})
        return honest(node, e)

    monkeypatch.setattr(_op("linear"), "lower", lower)


def _pads_between_counted(monkeypatch):
    """Ranks that begin at the first token and count every slot after it: right for pads at either end."""
    honest = _op("positions").lower

    def lower(node, e):
        if node.op.kind == "slot":
            return honest(node, e)
        first = e("ArgMax", e[node.inputs[0]], axis=1, keepdims=1)
        slots = honest(replace(node, op=replace(node.op, kind="slot")), e)
        return e("Max", e("Sub", slots, first), np.int64(0))

    monkeypatch.setattr(_op("positions"), "lower", lower)


def _earlier_positions_ignored(monkeypatch):
    """Right wherever the position ids are those that would be counted."""
    monkeypatch.setattr(_op("given"), "lower", lambda node, e: e("Max", *(e[value] for value in node.inputs)))


def _softcap_skipped(monkeypatch):
    honest = _op("attention").lower

    def lower(node, e):
        return honest(replace(node, op=replace(node.op, softcap=None)), e)

    monkeypatch.setattr(_op("attention"), "lower", lower)


def _sinks_dropped(monkeypatch):
    honest = _op("attention").lower

    def lower(node, e):
        return honest(replace(node, inputs=(*node.inputs[:5], None, *node.inputs[6:])), e)

    monkeypatch.setattr(_op("attention"), "lower", lower)


FAULTS = [
    (_rotation_reversed, "llama", "decoder.layers.0.attention"),
    (_mask_off_by_one, "llama", "decoder.layers.0.attention"),
    (_gate_swapped, "llama", "decoder.layers.0.feed_forward"),
    (_wrong_eps, "llama", "decoder.layers.0.attention"),
    (_scale_missing, "llama", "decoder.layers.0.attention"),
    (_pads_between_counted, "llama", "decoder.layers.0.attention"),
    (_earlier_positions_ignored, "llama", "decoder.layers.0.attention"),
    (_earlier_positions_ignored, "gpt2", "embed"),
    (_bias_dropped, "gpt2", "decoder.layers.0.attention"),
    (_softcap_skipped, "capped", "decoder.layers.0.attention"),
    (_sinks_dropped, "capped", "decoder.layers.0.attention"),
    (_cache_written_late, "gpt2", "a state"),
]


@pytest.mark.ort
@pytest.mark.parametrize(("fault", "name", "where"), FAULTS, ids=lambda value: getattr(value, "__name__", None))
def test_caught_and_localised(fault, name, where, monkeypatch, stressed, tmp_path):
    module = stressed(load(SPEC[name]))
    fault(monkeypatch)
    with pytest.raises(ProofError, match=f"{where.replace('.', '[.]')}") as error:
        export(module, tmp_path / "bundle")
    assert not (tmp_path / "bundle").exists(), error
