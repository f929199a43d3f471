"""Score biases of families against Hugging Face: linear penalties of decoders, disentangled scores of an encoder."""

import pytest
import torch
import transformers

from flexit.ir.language.written import Node
from flexit.ir.spec import Spec
from flexit.lower.torch.module import to_torch
from flexit.runtime.proof.compare import relative_error
from tests.parity.test_decoders import LAYERS, VOCAB, WIDTH, L, batch, mapped, perturbed, spec_of

HEADS, HEAD_DIM = 6, WIDTH // 6
NORM = {"kind": "layer_norm", "eps": 1e-5}


def decoder(bias, *, scale="rsqrt_head_dim", norm=NORM, biased=True, activation="gelu", embed=None):
    layer = {
        "norm": norm, "norm_placement": "pre",
        "attention": {
            "kind": "multi_head", "n_heads": HEADS, "bias": biased, "mask": "causal",
            "scores": {"scale": scale, "bias": bias},
        },
        "feed_forward": {"kind": "mlp", "d_ff": 4 * WIDTH, "activation": activation, "bias": biased},
    }  # fmt: skip
    return spec_of(layer, embed=embed, head={"tied_to": "embed"})


def per_head(part):
    """One of q, k and v from rows that are ordered by head."""
    return lambda w: w.view(HEADS, 3, HEAD_DIM, *w.shape[1:])[:, part].reshape(WIDTH, *w.shape[1:])


H = r"transformer.h.\1."
NAMES_OF_BLOOM = [
    (r"embed\.tokens\.weight", "transformer.word_embeddings.weight", None),
    (r"embed\.norm\.(\w+)", r"transformer.word_embeddings_layernorm.\1", None),
    (r"decoder\.final_norm\.(\w+)", r"transformer.ln_f.\1", None),
    (L + r"attention_input_norm\.(\w+)", H + r"input_layernorm.\2", None),
    (L + r"feed_forward_input_norm\.(\w+)", H + r"post_attention_layernorm.\2", None),
    *[
        (L + rf"attention\.{p}_proj\.(\w+)", H + r"self_attention.query_key_value.\2", per_head(part))
        for part, p in enumerate("qkv")
    ],
    (L + r"attention\.o_proj\.(\w+)", H + r"self_attention.dense.\2", None),
    (L + r"feed_forward\.up_proj\.(\w+)", H + r"mlp.dense_h_to_4h.\2", None),
    (L + r"feed_forward\.down_proj\.(\w+)", H + r"mlp.dense_4h_to_h.\2", None),
]


def bloom():
    config = transformers.BloomConfig(
        vocab_size=VOCAB, hidden_size=WIDTH, n_layer=LAYERS, n_head=HEADS, attn_implementation="eager"
    )
    spec = decoder({"kind": "alibi"}, activation="gelu_tanh", embed={"norm": NORM})
    return transformers.BloomForCausalLM(config), spec, NAMES_OF_BLOOM


def falcon():
    """With sdpa: the eager form of the reference adds the penalty twice."""
    config = transformers.FalconConfig(
        vocab_size=VOCAB, hidden_size=WIDTH, num_hidden_layers=LAYERS, num_attention_heads=HEADS, alibi=True,
        multi_query=False, parallel_attn=False, bias=True, new_decoder_architecture=False, attn_implementation="sdpa",
    )  # fmt: skip
    spec = decoder({"kind": "alibi", "scaled": True, "round": "bf16"})
    return transformers.FalconForCausalLM(config), spec, NAMES_OF_BLOOM


def mpt():
    config = transformers.MptConfig(
        vocab_size=VOCAB, d_model=WIDTH, n_layers=LAYERS, n_heads=HEADS, max_seq_len=64,
        attn_config={"softmax_scale": 0.3},
    )  # fmt: skip
    spec = decoder({"kind": "alibi"}, scale=0.3, norm={**NORM, "bias": False}, biased=False)
    at = r"transformer.blocks.\1."
    rules = [
        (r"embed\.tokens\.weight", "transformer.wte.weight", None),
        (r"decoder\.final_norm\.(\w+)", r"transformer.norm_f.\1", None),
        (L + r"attention_input_norm\.(\w+)", at + r"norm_1.\2", None),
        (L + r"feed_forward_input_norm\.(\w+)", at + r"norm_2.\2", None),
        *[
            (L + rf"attention\.{p}_proj\.weight", at + "attn.Wqkv.weight", lambda w, part=part: w.chunk(3)[part])
            for part, p in enumerate("qkv")
        ],
        (L + r"attention\.o_proj\.weight", at + "attn.out_proj.weight", None),
        (L + r"feed_forward\.(up|down)_proj\.weight", at + r"ffn.\2_proj.weight", None),
    ]
    return transformers.MptForCausalLM(config), spec, rules


def built(theirs, spec, rules):
    return to_torch(spec, mapped(to_torch(spec), perturbed(theirs).state_dict(), rules)).eval()


@pytest.fixture(scope="module", params=[bloom, falcon, mpt], ids=lambda family: family.__name__)
def pair(request):
    torch.manual_seed(0)
    theirs, spec, rules = request.param()
    return theirs, built(theirs, spec, rules)


@pytest.mark.parametrize("padding", ["none", "left", "right"])
def test_same_logits(pair, padding):
    theirs, ours = pair
    ids, mask = batch(padding)
    with torch.no_grad():
        expected = theirs(ids, attention_mask=mask).logits
        found = ours(input_ids=ids, attention_mask=mask)["logits"]
    assert relative_error(found.numpy(), expected.numpy(), mask.bool().numpy()) < 1e-5


