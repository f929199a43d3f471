"""Presets of published encoders, in miniature, against Hugging Face with the settings of the published configuration.

Sizes follow the miniature; what else a configuration says (activations, eps, windows, buckets) stands here as
published, or is the default of the model's class.
"""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import transformers as hf

from flexit.lower.torch.module import FlexitModule, to_torch
from flexit.runtime.proof.compare import relative_error
from tests.miniature import WINDOW, miniature
from tests.parity.test_decoders import batch, mapped, perturbed
from tests.parity.test_heads import ALBERT_RULES, ELECTRA, bert_rules

pytestmark = pytest.mark.slow

Sizes = dict[str, Any]
AT = r"encoder\.layers\.(\d+)\."
PAD = 1


def sizes_of(blocks: Any) -> Sizes:
    """Sizes of an encoder under the names that most configurations have."""
    embed, stack = blocks["embed"], blocks["encoder"]
    return {
        "vocab_size": embed["vocab_size"],
        "hidden_size": embed["d_model"],
        "num_hidden_layers": stack["n_layers"],
        "num_attention_heads": stack["layer"]["attention"]["n_heads"],
        "intermediate_size": stack["layer"]["feed_forward"]["d_ff"],
        "attn_implementation": "eager",
        **({"embedding_size": embed["projection"]["dim"]} if "projection" in embed else {}),
    }


def both_types(prefix: str) -> tuple[str, str, None]:
    return (r"embed\.token_types\.weight", f"{prefix}.embeddings.token_type_embeddings.weight", None)


def masked(prefix: str) -> list[tuple[str, str, None]]:
    return [
        (r"head\.dense\.(\w+)", prefix + r".dense.\1", None),
        (r"head\.dense_norm\.(\w+)", prefix + r".LayerNorm.\1", None),
    ]


def bert(sizes: Sizes) -> Any:
    more = (*masked("cls.predictions.transform"), (r"head\.bias", "cls.predictions.bias", None))
    return hf.BertForMaskedLM(hf.BertConfig(**sizes)), [both_types("bert"), *bert_rules("bert", *more)]


def roberta(sizes: Sizes) -> Any:
    config = hf.RobertaConfig(**sizes, max_position_embeddings=514, type_vocab_size=1, layer_norm_eps=1e-5)
    rules = [
        (r"head\.dense\.(\w+)", r"lm_head.dense.\1", None),
        (r"head\.dense_norm\.(\w+)", r"lm_head.layer_norm.\1", None),
        (r"head\.bias", "lm_head.bias", None),
        *bert_rules("roberta"),
    ]
    return hf.RobertaForMaskedLM(config), rules


def albert(sizes: Sizes) -> Any:
    return hf.AlbertForMaskedLM(hf.AlbertConfig(**sizes, hidden_act="gelu_new")), [both_types("albert"), *ALBERT_RULES]


def electra(sizes: Sizes) -> Any:
    rules = [
        both_types("electra"), ELECTRA,
        (r"head\.dense\.(\w+)", r"discriminator_predictions.dense.\1", None),
        (r"head\.out\.(\w+)", r"discriminator_predictions.dense_prediction.\1", None),
        *bert_rules("electra"),
    ]  # fmt: skip
    return hf.ElectraForPreTraining(hf.ElectraConfig(**sizes)), rules


def deberta(sizes: Sizes) -> Any:
    config = hf.DebertaV2Config(
        **sizes, num_labels=3, relative_attention=True, position_buckets=256, norm_rel_ebd="layer_norm",
        share_att_key=True, pos_att_type=["p2c", "c2p"], position_biased_input=False, max_relative_positions=-1,
        max_position_embeddings=512, type_vocab_size=0, layer_norm_eps=1e-7, hidden_act="gelu",
    )  # fmt: skip
    long = {"q": "query", "k": "key", "v": "value"}
    rules = [
        (r"encoder\.score_bias\.table", "deberta.encoder.rel_embeddings.weight", None),
        (r"encoder\.score_bias\.norm\.(\w+)", r"deberta.encoder.LayerNorm.\1", None),
        *[
            (AT + rf"attention\.{p}_proj\.(\w+)", rf"deberta.encoder.layer.\1.attention.self.{name}_proj.\2", None)
            for p, name in long.items()
        ],
        (r"head\.dense\.(\w+)", r"pooler.dense.\1", None),
        (r"head\.out\.(\w+)", r"classifier.\1", None),
        *bert_rules("deberta"),
    ]
    return hf.DebertaV2ForSequenceClassification(config), rules


def mpnet(sizes: Sizes) -> Any:
    config = hf.MPNetConfig(**sizes, max_position_embeddings=514, layer_norm_eps=1e-5)
    at, theirs = AT + r"attention", r"encoder.layer.\1.attention."
    rules = [
        (r"encoder\.score_bias\.weight", "encoder.relative_attention_bias.weight", None),
        (at + r"\.(\w)_proj\.(\w+)", theirs + r"attn.\2.\3", None),
        (at + r"_residual_norm\.(\w+)", theirs + r"LayerNorm.\2", None),
        *[(pattern, name.removeprefix("."), change) for pattern, name, change in bert_rules("")],
    ]
    return hf.MPNetModel(config, add_pooling_layer=False), rules


