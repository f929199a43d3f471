"""Specs that nobody imported: presets of published models are written as their family's checkpoint, and read again."""

import pytest
import torch
import transformers as hf

import flexit
from flexit.errors import SourceError
from tests.miniature import miniature

pytestmark = pytest.mark.slow

CLASSES = {
    "bart-base": "BartForConditionalGeneration", "bert-base": "BertForMaskedLM",
    "deberta-v3-small": "DebertaV2ForSequenceClassification", "deepseek-v2-lite": "DeepseekV2ForCausalLM",
    "gemma3-1b": "Gemma3ForCausalLM", "gpt-oss-20b": "GptOssForCausalLM", "gpt2": "GPT2LMHeadModel",
    "llama-3.2-1b": "LlamaForCausalLM", "marian-en-de": "MarianMTModel", "mistral-7b": "MistralForCausalLM",
    "mixtral-8x7b": "MixtralForCausalLM", "modernbert-base": "ModernBertForMaskedLM",
    "olmo2-1b": "Olmo2ForCausalLM", "phi-2": "PhiForCausalLM", "qwen3-0.6b": "Qwen3ForCausalLM",
    "roberta-base": "RobertaForMaskedLM", "smollm3-3b": "SmolLM3ForCausalLM",
    "t5-small": "T5ForConditionalGeneration",
}  # fmt: skip


@pytest.mark.parametrize("preset", CLASSES)
def test_a_preset_is_written_as_its_family(preset, tmp_path):
    spec = miniature(preset)
    weights = flexit.to_torch(spec, seed=0).state_dict()
    assert flexit.to_pretrained(spec, weights, tmp_path / "theirs") == CLASSES[preset]
    model, told = getattr(hf, CLASSES[preset]).from_pretrained(tmp_path / "theirs", output_loading_info=True)
    assert model.config.architectures == [CLASSES[preset]]
    assert {key: list(value) for key, value in told.items() if value} == {}
    again = flexit.from_pretrained(tmp_path / "theirs")
    found = flexit.to_torch(again.spec, again.weights).state_dict()
    assert found.keys() == weights.keys()
    assert [path for path, value in found.items() if not torch.equal(value, weights[path])] == []


def test_what_no_family_can_say_is_named(tmp_path):
    spec = flexit.load_spec("tiny-unet")
    with pytest.raises(SourceError) as told:
        flexit.to_pretrained(spec, flexit.to_torch(spec, seed=0).state_dict(), tmp_path / "theirs")
    problem = told.value.problems[0]
    assert problem.code == "FX1870"
    assert problem.path.startswith("blocks.")
    assert not (tmp_path / "theirs").exists()
