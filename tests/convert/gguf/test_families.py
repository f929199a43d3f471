"""Every family that GGUF files can hold: random models are written, and read again by us, by ``transformers``, and by
llama.cpp where it is installed."""

import inspect
import re

import numpy as np
import pytest
import torch
import transformers as hf
from gguf import MODEL_ARCH, MODEL_ARCH_NAMES, MODEL_TENSORS, TENSOR_NAMES, get_tensor_name_map
from transformers.modeling_gguf_pytorch_utils import load_gguf_checkpoint

from flexit.convert.gguf.section import in_gguf
from flexit.convert.gguf.writing import to_gguf
from flexit.convert.importing import scope_of
from flexit.convert.pairing import pairs_of, rules_of
from flexit.convert.pretrained import from_pretrained
from flexit.convert.sources.source import Source
from flexit.ir.compile import compile_spec
from tests.convert.families.comparing import TOLERANCE, errors, module_of
from tests.convert.gguf.models import CHANGES, family_and_section, model_for, names_of_all, pooled, saved, worst
from tests.fuzz.day import drawn_day

pytestmark = pytest.mark.slow

FAMILIES = names_of_all()
THEIRS = sorted({*FAMILIES} & {
    "llama", "qwen2", "qwen3", "gemma2", "gemma3_text", "phi3", "gpt2", "qwen2_moe", "qwen3_moe", "starcoder2",
    "falcon", "stablelm", "bloom", "nemotron", "t5",
})  # fmt: skip
"""Families whose GGUF files ``transformers`` reads."""
UNREAD = {
    "_model_name_or_path", "n_ctx", "feed_forward_length", "intermediate_size", "num_key_value_heads", "rope_theta",
    "max_position_embeddings", "tie_word_embeddings", "is_gated_act",
}  # fmt: skip
"""Keys that it reads under names of its own, or that say no more than the tensors do."""


def test_every_family_is_drawn():
    assert sorted(CHANGES) == FAMILIES


def plain(name):
    """The family alone."""
    return family_and_section(name)[0].family


@pytest.fixture(scope="module", params=FAMILIES)
def written(request, tmp_path_factory):
    """A model of theirs with the seed of the day, what was imported of it, and a file of it in fp32."""
    model = model_for(request.param, drawn_day())
    folder = tmp_path_factory.mktemp("gguf")
    pooling = saved(model, folder / "theirs", drawn_day(), name=request.param)
    pretrained = from_pretrained(folder / "theirs")
    model.pooling = pooling
    to_gguf(pretrained.spec, pretrained.weights, folder / "x.gguf", dtype="f32", family=plain(request.param))
    return request.param, model, pretrained, folder


def test_the_same_outputs(written):
    family, model, _, folder = written
    again = from_pretrained(folder / "x.gguf")
    assert again.family == plain(family)
    module = module_of(again)
    for padding in ("none", "left", "right"):
        assert worst(model, module, padding, model.pooling) < TOLERANCE


def test_the_same_file_again(written, tmp_path):
    """What was read is written as it was."""
    family, _, _, folder = written
    again = from_pretrained(folder / "x.gguf")
    to_gguf(again.spec, again.weights, tmp_path / "x.gguf", dtype="f32", family=plain(family))
    third = from_pretrained(tmp_path / "x.gguf")
    assert third.spec == again.spec
    gains = {path for path in again.weights if path.endswith("norm.weight")} if adds(family) else set()
    for path, tensor in again.weights.items():
        found = third.weights[path].numpy()
        assert np.array_equal(found, tensor.numpy()) or path in gains
        assert np.allclose(found, tensor.numpy(), rtol=0, atol=2.0**-23)  # of gains that are stored with 1 added


WHOLE = ("norm.weight", "router.weight", "gate.weight", "positions.weight", "token_types.weight")
"""Endings of matrices that are not rounded."""


def unread(family, model):
    """Rows of the position table that no token reads, which are not in the files."""
    return model.config.pad_token_id + 1 if "without" in str(family_and_section(family)[1].tensors) else 0


def adds(family):
    """Whether a family's files hold gains with 1 added."""
    return "plus" in str(family_and_section(family)[1].tensors)


def test_half_precision_rounds_matrices_alone(written, tmp_path):
    family, model, pretrained, _ = written
    to_gguf(pretrained.spec, pretrained.weights, tmp_path / "x.gguf", family=plain(family))
    found = from_pretrained(tmp_path / "x.gguf").weights
    for path, tensor in pretrained.weights.items():
        given, kept = tensor.numpy(), found[path].numpy().astype(np.float32)
        is_whole = given.ndim == 1 or path.endswith(
            ("norm.weight", "router.weight", "gate.weight", "positions.weight", "token_types.weight")
        )
        if path.endswith("norm.weight") and adds(family):
            assert np.allclose(kept, given, rtol=0, atol=2.0**-22)
        else:
            rows = unread(family, model) if path == "embed.positions.weight" else 0
            assert np.array_equal(
                kept[rows:], (given if is_whole else given.astype(np.float16).astype(np.float32))[rows:]
            ), path
            assert not kept[:rows].any()


