"""ESM, whose files hold a head that no spec says: it is read, and what is written has all but that head."""

import json

import pytest
import torch
import transformers as hf
from safetensors.torch import load_file, save_file

from flexit.convert.pretrained import from_pretrained
from flexit.convert.to_pretrained import to_pretrained
from flexit.errors import SourceError
from tests.convert.families.comparing import TOLERANCE, errors, inputs_for, module_of
from tests.convert.families.drawn.bert import sizes
from tests.convert.families.models import Drawn, made
from tests.fuzz.day import drawn_day

pytestmark = pytest.mark.slow

CLASSES = {
    "masked": hf.EsmForMaskedLM, "hidden": hf.EsmModel, "sequence": hf.EsmForSequenceClassification,
    "token": hf.EsmForTokenClassification,
}  # fmt: skip
LEFT = {"rotary_embeddings.inv_freq", "contact_head.regression.weight", "contact_head.regression.bias"}


def model_of(head, seed):
    def drawn(rng):
        base = {key: value for key, value in sizes(rng).items() if key not in ("hidden_act", "type_vocab_size")}
        config = hf.EsmConfig(
            **base | {"max_position_embeddings": rng.randrange(30, 50)},
            mask_token_id=5,
            position_embedding_type=rng.choice(["rotary", "absolute"]),
            emb_layer_norm_before=rng.random() < 0.5,
            token_dropout=rng.random() < 0.5,
            tie_word_embeddings=head == "masked" and rng.random() < 0.7,
        )
        return CLASSES[head](config)

    return made(Drawn("esm", head, drawn), seed)


@pytest.mark.parametrize("seed", [0, drawn_day()])
@pytest.mark.parametrize("head", CLASSES)
def test_read_and_written(tmp_path, head, seed):
    model = model_of(head, seed)
    model.save_pretrained(tmp_path / "theirs")
    pretrained = from_pretrained(tmp_path / "theirs")
    assert (pretrained.family, pretrained.head) == ("esm", head)
    module = module_of(pretrained)
    for padding in ("none", "left", "right"):
        assert max(errors(model, module, padding).values(), default=0.0) < TOLERANCE
    to_pretrained(pretrained.spec, pretrained.weights, tmp_path / "back", family="esm")
    again, told = CLASSES[head].from_pretrained(
        tmp_path / "back", output_loading_info=True, attn_implementation="eager"
    )
    assert {name.removeprefix("esm.") for name in told["missing_keys"]} <= LEFT
    assert not told["unexpected_keys"]
    assert max(errors(again.eval(), module, "right").values()) < TOLERANCE


def test_masked_tokens_are_dropped_and_the_rest_rescaled(tmp_path):
    model = next(each for each in (model_of("hidden", seed) for seed in range(20)) if each.config.token_dropout)
    model.save_pretrained(tmp_path)
    module = module_of(from_pretrained(tmp_path))
    inputs = inputs_for(module, model, "right")
    inputs["input_ids"][:, [1, 3]] = model.config.mask_token_id
    with torch.no_grad():
        wanted, found = model(**inputs).last_hidden_state, module(**inputs)["last_hidden_state"]
    valid = inputs["attention_mask"].bool()
    assert torch.allclose(found[valid], wanted[valid], atol=1e-4)


def test_other_frequencies_than_usual_are_refused(tmp_path):
    model = next(
        each for each in (model_of("hidden", seed) for seed in range(20))
        if each.config.position_embedding_type == "rotary"
    )  # fmt: skip
    model.save_pretrained(tmp_path)
    file = tmp_path / "model.safetensors"
    tensors = {name: each * 1.1 if "inv_freq" in name else each for name, each in load_file(file).items()}
    save_file(tensors, file, {"format": "pt"})
    with pytest.raises(SourceError, match="FX1863"):
        from_pretrained(tmp_path)


def test_norms_may_have_the_names_of_either_time(tmp_path):
    model = model_of("hidden", 0)
    model.save_pretrained(tmp_path)
    file = tmp_path / "model.safetensors"
    usual = {"gamma": "weight", "beta": "bias"}
    tensors = {
        ".".join((name.rpartition(".")[0], usual.get(name.rpartition(".")[2], name.rpartition(".")[2]))): each.clone()
        for name, each in load_file(file).items()
    }
    assert tensors.keys() != load_file(file).keys()
    save_file(tensors, file, {"format": "pt"})
    assert json.loads((tmp_path / "config.json").read_text())["model_type"] == "esm"
    assert max(errors(model, module_of(from_pretrained(tmp_path)), "right").values()) < TOLERANCE
