"""Position ids that count the tokens that are no pads, against Hugging Face: learned and sinusoidal, decoded too."""

import pytest
import torch
import transformers

from flexit.runtime.proof.compare import relative_error
from flexit.runtime.sessions.torch_session import TorchSession
from tests.parity.test_decoders import batch
from tests.parity.test_encoders import HEADS, built

PAD = 3


def padded(padding):
    """Ids that are the pad token exactly where the mask hides them."""
    ids, mask = batch(padding)
    return torch.where(mask == 0, PAD, torch.where(ids == PAD, PAD + 1, ids)), mask


@pytest.mark.parametrize("padding", ["none", "left", "right"])
def test_roberta(padding):
    config = transformers.RobertaConfig(
        vocab_size=97, hidden_size=48, num_hidden_layers=2, num_attention_heads=4, intermediate_size=80,
        max_position_embeddings=30, type_vocab_size=1, pad_token_id=PAD, attn_implementation="eager",
    )  # fmt: skip
    theirs = transformers.RobertaModel(config, add_pooling_layer=False)
    norm = {"kind": "layer_norm", "eps": config.layer_norm_eps}
    layer = {
        "kind": "transformer_layer", "norm": norm, "norm_placement": "post", "attention": HEADS,
        "feed_forward": {"kind": "mlp", "d_ff": 80, "bias": True},
    }  # fmt: skip
    position = {"kind": "learned", "max_len": 30 - PAD - 1, "ids": {"kind": "non_pad_cumsum", "pad_id": PAD}}
    embed = {
        "kind": "embedding", "vocab_size": 97, "d_model": 48, "position": position, "token_types": 1, "norm": norm
    }  # fmt: skip
    blocks = {"embed": embed, "encoder": {"kind": "stack", "n_layers": 2, "layer": layer}}
    at, there = r"encoder\.layers\.(\d+)\.", r"encoder.layer.\1."
    rules = [
        (r"embed\.tokens\.(\w+)", r"embeddings.word_embeddings.\1", None),
        (r"embed\.positions\.(\w+)", r"embeddings.position_embeddings.\1", None),
        (r"embed\.token_types\.(\w+)", r"embeddings.token_type_embeddings.\1", None),
        (r"embed\.norm\.(\w+)", r"embeddings.LayerNorm.\1", None),
        (at + r"attention\.q_proj\.(\w+)", there + r"attention.self.query.\2", None),
        (at + r"attention\.k_proj\.(\w+)", there + r"attention.self.key.\2", None),
        (at + r"attention\.v_proj\.(\w+)", there + r"attention.self.value.\2", None),
        (at + r"attention\.o_proj\.(\w+)", there + r"attention.output.dense.\2", None),
        (at + r"attention_residual_norm\.(\w+)", there + r"attention.output.LayerNorm.\2", None),
        (at + r"feed_forward\.up_proj\.(\w+)", there + r"intermediate.dense.\2", None),
        (at + r"feed_forward\.down_proj\.(\w+)", there + r"output.dense.\2", None),
        (at + r"feed_forward_residual_norm\.(\w+)", there + r"output.LayerNorm.\2", None),
    ]
    ours = built(theirs, {"flexit": 1, "name": "roberta", "blocks": blocks}, rules)
    ids, mask = padded(padding)
    ids[0, 4] = PAD  # a pad that may be seen is not counted either
    with torch.no_grad():
        expected = theirs(ids, attention_mask=mask).last_hidden_state
        found = ours(input_ids=ids, attention_mask=mask)["last_hidden_state"]
    assert relative_error(found.numpy(), expected.numpy(), mask.bool().numpy()) < 1e-5


