"""Pictures of the graph of blocks say what the graph is."""

from __future__ import annotations

import re
from collections.abc import Iterator

import networkx
import pytest

from flexit.ir.compile import compile_spec
from flexit.ir.io.load import load_spec, parse_spec, presets
from flexit.ir.spec import walk_blocks
from flexit.ir.views.diagram import Box, Diagram, diagram, dot, mermaid

TOWERS = """
flexit: 1
name: towers
inputs: {input_ids: tokens, decoder_input_ids: tokens}
blocks:
  source: {kind: embedding, from: input_ids, vocab_size: 50, d_model: 16, position: sinusoidal}
  end:
    kind: graph
    blocks:
      first: {kind: rms_norm}
      encoder: &layers
        kind: stack
        n_layers: 3
        layer:
          kind: transformer_layer
          norm: rms_norm
          norm_placement: pre
          attention: {kind: multi_head, n_heads: 2, mask: full}
          feed_forward: {kind: mlp, d_ff: 32}
        final_norm: true
  target: {kind: embedding, from: decoder_input_ids, vocab_size: 40, d_model: 16, position: sinusoidal}
  decoder:
    kind: stack
    from: {x: target, memory: end}
    n_layers: 2
    layer:
      kind: transformer_layer
      norm: rms_norm
      norm_placement: pre
      attention: {kind: multi_head, n_heads: 2, mask: causal}
      cross_attention: {kind: multi_head, n_heads: 2}
      feed_forward: {kind: mlp, d_ff: 32}
    final_norm: true
  head: {kind: lm_head, tied_to: target}
  early: {kind: lm_head, from: "decoder.layers[0]", tied_to: target}
outputs: {logits: head, early: early}
"""


def drawn(text: str) -> Diagram:
    spec = parse_spec(text) if "\n" in text else load_spec(text)
    return diagram(spec, compile_spec(spec))


def every(boxes: list[Box]) -> Iterator[Box]:
    for box in boxes:
        yield box
        yield from every(box.inside)


@pytest.mark.parametrize("name", [*presets(), TOWERS], ids=[*presets(), "towers"])
def test_every_block_is_a_box_on_a_way_from_inputs_to_outputs(name):
    picture = drawn(name)
    spec = parse_spec(name) if "\n" in name else load_spec(name)
    boxes = {box.path: box for box in every(picture.boxes)}
    assert {path for path, _ in walk_blocks(spec.blocks)} <= set(boxes)
    graph = networkx.DiGraph()
    for arrow in picture.arrows:
        assert arrow.source in boxes
        assert arrow.target in boxes
        graph.add_edge(arrow.source, arrow.target)
    assert networkx.is_directed_acyclic_graph(graph)
    for box in boxes.values():
        if not box.inside and box.role == "block":
            assert any(networkx.has_path(graph, f"<in>.{name}", box.path) for name in spec.inputs), box.path
            assert any(networkx.has_path(graph, box.path, f"<out>.{name}") for name in compile_spec(spec).outputs)


def test_frames_ports_and_layers():
    picture = drawn(TOWERS)
    arrows = {(arrow.source, arrow.target): arrow.label for arrow in picture.arrows}
    assert arrows["source", "end.<x>"] == ""
    assert arrows["end.<x>", "end.first"] == ""
    assert arrows["end.encoder", "decoder"] == "memory"
    assert arrows["decoder", "early"] == "layers[0]"
    (frame,) = [box for box in picture.boxes if box.inside]
    assert frame.path == "end"
    encoder = next(box for box in every(picture.boxes) if box.path == "end.encoder")
    assert encoder.lines == ["encoder", "stack [batch, seq, 16]", "layers 0-2: transformer_layer"]


def test_a_reader_layer_by_layer_is_labelled():
    assert "layer by layer, reversed, skip" in {arrow.label for arrow in drawn("tiny-unet").arrows}


@pytest.mark.parametrize("name", ["bart-base", "tiny-unet", TOWERS], ids=["bart", "unet", "towers"])
def test_names_of_blocks_are_never_words_of_the_notation(name):
    picture = drawn(name)
    for text in (mermaid(picture), dot(picture)):
        outside = re.sub(r'"[^"]*"', "", text)
        words = set(re.findall(r"[a-z_]\w*", outside))
        used = {word for word in words if not re.fullmatch(r"b\d+|cluster_b\d+", word)}
        assert used <= {
            "flowchart", "subgraph", "end", "digraph", "model", "rankdir", "compound", "true", "node", "shape", "box",
            "fontname", "label", "oval",
        }  # fmt: skip
        assert text.count("-->") + text.count(" -> ") == len(picture.arrows)


LATER = """
flexit: 1
name: later
blocks:
  embed: {kind: embedding, vocab_size: 50, d_model: 16}
  both: {kind: add, from: [embed, out]}
  head: {kind: lm_head, tied_to: embed}
  out:
    kind: graph
    from: embed
    blocks:
      y: {kind: short_conv, kernel: 2}
outputs: {y: head}
"""


def test_a_frame_that_comes_later_is_left_at_its_last_box_and_may_be_called_out():
    picture = drawn(LATER)
    assert ("out.y", "both") in {(arrow.source, arrow.target) for arrow in picture.arrows}
    paths = [box.path for box in every(picture.boxes)]
    assert len(paths) == len(set(paths))
    frames = {box.path for box in every(picture.boxes) if box.inside}
    assert not frames & {end for arrow in picture.arrows for end in (arrow.source, arrow.target)}


def test_outputs_are_labelled_with_their_port():
    picture = drawn(
        LATER.replace("head: {kind: lm_head, tied_to: embed}", "").replace(
            "outputs: {y: head}", "  qa: {kind: span, from: both}"
        )
    )
    assert {arrow.label for arrow in picture.arrows if arrow.target.startswith("<out>")} == {"", "end_logits"}
