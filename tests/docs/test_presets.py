"""Presets are valid without a warning, say what they are, and are as large as the models they are named after."""

import pytest

from flexit.ir.analysis.cost import cost
from flexit.ir.io.load import check, load_spec, presets

PUBLISHED = {
    "bart-base": 139_420_416 + 50_265,  # with the bias of the logits, which Hugging Face keeps in a buffer
    "flan-t5-small": 76_961_152,
    "gemma3-1b": 999_885_952,
    "gpt2": 124_439_808,
    "mistral-7b": 7_241_732_096,
    "mixtral-8x7b": 46_702_792_704,
    "olmo2-1b": 1_484_916_736,
    "qwen3-0.6b": 596_049_920,
    "smollm3-3b": 3_075_098_624,
    "t5-small": 60_506_624,
}
"""Parameters of the published checkpoints, tied tables counted once."""


@pytest.mark.parametrize("name", presets())
def test_a_preset_is_valid_and_says_what_it_is(name):
    checked = check(name)
    assert not checked.problems
    assert checked.spec is not None
    assert checked.spec.name == name
    assert checked.spec.description
    assert len(checked.spec.description) <= 100


@pytest.mark.parametrize("name", sorted(PUBLISHED))
def test_a_preset_has_as_many_parameters_as_its_model(name):
    assert cost(load_spec(name)).parameters == PUBLISHED[name]