def test_same_logits_with_a_cache(pair):
    theirs, ours = pair
    ids, mask = batch("left")
    with torch.no_grad():
        expected = theirs(ids, attention_mask=mask).logits
        cache, parts = ours.empty_cache(3), []
        for start, stop in ((0, 6), (6, 8), (8, 9), (9, 10), (10, 11)):
            step = ours(input_ids=ids[:, start:stop], attention_mask=mask[:, :stop], cache=cache)
            cache, parts = step["cache"], [*parts, step["logits"]]
    assert relative_error(torch.cat(parts, 1).numpy(), expected.numpy(), mask.bool().numpy()) < 1e-5


def test_ranks_are_rounded_as_well_where_bf16_cannot_hold_them():
    theirs, spec, rules = falcon()
    ours, ids = built(theirs, spec, rules), torch.arange(600)[None] % VOCAB
    with torch.no_grad():
        found, expected = ours(input_ids=ids)["logits"], theirs(ids).logits
    assert relative_error(found.numpy(), expected.numpy()) < 1e-5


DEBERTA = [
    ("c2p|p2c", {"share_att_key": True, "norm_rel_ebd": "layer_norm", "position_buckets": 4}),
    ("c2p|p2c", {"share_att_key": False, "norm_rel_ebd": "none", "position_buckets": 5}),
    ("c2p|p2c", {"share_att_key": True, "norm_rel_ebd": "none", "position_buckets": 32}),
    ("c2p", {"share_att_key": False, "norm_rel_ebd": "layer_norm", "position_buckets": 6}),
    ("p2c", {"share_att_key": False, "norm_rel_ebd": "layer_norm", "position_buckets": 4}),
    ("p2c", {"share_att_key": True, "norm_rel_ebd": "layer_norm", "position_buckets": 4}),
]
REACH = {4: 8, 5: 7, 6: 9, 32: 64}
"""Number of buckets -> the distance that they reach."""


@pytest.mark.parametrize(("terms", "options"), DEBERTA)
def test_deberta(terms, options):
    reach = REACH[options["position_buckets"]]
    torch.manual_seed(0)
    config = transformers.DebertaV2Config(
        vocab_size=VOCAB, hidden_size=WIDTH, num_hidden_layers=LAYERS, num_attention_heads=HEADS, intermediate_size=80,
        relative_attention=True, pos_att_type=terms, position_biased_input=False, type_vocab_size=0,
        max_relative_positions=reach, **options,
    )  # fmt: skip
    theirs = transformers.DebertaV2Model(config)
    norm = {"kind": "layer_norm", "eps": config.layer_norm_eps}
    layer = {
        "kind": "transformer_layer", "norm": norm, "norm_placement": "post",
        "attention": {"kind": "multi_head", "n_heads": HEADS, "bias": True, "mask": "full"},
        "feed_forward": {"kind": "mlp", "d_ff": 80, "bias": True},
    }  # fmt: skip
    bias = {
        "kind": "disentangled", "terms": terms.split("|"), "n_buckets": options["position_buckets"],
        "max_distance": reach, "share_projections": options["share_att_key"],
        "norm": norm if options["norm_rel_ebd"] == "layer_norm" else None,
    }  # fmt: skip
    data = {
        "flexit": 1, "name": "deberta",
        "blocks": {
            "embed": {"kind": "embedding", "vocab_size": VOCAB, "d_model": WIDTH, "norm": norm},
            "encoder": {"kind": "stack", "n_layers": LAYERS, "layer": layer, "score_bias": bias},
        },
    }  # fmt: skip
    at, there = r"encoder\.layers\.(\d+)\.", r"encoder.layer.\1."
    long = {"q": "query", "k": "key", "v": "value"}
    rules = [
        (r"embed\.tokens\.weight", "embeddings.word_embeddings.weight", None),
        (r"embed\.norm\.(\w+)", r"embeddings.LayerNorm.\1", None),
        (r"encoder\.score_bias\.table", "encoder.rel_embeddings.weight", None),
        (r"encoder\.score_bias\.norm\.(\w+)", r"encoder.LayerNorm.\1", None),
        *[
            (at + rf"attention\.(pos_|){p}_proj\.(\w+)", there + rf"attention.self.\2{name}_proj.\3", None)
            for p, name in long.items()
        ],
        (at + r"attention\.o_proj\.(\w+)", there + r"attention.output.dense.\2", None),
        (at + r"attention_residual_norm\.(\w+)", there + r"attention.output.LayerNorm.\2", None),
        (at + r"feed_forward\.up_proj\.(\w+)", there + r"intermediate.dense.\2", None),
        (at + r"feed_forward\.down_proj\.(\w+)", there + r"output.dense.\2", None),
        (at + r"feed_forward_residual_norm\.(\w+)", there + r"output.LayerNorm.\2", None),
    ]
    ours = built(theirs, Spec.model_validate(Node.of(data).plain()), rules)
    for padding in ("none", "left", "right"):
        ids, mask = batch(padding)
        with torch.no_grad():
            expected = theirs(ids, attention_mask=mask).last_hidden_state
            found = ours(input_ids=ids, attention_mask=mask)["last_hidden_state"]
        assert relative_error(found.numpy(), expected.numpy(), mask.bool().numpy()) < 1e-5, padding