def m2m():
    """M2M-100: fairseq sinusoids, counted on both sides; one table. The reference gives pads a row of zeros."""
    config = transformers.M2M100Config(
        vocab_size=97, d_model=48, encoder_layers=2, decoder_layers=2, encoder_attention_heads=4,
        decoder_attention_heads=4, encoder_ffn_dim=80, decoder_ffn_dim=80, max_position_embeddings=40,
        pad_token_id=PAD, scale_embedding=True, attn_implementation="eager",
    )  # fmt: skip
    layer = {
        "kind": "transformer_layer", "norm": "layer_norm", "norm_placement": "pre", "attention": HEADS,
        "feed_forward": {"kind": "mlp", "d_ff": 80, "activation": "relu", "bias": True},
    }  # fmt: skip
    position = {"kind": "sinusoidal", "style": "fairseq", "ids": {"kind": "non_pad_cumsum", "pad_id": PAD}}
    embed = {"kind": "embedding", "multiplier": "sqrt_d_model", "position": position}
    stack = {"kind": "stack", "n_layers": 2, "final_norm": True}
    cross = {"attention": {**HEADS, "mask": "causal"}, "cross_attention": HEADS}
    blocks = {
        "source": {**embed, "from": "input_ids", "vocab_size": 97, "d_model": 48},
        "encoder": {**stack, "layer": layer},
        "target": {**embed, "from": "decoder_input_ids", "tied_to": "source"},
        "decoder": {**stack, "from": {"x": "target", "memory": "encoder"}, "layer": {**layer, **cross}},
        "head": {"kind": "lm_head", "tied_to": "source"},
    }
    at, there = r"(encoder|decoder)\.layers\.(\d+)\.", r"model.\1.layers.\2."
    rules = [
        (r"source\.tokens\.weight", "model.shared.weight", None),
        (r"(encoder|decoder)\.final_norm\.(\w+)", r"model.\1.layer_norm.\2", None),
        (at + r"attention\.o_proj\.(\w+)", there + r"self_attn.out_proj.\3", None),
        (at + r"attention\.([qkv]_proj)\.(\w+)", there + r"self_attn.\3.\4", None),
        (at + r"attention_input_norm\.(\w+)", there + r"self_attn_layer_norm.\3", None),
        (at + r"cross_attention\.o_proj\.(\w+)", there + r"encoder_attn.out_proj.\3", None),
        (at + r"cross_attention\.([qkv]_proj)\.(\w+)", there + r"encoder_attn.\3.\4", None),
        (at + r"cross_attention_input_norm\.(\w+)", there + r"encoder_attn_layer_norm.\3", None),
        (at + r"feed_forward\.up_proj\.(\w+)", there + r"fc1.\3", None),
        (at + r"feed_forward\.down_proj\.(\w+)", there + r"fc2.\3", None),
        (at + r"feed_forward_input_norm\.(\w+)", there + r"final_layer_norm.\3", None),
    ]
    data = {"flexit": 1, "name": "m2m", "inputs": {"input_ids": "tokens", "decoder_input_ids": "tokens"}}
    theirs = transformers.M2M100ForConditionalGeneration(config)
    return theirs, built(theirs, {**data, "blocks": blocks}, rules)


@pytest.mark.parametrize("padding", ["none", "left", "right"])
def test_m2m_whole_and_decoded(padding):
    theirs, ours = m2m()
    ids, mask = padded(padding)
    target = padded("none")[0].flip(1)[:, :8]
    with torch.no_grad():
        expected = theirs(input_ids=ids, attention_mask=mask, decoder_input_ids=target).logits.numpy()
        found = ours(input_ids=ids, attention_mask=mask, decoder_input_ids=target)["logits"].numpy()
    assert relative_error(found, expected) < 1e-5
    session = TorchSession(ours)
    given = {"input_ids": ids.numpy(), "attention_mask": mask.numpy(), "decoder_input_ids": target[:, :3].numpy()}
    assert relative_error(session.start(given), expected[:, 2]) < 1e-5
    for start, stop in ((3, 4), (4, 7), (7, 8)):
        step = session.step(target[:, start:stop].numpy())
        assert relative_error(step, expected[:, start:stop]) < 1e-5
