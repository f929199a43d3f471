"""Every score bias, every example: an attention's own under both masks, and one lent by a stack to grouped heads."""

import numpy as np
import pytest
import torch

from flexit.errors import TaskError
from flexit.ir import registry
from flexit.ir.analysis.cost import position_limit
from flexit.ir.io.load import check_text, parse_spec
from flexit.ir.score_bias.base import Bias
from flexit.lower.torch.module import to_torch
from flexit.runtime.proof.stress import stress_weights
from tests.conformance import checks
from tests.conformance.placements import EMBED, HEAD, Placed, in_tiers

KINDS = registry.names(Bias)
HEADS = {"kind": "multi_head", "n_heads": 6, "n_kv_heads": 3, "head_dim": 5, "v_head_dim": 4, "bias": True}


def examples(kind):
    cls = registry.find(Bias, kind)
    assert cls is not None and issubclass(cls, Bias)
    normed = [{**cls.examples[0], "norm": "layer_norm"}] if "norm" in cls.model_fields else []
    return [*cls.examples, *normed]


def placed(kind, index, bias, *, mask):
    """With a full mask the attention's own, else lent by a stack and, as that reads the same, once more its own."""
    own = {**HEADS, "mask": mask, "scores": {"bias": bias}}
    layer = {
        "kind": "transformer_layer", "norm": "rms_norm", "norm_placement": "pre",
        "attention": {**HEADS, "mask": mask}, "feed_forward": None,
    }  # fmt: skip
    stack = {"kind": "stack", "n_layers": 2, "layer": layer, "score_bias": bias}
    body = {"attend": own} if mask == "full" else {"stack": stack, "attend": own}
    data = {"flexit": 1, "name": "conformance", "blocks": {"embed": EMBED, **body, "head": HEAD}}
    return Placed(kind, index, "", mask, data)


PLACED = [
    placed(kind, index, bias, mask=mask)
    for kind in KINDS
    for index, bias in enumerate(examples(kind))
    for mask in (("causal",) if bias.get("round") else ("causal", "full"))
]


@pytest.mark.parametrize("kind", KINDS)
def test_has_examples(kind):
    assert examples(kind)


@pytest.mark.parametrize("placed", in_tiers(PLACED))
@pytest.mark.parametrize("check", checks.CHECKS, ids=lambda check: check.__name__)
def test_bias(placed, check):
    check(placed)


@pytest.mark.ort
@pytest.mark.parametrize("placed", in_tiers(PLACED))
@pytest.mark.parametrize("check", checks.ORT_CHECKS, ids=lambda check: check.__name__)
def test_bias_in_onnx_runtime(placed, check):
    check(placed)


@pytest.mark.ort
@pytest.mark.parametrize("two_sided", [None, True, False])
@pytest.mark.parametrize("mask", ["causal", "full"])
def test_distances_without_a_vector_are_refused(mask, two_sided):
    bias = {"kind": "relative_global", "max_len": 6} | ({} if two_sided is None else {"two_sided": two_sided})
    model = placed("relative_global", 0, bias, mask=mask)
    assert position_limit(model.program) == 6
    short, ids = np.ones((1, 9), np.int64), np.zeros((1, 9), np.int64)
    short[0, :3] = 0
    for session in (model.torch_session(), model.ort_session(optimise=True)):
        session.run({"input_ids": ids, "attention_mask": short})  # six tokens, wherever they stand
        with pytest.raises(TaskError) as caught:
            session.run({"input_ids": ids[:, :7]})
        assert caught.value.code == "FX2001"
        if mask == "causal":
            session.start({"input_ids": ids[:, :5]})
            session.step(ids[:, :1])
            with pytest.raises(TaskError):
                session.step(ids[:, :1])


LENT = """
flexit: 1
name: lent
blocks:
  embed: {{kind: embedding, vocab_size: 31, d_model: 16}}
  body:
    kind: stack
    n_layers: 2
    layer:
      kind: transformer_layer
      norm: rms_norm
      norm_placement: pre
      attention: {{kind: multi_head, n_heads: 2, mask: full}}
      feed_forward: null
    variants: {{later: {{attention: {{mask: causal}}}}}}
    pattern: [default, later]
    score_bias: {bias}
    final_norm: true
  head: {{kind: lm_head, tied_to: embed}}
"""


@pytest.mark.parametrize(
    "bias",
    [
        "alibi",
        "{kind: t5, n_buckets: 8, max_distance: 16, two_sided: true}",
        "{kind: distance, max_distance: 3, two_sided: true}",
        "{kind: disentangled, n_buckets: 6, max_distance: 8}",
    ],
)
def test_layers_that_look_one_way_and_both_read_one_bias_where_its_sides_are_the_same(bias):
    module = to_torch(parse_spec(LENT.format(bias=bias)))
    weights = stress_weights(module.program)
    assert sum("score_bias" in name and "norm" not in name for name in weights) == (bias != "alibi")
    module = to_torch(module.spec, weights).eval()
    ids = torch.tensor([[3, 4, 5, 6, 7]])
    with torch.no_grad():
        expected = module(ids)["logits"]
        padded = torch.tensor([[9, 9, *ids[0].tolist()]])
        found = module(padded, attention_mask=(padded != 9).long())["logits"][:, 2:]
    assert torch.allclose(found, expected, atol=1e-4)


def test_a_bias_whose_sides_differ_is_not_lent():
    found = check_text(LENT.format(bias="{kind: t5, n_buckets: 8, max_distance: 16}")).problems
    assert [problem.code for problem in found] == ["FX0507"]
    assert "2 heads, one-sided; 2 heads, two-sided" in found[0].found
