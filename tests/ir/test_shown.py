"""What Python shows of a spec, a bundle and the methods of a graph: a line, and the kind's own words."""

from __future__ import annotations

from pathlib import Path

import flexit
from flexit.ir.block import Block
from flexit.ir.registry import find
from flexit.runtime.bundles.bundle import Bundle


def test_a_spec_is_shown_by_name_and_blocks():
    spec = flexit.load_spec("tiny-llama")
    assert repr(spec) == str(spec) == "Spec('tiny-llama', blocks=[embed, decoder, head])"


def test_a_bundle_is_shown_without_its_manifest():
    bundle = Bundle(Path("bundles/tiny"), {"name": "tiny", "models": {"model.onnx": {"states": []}}, "evidence": {}})
    assert repr(bundle) == "Bundle('bundles/tiny', name='tiny', models=['model.onnx'])"


def test_a_method_of_a_graph_says_what_its_kind_says():
    kind = find(Block, "multi_head")
    graph = flexit.Graph("tiny")
    assert kind is not None and graph.multi_head.__doc__ == kind.__doc__
    assert graph.multi_head.__name__ == "multi_head"
    assert graph.no_such_kind.__doc__ is None
