"""Packed rows: each document gives what it gives in a row of its own, forwards and in gradients, compiled too."""

import json
from functools import cache

import numpy as np
import pytest
import torch

from flexit.errors import TaskError, UserError
from flexit.ir.io.load import parse_spec
from flexit.lower.torch.module import to_torch
from flexit.runtime.proof.compare import relative_error
from flexit.runtime.sessions.torch_session import TorchSession
from tests.stressed import stressed

VOCAB, WIDTH, LENGTH = 29, 16, 14
FEED = {"kind": "mlp", "d_ff": 24}
HEADS = {"kind": "multi_head", "n_heads": 2, "mask": "causal"}
PAD = {"kind": "non_pad_cumsum", "pad_id": 2}


def layer(attention):
    return {
        "kind": "transformer_layer", "norm": "rms_norm", "norm_placement": "pre", "attention": attention,
        "feed_forward": FEED,
    }  # fmt: skip


def decoder(attention, position=None, **stack):
    return {
        "embed": {"kind": "embedding", "vocab_size": VOCAB, "d_model": WIDTH, "position": position},
        "decoder": {"kind": "stack", "n_layers": 2, "layer": layer(attention), "final_norm": True, **stack},
        "head": {"kind": "lm_head", "tied_to": "embed"},
    }


def masked(**mask):
    return decoder({**HEADS, "rotary": {}, "mask": mask})


def biased(kind, **fields):
    return decoder({**HEADS, "scores": {"bias": {"kind": kind, **fields}}})


TABLE = {"kind": "learned", "max_len": LENGTH}
MODELS = {
    "rotary": masked(kind="causal"),
    "full": masked(kind="full"),
    "window": masked(kind="causal", window=2),
    "chunks": masked(kind="causal", chunk=2),
    "streaming": masked(kind="causal", window=2, keep_first=1),
    "full window": masked(kind="full", window=1),
    "yarn": decoder({**HEADS, "rotary": {"scaling": {"kind": "yarn", "factor": 4, "original_max_len": 8}}}),
    "tempered": decoder({**HEADS, "scores": {"temperature": {"scale": 0.5, "floor": 2}, "sinks": "learned"}}),
    "learned": decoder(HEADS, TABLE),
    "slots": decoder(HEADS, {**TABLE, "ids": "slot"}),
    "counted": decoder(HEADS, {**TABLE, "ids": PAD}),
    "sinusoidal": decoder(HEADS, "sinusoidal"),
    "t5": decoder({**HEADS, "mask": "full"}, score_bias={"kind": "t5", "n_buckets": 8, "max_distance": 8}),
    "alibi": biased("alibi"),
    "relative": biased("relative", max_distance=3, values=True),
    "relative_global": biased("relative_global", max_len=LENGTH),
    "short_conv": decoder({"kind": "short_conv", "kernel": 3}),
    "short_conv with biases": decoder({"kind": "short_conv", "kernel": 4, "bias": True}, TABLE),
    "mla": decoder(
        {
            "kind": "mla",
            "n_heads": 2,
            "kv_lora_rank": 6,
            "qk_nope_head_dim": 4,
            "qk_rope_head_dim": 4,
            "v_head_dim": 5,
            "rotary": {},
            "mask": {"kind": "causal", "window": 3},
        }
    ),
    "slice": {
        "embed": {"kind": "embedding", "vocab_size": VOCAB, "d_model": WIDTH},
        "all": {"kind": "slice", "start": -LENGTH - 3},
        "conv": {"kind": "short_conv", "kernel": 3},
        "read": {**HEADS, "rotary": {}},
        "head": {"kind": "lm_head", "tied_to": "embed"},
    },
}
CONTIGUOUS = [[5] * 6 + [1] * 5 + [9] * 3, [0] * LENGTH, [7] * 2 + [8] * 2 + [3] * 10]
SCATTERED = [[0, 1] * 7, [2, 2, 0, 1, 0, 2, 1, 1, 0, 0, 2, 2, 1, 0], list(range(LENGTH))]