def test_transformers_reads_the_same_tensors_and_keys(written):
    family, model, _, folder = written
    if family not in THEIRS:
        pytest.skip("transformers does not read such files")
    if family == "falcon" and not model.config.multi_query:
        pytest.skip("transformers leaves queries, keys and values in llama.cpp's order")
    read = load_gguf_checkpoint(str(folder / "x.gguf"), return_tensors=True, model_to_load=model)
    state = model.state_dict()
    for name, tensor in read["tensors"].items():
        assert torch.allclose(torch.as_tensor(tensor), state[name], rtol=0, atol=2.0**-22), name
    left = {name for name in state.keys() - read["tensors"].keys() if "layernorm.norms." not in name}
    assert left <= {
        "lm_head.weight",
        "encoder.embed_tokens.weight",
        "decoder.embed_tokens.weight",
    }  # tied; and of norms per head it has no reader
    for key, value in read["config"].items():
        if key not in UNREAD and hasattr(model.config, key):  # their reader names some that their T5 has not
            assert getattr(model.config, key) == (pytest.approx(value) if isinstance(value, float) else value), key


@pytest.mark.parametrize("family", ["llama", "qwen2"])
def test_transformers_computes_the_same(family, tmp_path):
    pytest.importorskip("accelerate", reason="transformers reads whole models of GGUF files with accelerate")
    seeds = (seed for seed in range(drawn_day(), drawn_day() + 100))
    model = next(
        each
        for each in (model_for(family, seed) for seed in seeds)
        if each.config.rope_parameters["rope_type"] == "default"
        and not getattr(each.config, "attention_bias", False)
        and not getattr(each.config, "mlp_bias", False)
    )  # fmt: skip - it reads neither scalings nor whether there are biases
    model.save_pretrained(tmp_path / "theirs")
    pretrained = from_pretrained(tmp_path / "theirs")
    for dtype in ("f32", "f16"):
        to_gguf(pretrained.spec, pretrained.weights, tmp_path / f"{dtype}.gguf", dtype=dtype, context=64)
        theirs = hf.AutoModelForCausalLM.from_pretrained(
            tmp_path, gguf_file=f"{dtype}.gguf", attn_implementation="eager", dtype=torch.float32
        ).eval()
        read = from_pretrained(tmp_path / f"{dtype}.gguf")
        whole = {path: torch.from_numpy(each.numpy().astype(np.float32)) for path, each in read.weights.items()}
        module = module_of(read)
        module.load_state_dict(whole, assign=True)
        assert max(errors(theirs, module, "right").values()) < TOLERANCE


def arch_of(architecture):
    return next(arch for arch in MODEL_ARCH if MODEL_ARCH_NAMES[arch] == architecture)


def test_names_are_those_of_the_package(written):
    """Of each parameter, GGUF's name by our rules is what the package makes of the name in their own checkpoint."""
    family, _, pretrained, folder = written
    known, section = family_and_section(family)
    config = Source(dict(from_config(folder)), {}, None, "")
    shapes = {param.path: param.shape for param in compile_spec(pretrained.spec).params()}
    by_path = {}
    for side, each in (("theirs", known), ("gguf", in_gguf(known, section))):
        head = each.heads[section.head]
        prefix = each.prefix if head.prefix is None else head.prefix
        pairs = pairs_of(rules_of(each, head, prefix), shapes, scope_of(config, each, head, tied={}))
        by_path[side] = {path: pair.theirs[0] for pair in pairs for path in pair.ours}
    names = get_tensor_name_map(arch_of(section.architecture), layers_of(pretrained.spec))
    listed = {TENSOR_NAMES[tensor] for tensor in MODEL_TENSORS[arch_of(section.architecture)]}
    compared = 0
    for path, theirs in by_path["theirs"].items():
        plain = (
            theirs.replace("experts.0.", "experts.").replace("norms.0.", "").replace("expert_bias", "expert_bias.bias")
        )
        ways = (plain, plain.removeprefix(known.prefix))
        expected = next(filter(None, (names.get_name(way, try_suffixes=(".weight", ".bias")) for way in ways)), None)
        found = by_path["gguf"][path]
        compared += 1
        if found.rpartition(".")[0] in section.numbers:
            continue  # which the files have among their metadata
        assert expected in (found, found.removesuffix(".weight"), None), (
            path,
            plain,
        )  # None where their converter splits or joins it
        assert re.sub(r"\.\d+\.", ".{bid}.", found).rpartition(".")[0] in listed, found
    assert compared == len(shapes)


