"""What sessions take: inputs beside the decoded one, and position ids."""

import numpy as np
import pytest
from safetensors.numpy import load_file

from flexit.errors import TaskError
from flexit.ir.io.load import parse_spec
from flexit.runtime.bundles.bundle import open_bundle
from flexit.runtime.bundles.export import export
from flexit.runtime.bundles.verify import verify
from flexit.runtime.generation.generate import generate
from flexit.runtime.proof.compare import relative_error
from flexit.runtime.sessions.torch_session import TorchSession
from tests.stressed import stressed

TYPED = """
flexit: 1
name: typed
inputs: {input_ids: tokens, token_type_ids: tokens}
blocks:
  embed:
    kind: embedding
    from: {tokens: input_ids, token_types: token_type_ids}
    vocab_size: 50
    d_model: 16
    token_types: 3
    position: {kind: learned, max_len: 64, ids: IDS}
  decoder:
    kind: stack
    n_layers: 2
    layer:
      kind: transformer_layer
      norm: layer_norm
      norm_placement: pre
      attention: {kind: multi_head, n_heads: 2, mask: causal}
      feed_forward: {kind: mlp, d_ff: 32}
    final_norm: true
  head: {kind: lm_head, tied_to: embed}
"""


@pytest.fixture(params=["rank", "slot"])
def module(request):
    spec = parse_spec(TYPED.replace("IDS", request.param))
    return stressed(spec)


@pytest.mark.ort
def test_token_types_are_fed_step_by_step(module, tmp_path):
    bundle = export(module, tmp_path / "bundle")
    assert any(row["run"] == "cached" for row in bundle.manifest["evidence"]["rows"])
    rng = np.random.default_rng(0)
    ids, types = rng.integers(0, 50, (2, 7)), rng.integers(0, 3, (2, 7))
    for session in (TorchSession(module), open_bundle(tmp_path / "bundle")):
        whole = session.run({"input_ids": ids, "token_type_ids": types})["logits"]
        first = session.start({"input_ids": ids[:, :4], "token_type_ids": types[:, :4]})
        rest = session.step(ids[:, 4:], others={"token_type_ids": types[:, 4:]})
        assert relative_error(first, whole[:, 3]) < 1e-5
        assert relative_error(rest, whole[:, 4:]) < 1e-5
        other = session.run({"input_ids": ids, "token_type_ids": (types + 1) % 3})["logits"]
        assert relative_error(other, whole) > 1e-2
        with pytest.raises(TaskError, match="token_type_ids for the same tokens"):
            session.step(ids[:, :1])
        with pytest.raises(TaskError, match="the model reads more than tokens"):
            generate(session, [[1, 2]], max_new_tokens=2)


@pytest.mark.ort
def test_position_ids_are_taken_or_refused_never_ignored(module, tmp_path):
    export(module, tmp_path / "bundle")
    ids = np.array([[4, 5, 6]])
    inputs = {"input_ids": ids, "token_type_ids": ids * 0}
    placed = {**inputs, "position_ids": np.array([[7, 2, 9]])}
    torch_session, ort_session = TorchSession(module), open_bundle(tmp_path / "bundle")
    expected = torch_session.run(placed)["logits"]
    assert relative_error(torch_session.run(inputs)["logits"], expected) > 1e-2
    by_slot = any("slot" in str(node.op) for node in module.program.root.nodes if hasattr(node, "op"))
    if by_slot:
        with pytest.raises(TaskError, match="counts position ids itself"):
            ort_session.run(placed)
    else:
        assert relative_error(ort_session.run(placed)["logits"], expected) < 1e-5
    for session in (torch_session, ort_session):
        with pytest.raises(TaskError, match="counts position ids itself"):
            session.start(placed)


@pytest.mark.ort
def test_pads_of_shortened_outputs_do_not_count(tmp_path):
    """An output of half the length; its padded positions are whatever they are."""
    spec = parse_spec("""
flexit: 1
name: halved
blocks:
  embed: {kind: embedding, vocab_size: 50, d_model: 16}
  body: {kind: residual, body: {kind: multi_head, n_heads: 2, mask: full}}
  shorter: {kind: downsample, factor: 2}
""")
    export(stressed(spec), tmp_path / "bundle")
    probe = tmp_path / "bundle" / "probe.safetensors"
    flags = load_file(probe)["valid.last_hidden_state"]
    assert flags.shape == (2, 2)
    assert not flags.all()
    assert verify(tmp_path / "bundle").holds