@cache
def model(name):
    spec = parse_spec(json.dumps({"flexit": 1, "name": "packed", "blocks": MODELS[name]}))
    return stressed(spec, dtype=torch.float64).train()


def packed(documents):
    """Ids, a mask with pads here and there, and documents."""
    ids = np.random.default_rng(3).integers(3, VOCAB, (3, LENGTH))
    mask = np.ones((3, LENGTH), np.int64)
    mask[0, [1, 7]], mask[1, :3], mask[2, -1:] = 0, 0, 0
    return torch.tensor(ids), torch.tensor(mask), torch.tensor(documents)


def alone(ids, mask, documents):
    """Each document in a row of its own, with the slots it has in the packed rows."""
    for row in range(len(ids)):
        for document in documents[row].unique():
            slots = (documents[row] == document).nonzero()[:, 0]
            if mask[row, slots].any():
                yield row, slots, ids[row, slots][None], mask[row, slots][None]


@pytest.mark.parametrize("documents", [CONTIGUOUS, SCATTERED], ids=["side by side", "scattered"])
@pytest.mark.parametrize("name", MODELS)
def test_packed_is_separate(name, documents):
    module, (ids, mask, of) = model(name), packed(documents)
    module.zero_grad()
    found = module(input_ids=ids, attention_mask=mask, document_ids=of)["logits"]
    weight = torch.randn(VOCAB, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    (found[mask == 1] @ weight).square().sum().backward()
    together = {path: parameter.grad.clone() for path, parameter in module.named_parameters()}
    module.zero_grad()
    total = 0.0
    for row, slots, own_ids, own_mask in alone(ids, mask, of):
        expected = module(input_ids=own_ids, attention_mask=own_mask)["logits"]
        kept = own_mask[0] == 1
        error = relative_error(found[row, slots][kept].detach().numpy(), expected[0, kept].detach().numpy())
        assert error < 1e-9, (row, error)
        total = total + (expected[0, kept] @ weight).square().sum()
    total.backward()
    for path, parameter in module.named_parameters():
        assert relative_error(together[path].numpy(), parameter.grad.numpy()) < 1e-8, path


@pytest.mark.parametrize("name", MODELS)
def test_documents_matter(name):
    """Without them tokens of one document change results of another."""
    module, (ids, mask, of) = model(name), packed(CONTIGUOUS)
    with torch.no_grad():
        apart = module(input_ids=ids, attention_mask=mask, document_ids=of)["logits"]
        mixed = module(input_ids=ids, attention_mask=mask)["logits"]
    assert relative_error(apart.numpy(), mixed.numpy(), mask.bool().numpy()) > 1e-2
    one = torch.full_like(of, 6)
    with torch.no_grad():
        same = module(input_ids=ids, attention_mask=mask, document_ids=one)["logits"]
    assert relative_error(same.numpy(), mixed.numpy(), mask.bool().numpy()) < 1e-9


def test_two_packed_sequences_meet_by_document():
    """Each document of the one attends to the document of that number in the other."""
    blocks = {
        "source": {"kind": "embedding", "from": "input_ids", "vocab_size": VOCAB, "d_model": WIDTH},
        "encoder": {**layer({**HEADS, "mask": "full", "rotary": {}})},
        "target": {"kind": "embedding", "from": "decoder_input_ids", "tied_to": "source"},
        "decoder": {
            **layer({**HEADS, "rotary": {}}), "cross_attention": {"kind": "multi_head", "n_heads": 2},
            "from": {"x": "target", "memory": "encoder"},
        },
        "head": {"kind": "lm_head", "tied_to": "source"},
    }  # fmt: skip
    inputs = {"input_ids": "tokens", "decoder_input_ids": "tokens"}
    spec = parse_spec(json.dumps({"flexit": 1, "name": "pairs", "inputs": inputs, "blocks": blocks}))
    module = stressed(spec)
    ids = torch.tensor(np.random.default_rng(4).integers(0, VOCAB, (2, 1, 10)))
    of, to = torch.tensor([[0] * 4 + [1] * 6]), torch.tensor([[0] * 7 + [1] * 3])
    with torch.no_grad():
        given = {"input_ids": ids[0], "decoder_input_ids": ids[1], "document_ids": of, "decoder_document_ids": to}
        found = module(**given)["logits"][0]
        for document in (0, 1):
            part = {"input_ids": ids[0][of == document][None], "decoder_input_ids": ids[1][to == document][None]}
            assert relative_error(found[to[0] == document].numpy(), module(**part)["logits"][0].numpy()) < 1e-5


@pytest.mark.slow
@pytest.mark.parametrize("name", ["streaming", "short_conv", "counted"])
def test_packed_rows_compile(name):
    spec = model(name).spec
    module = to_torch(spec, dict(model(name).named_parameters())).eval()
    ids, mask, of = packed(CONTIGUOUS)
    torch._dynamo.reset()
    backend = "aot_eager" if name == "streaming" else "eager"
    compiled = torch.compile(module, backend=backend, fullgraph=True, dynamic=True)
    with torch.no_grad():
        for stop in (LENGTH, LENGTH - 3, 5):
            given = {"input_ids": ids, "attention_mask": mask, "document_ids": of}
            given = {name: tensor[:, :stop].contiguous() for name, tensor in given.items()}
            found, expected = compiled(**given)["logits"], module(**given)["logits"]
            assert relative_error(found.numpy(), expected.numpy(), mask[:, :stop].bool().numpy()) < 1e-5


MIXERS = {
    "pool": [{"kind": "pool", "method": "mean"}],
    "classifier": [{"kind": "sequence_classifier", "n_labels": 2, "pool": "first"}],
    "downsample": [{"kind": "downsample", "factor": 2}],
    "learned_tokens": [{"kind": "learned_tokens", "n_tokens": 2, "from": {"like": "embed"}}],
    "concat": [{"kind": "concat", "axis": "length", "from": ["embed", "embed"]}],
    "prefix": [{"kind": "multi_head", "n_heads": 2, "mask": "prefix"}],
    "dynamic": [{**HEADS, "rotary": {"scaling": {"kind": "dynamic", "factor": 2, "original_max_len": 6}}}],
    "latent": [{
        "kind": "mla", "n_heads": 2, "kv_lora_rank": 6, "qk_nope_head_dim": 4, "qk_rope_head_dim": 4, "v_head_dim": 5,
        "mask": "causal", "rotary": {"scaling": {"kind": "dynamic", "factor": 2, "original_max_len": 6}},
    }],
    "token_dropout": [{
        "kind": "embedding", "from": "input_ids", "vocab_size": VOCAB, "d_model": WIDTH,
        "token_dropout": {"mask_id": 4},
    }],
}  # fmt: skip


@pytest.mark.parametrize("name", MIXERS)
def test_what_mixes_documents_is_refused(name):
    blocks = {"embed": {"kind": "embedding", "vocab_size": VOCAB, "d_model": WIDTH}}
    blocks |= {"attend": {**HEADS, "mask": "full"}}
    blocks |= {f"{name}_{index}": block for index, block in enumerate(MIXERS[name])}
    outputs = {"one": "attend", "other": f"{name}_0"}
    spec = parse_spec(json.dumps({"flexit": 1, "name": "mixing", "outputs": outputs, "blocks": blocks}))
    module, (ids, mask, of) = to_torch(spec), packed(CONTIGUOUS)
    with pytest.raises(UserError, match=rf"FX0512.*(.|\n)*{name}_0") as caught:
        module(input_ids=ids, attention_mask=mask, document_ids=of)
    assert caught.value.code == "FX0512"
    module(input_ids=ids, attention_mask=mask)


def test_packed_rows_are_for_training():
    module, (ids, mask, of) = model("rotary"), packed(CONTIGUOUS)
    with pytest.raises(UserError, match="packed rows are not decoded"):
        module(input_ids=ids, attention_mask=mask, document_ids=of, cache=module.empty_cache(3))
    session = TorchSession(to_torch(module.spec))
    assert all(entry.role != "document_ids" for entry in session.interface.inputs)
    for call in (session.run, session.start):
        with pytest.raises(TaskError, match="document_ids is for training alone"):
            call({"input_ids": ids.numpy(), "document_ids": of.numpy()})