def layers_of(spec):
    """How many layers there are, of an encoder or a decoder."""
    return max(spec.blocks[name].n_layers for name in ("decoder", "encoder") if name in spec.blocks)


def from_config(folder):
    return hf.AutoConfig.from_pretrained(folder / "theirs").to_dict()


# ---- llama.cpp itself

BY_TABLE = (
    "gemma", "gemma2", "gemma3_text", "gpt2", "starcoder2", "falcon", "gpt_neox", "phi", "bloom", "mpt", "gpt_bigcode",
    "bert", "distilbert", "modernbert", "roberta", "jina_embeddings_v3", "t5", "t5 (t5encoder)",
    "umt5",
)  # fmt: skip
"""Families whose activation llama.cpp looks up in a table of fp16."""


def runner_of(llama_cpp, path, **settings):
    known = inspect.signature(llama_cpp.Llama.__init__).parameters
    flash = {"flash_attn": False} if "flash_attn" in known else {}
    return llama_cpp.Llama(str(path), verbose=False, n_ctx=64, n_threads=1, type_k=0, type_v=0, **flash, **settings)


def scores_by(llama_cpp, path, ids):
    """What llama.cpp scores."""
    runner = runner_of(llama_cpp, path, logits_all=True)
    runner.eval(ids)
    return np.array(runner.scores[: len(ids)])


def batch_of(llama_cpp, ids):
    """Tokens of one text, all of which are asked for."""
    batch = llama_cpp.llama_batch_init(len(ids), 0, 1)
    batch.n_tokens = len(ids)
    for at, number in enumerate(ids):
        batch.token[at], batch.pos[at], batch.n_seq_id[at], batch.logits[at] = number, at, 1, 1
        batch.seq_id[at][0] = 0
    return batch


def answers_by(llama_cpp, path, ids, answer):
    """What llama.cpp scores for an answer to a text."""
    runner = runner_of(llama_cpp, path)
    assert llama_cpp.llama_encode(runner.ctx, batch_of(llama_cpp, ids)) == 0
    assert llama_cpp.llama_decode(runner.ctx, batch_of(llama_cpp, answer)) == 0
    size = runner.n_vocab()
    return np.array(llama_cpp.llama_get_logits(runner.ctx)[: size * len(answer)]).reshape(-1, size)


def vector_by(llama_cpp, path, ids):
    """What llama.cpp makes of a text, divided by its length as its programs do."""
    runner = runner_of(llama_cpp, path, embedding=True)
    assert llama_cpp.llama_decode(runner.ctx, batch_of(llama_cpp, ids)) == 0
    width = llama_cpp.llama_model_n_embd(runner.model)
    found = np.array(llama_cpp.llama_get_embeddings_seq(runner.ctx, 0)[:width], np.float64)
    return found / np.linalg.norm(found)


def test_llama_cpp_computes_the_same(written, tmp_path):
    llama_cpp = pytest.importorskip("llama_cpp", reason="llama.cpp is tried where its package is installed")
    family, model, pretrained, _ = written
    if family == "phi3" and model.config.rope_parameters["rope_type"] == "longrope":
        pytest.skip("llama.cpp chooses the factors by the length of its cache")
    to_gguf(pretrained.spec, pretrained.weights, tmp_path / "x.gguf", dtype="f32", family=plain(family), context=64)
    ids = np.random.default_rng(0).integers(4, model.config.vocab_size, 11).tolist()
    decodes = model.config.is_encoder_decoder and model.pooling is None
    several = {"decoder_input_ids": torch.tensor([ids[:5]])} if decodes else {}
    with torch.no_grad():
        theirs = model(input_ids=torch.tensor([ids]), **several)
    if several:
        expected, found = theirs.logits[0].numpy(), answers_by(llama_cpp, tmp_path / "x.gguf", ids, ids[:5])
    elif model.pooling is None:
        expected, found = theirs.logits[0].numpy(), scores_by(llama_cpp, tmp_path / "x.gguf", ids)
    else:
        expected = pooled(theirs.last_hidden_state, torch.ones(1, len(ids)), model.pooling[0], normalized=True)[0]
        found = vector_by(llama_cpp, tmp_path / "x.gguf", ids)
    error = np.abs(found - expected).max() / np.abs(expected).max()
    assert error < (1e-2 if family in BY_TABLE else TOLERANCE)
