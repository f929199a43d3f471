"""Checkpoints as they are found: tensors of parts that the model lacks, with tables or without, without a class."""

import json

import pytest
import torch
import transformers as hf
from safetensors.torch import load_file, save_file
from transformers.models.marian.modeling_marian import MarianSinusoidalPositionalEmbedding

from flexit.convert.pretrained import from_pretrained
from flexit.errors import SourceError
from tests.convert.families.comparing import TOLERANCE, errors, inputs_for, module_of
from tests.convert.families.drawn import bart, bert
from tests.convert.families.models import Drawn, made


def saved(tmp_path, draw, *, change=None, **config):
    """A random model and its folder, the tensors changed, the configuration too."""
    model = made(Drawn("test", "any", draw), 0)
    model.save_pretrained(tmp_path)
    file = tmp_path / "model.safetensors"
    if change is not None:
        tensors = change({name: each.clone() for name, each in load_file(file).items()})
        save_file(tensors, file, {"format": "pt"})
    told = json.loads((tmp_path / "config.json").read_text())
    kept = {key: value for key, value in {**told, **config}.items() if value is not None}
    (tmp_path / "config.json").write_text(json.dumps(kept))
    return model, tmp_path


PRETRAINED = {
    hf.BertForPreTraining: hf.BertConfig, hf.AlbertForPreTraining: hf.AlbertConfig,
    hf.ErnieForPreTraining: hf.ErnieConfig, hf.MegatronBertForPreTraining: hf.MegatronBertConfig,
}  # fmt: skip


@pytest.mark.parametrize("cls", PRETRAINED)
@pytest.mark.parametrize("named", ["ForPreTraining", "ForMaskedLM"])
def test_parts_that_the_model_lacks_are_left(tmp_path, cls, named):
    model, folder = saved(
        tmp_path, lambda rng: cls(PRETRAINED[cls](**bert.sizes(rng))),
        architectures=[cls.__name__.replace("ForPreTraining", named)],
    )  # fmt: skip
    pretrained = from_pretrained(folder)
    assert pretrained.head == "masked"
    module = module_of(pretrained)
    inputs = inputs_for(module, model, "right")
    with torch.no_grad():
        wanted, found = model(**inputs).prediction_logits, module(**inputs)["logits"]
    valid = inputs["attention_mask"].bool()
    assert torch.allclose(found[valid], wanted[valid], atol=1e-4)


@pytest.mark.parametrize("pooler", [True, False])
def test_without_a_class_it_is_what_its_tensors_can_be(tmp_path, pooler):
    _, folder = saved(
        tmp_path, lambda rng: hf.BertModel(hf.BertConfig(**bert.sizes(rng)), add_pooling_layer=pooler),
        architectures=None,
    )  # fmt: skip
    if pooler:
        assert from_pretrained(folder).head == "hidden"
        return
    with pytest.raises(SourceError, match="FX1860"):
        from_pretrained(folder)


def any_marian(rng):
    return hf.MarianMTModel(hf.MarianConfig(**bart.sizes(rng)))


def any_pegasus(rng):
    return hf.PegasusForConditionalGeneration(hf.PegasusConfig(**bart.sizes(rng)))


def with_tables(tensors, times=1.0):
    """Files of older versions held the tables that newer ones compute."""
    table = MarianSinusoidalPositionalEmbedding(30, tensors["model.shared.weight"].shape[1]).create_weight() * times
    return {**tensors, **{f"model.{side}.embed_positions.weight": table.clone() for side in ("encoder", "decoder")}}


def test_stored_tables_that_are_computed_anyway_are_checked(tmp_path):
    model, folder = saved(tmp_path, any_marian, change=with_tables)
    pretrained = from_pretrained(folder)
    assert max(errors(model, module_of(pretrained), "right").values()) < TOLERANCE


def test_stored_tables_of_other_numbers_are_refused(tmp_path):
    _, folder = saved(tmp_path, any_marian, change=lambda tensors: with_tables(tensors, 1.1))
    with pytest.raises(SourceError, match="FX1863"):
        from_pretrained(folder)


def test_tables_and_biases_that_are_not_stored_are_the_usual_ones(tmp_path):
    left_out = ("embed_positions.weight", "final_logits_bias")
    model, folder = saved(
        tmp_path, any_pegasus,
        change=lambda tensors: {name: each for name, each in tensors.items() if not name.endswith(left_out)},
    )  # fmt: skip
    model.final_logits_bias.zero_()
    assert max(errors(model, module_of(from_pretrained(folder)), "right").values()) < TOLERANCE


def test_the_decoder_of_a_whole_whisper_is_imported_alone(tmp_path):
    def whole(rng):
        sizes = {key: value for key, value in bart.sizes(rng).items() if not key.startswith(("max_", "forced_"))}
        return hf.WhisperForConditionalGeneration(hf.WhisperConfig(**sizes, max_target_positions=30))

    model, folder = saved(tmp_path, whole)
    pretrained = from_pretrained(folder)
    module = module_of(pretrained)
    inputs = inputs_for(module, model, "none")
    with torch.no_grad():
        states = hf.modeling_outputs.BaseModelOutput(last_hidden_state=inputs["encoder_hidden_states"])
        wanted = model(decoder_input_ids=inputs["input_ids"], encoder_outputs=states).logits
        found = module(**inputs)["logits"]
    assert torch.allclose(found, wanted, atol=1e-4)