def modernbert(sizes: Sizes) -> Any:
    inner = sizes["intermediate_size"]
    config = hf.ModernBertConfig(
        **sizes, norm_eps=1e-5, hidden_activation="gelu", local_attention=2 * WINDOW, global_attn_every_n_layers=3,
        pad_token_id=PAD, bos_token_id=None, eos_token_id=None, cls_token_id=None, sep_token_id=None,
        rope_parameters={
            "full_attention": {"rope_type": "default", "rope_theta": 160000.0},
            "sliding_attention": {"rope_type": "default", "rope_theta": 10000.0},
        },
    )  # fmt: skip
    there = r"model.layers.\1."
    rules = [
        (r"embed\.tokens\.weight", "model.embeddings.tok_embeddings.weight", None),
        (r"embed\.norm\.weight", "model.embeddings.norm.weight", None),
        (r"encoder\.final_norm\.weight", "model.final_norm.weight", None),
        *[
            (AT + rf"attention\.{p}_proj\.weight", there + "attn.Wqkv.weight", lambda w, part=part: w.chunk(3)[part])
            for part, p in enumerate("qkv")
        ],
        (AT + r"attention\.o_proj\.weight", there + "attn.Wo.weight", None),
        (AT + r"attention_input_norm\.weight", there + "attn_norm.weight", None),
        (AT + r"feed_forward_input_norm\.weight", there + "mlp_norm.weight", None),
        (AT + r"feed_forward\.gate_proj\.weight", there + "mlp.Wi.weight", lambda w: w[:inner]),
        (AT + r"feed_forward\.up_proj\.weight", there + "mlp.Wi.weight", lambda w: w[inner:]),
        (AT + r"feed_forward\.down_proj\.weight", there + "mlp.Wo.weight", None),
        (r"head\.dense\.weight", "head.dense.weight", None),
        (r"head\.dense_norm\.weight", "head.norm.weight", None),
        (r"head\.bias", "decoder.bias", None),
    ]
    return hf.ModernBertForMaskedLM(config), rules


FAMILIES: dict[str, Callable[[Sizes], Any]] = {
    "albert-base": albert, "bert-base": bert, "deberta-v3-small": deberta, "electra-small": electra,
    "modernbert-base": modernbert, "mpnet-base": mpnet, "roberta-base": roberta,
}  # fmt: skip


@pytest.fixture(scope="module", params=FAMILIES)
def pair(request: pytest.FixtureRequest) -> tuple[Any, FlexitModule]:
    """Their model and our preset on its weights."""
    spec = miniature(request.param)
    assert spec.node is not None
    theirs, rules = FAMILIES[request.param](sizes_of(spec.node.plain()["blocks"]))
    theirs = perturbed(theirs)
    ours = to_torch(spec, mapped(to_torch(spec, device="meta"), theirs.state_dict(), rules))
    return theirs, ours.eval()


def inputs(module: FlexitModule, padding: str) -> dict[str, torch.Tensor]:
    """Padded ids, with the pad's id at pads alone, and two types where the model reads types."""
    ids, mask = batch(padding)
    ids = torch.where(mask == 1, torch.where(ids == PAD, 2, ids), PAD)
    given = {"input_ids": ids, "attention_mask": mask}
    read = {entry.name for entry in module.program.inputs}
    return given | ({"token_type_ids": (ids % 2).to(torch.int64)} if "token_type_ids" in read else {})


@pytest.mark.parametrize("padding", ["none", "left", "right"])
def test_as_hugging_face(pair: Any, padding: str) -> None:
    theirs, ours = pair
    given = inputs(ours, padding)
    mask = given["attention_mask"].bool().numpy()
    with torch.no_grad():
        expected, found = theirs(**given), ours(**given)
    name = "logits" if "logits" in found else "last_hidden_state"
    wanted = expected[name].numpy()
    if len(wanted) == 3 and wanted.ndim == 2 and wanted.shape[1] != mask.shape[1]:
        mask = None  # one row of classes each
        if padding == "left":
            pytest.skip("the reference pools slot 0, which is a pad there; ours the first token")
    assert relative_error(found[name].numpy().reshape(wanted.shape), wanted, mask) < 1e-5


def test_sentences_are_means_of_unit_length() -> None:
    spec = miniature("mpnet-base")
    ours = to_torch(spec, seed=1).eval()
    given = inputs(ours, "left")
    with torch.no_grad():
        found = ours(**given)
    kept = given["attention_mask"].unsqueeze(-1)
    mean = (found["last_hidden_state"] * kept).sum(1) / kept.sum(1)
    assert torch.allclose(found["sentence_embedding"], torch.nn.functional.normalize(mean), atol=1e-6)
