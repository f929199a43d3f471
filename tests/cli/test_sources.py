"""``flexit generate --source``: the encoder reads a text as its tokenizer's template has it, the target has its own."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoTokenizer, T5ForConditionalGeneration

from flexit.cli.choosing import Choosing
from flexit.cli.generating import Request, speaker_at
from flexit.runtime.generation.generate import generate
from flexit.runtime.train.run import train
from tests.convert.test_written_tokenizers import t5_with_bytes

TEXTS = ["two words", "one", "a few more words"]


def said(folder: Path, source: str, new: int) -> str:
    request = Request(prompts=[""], source=source, max_new_tokens=new, choosing=Choosing())
    return speaker_at(str(folder)).speak(request)[0]


def test_it_says_what_transformers_says(tmp_path: Path):
    t5_with_bytes(tmp_path)
    model: Any = T5ForConditionalGeneration.from_pretrained(tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.5)  # so that what is read matters
    model.generation_config.decoder_start_token_id = 0
    model.save_pretrained(tmp_path)
    without_end = 0
    for text in TEXTS:
        ids = tokenizer(text, return_tensors="pt").input_ids
        assert ids[0, -1] == tokenizer.eos_token_id
        wanted, other = (model.generate(given, max_new_tokens=8, do_sample=False)[0] for given in (ids, ids[:, :-1]))
        assert said(tmp_path, text, 8) == tokenizer.decode(wanted, skip_special_tokens=True)
        without_end += not torch.equal(wanted, other)
    assert without_end


@pytest.mark.slow
def test_a_trained_pair_of_tokenizers(tmp_path: Path):
    pairs = [{"source": word, "target": " ".join(word[::-1])} for word in ("abc", "bcd", "cda", "dab", "abcd", "dcba")]
    (tmp_path / "data.jsonl").write_text("\n".join(map(json.dumps, pairs)))
    (tmp_path / "run.yaml").write_text("""
flexit: 1
model: tiny-t5
task: {kind: seq2seq, target_tokenizer: words}
data: {train: {kind: jsonl, files: [data.jsonl]}, seq_len: 12, tokenizer: characters}
batch: {size: 6}
optimizer: {kind: adamw, lr: 3e-3}
steps: 300
threads: 1
device: cpu
out: run
""")
    checkpoint = train(tmp_path / "run.yaml", progress=False).checkpoint
    assert checkpoint is not None
    assert [said(checkpoint, pair["source"], 8) for pair in pairs] == [pair["target"] for pair in pairs]
    speaker = speaker_at(str(checkpoint))
    ids = [*speaker.source_tokenizer.encode("abc"), speaker.config.eos[0]]
    (tokens,) = generate(
        speaker.session, [[speaker.config.start]], max_new_tokens=8, eos_id=speaker.config.eos,
        others={"input_ids": [ids]},
    )  # fmt: skip
    assert speaker.tokenizer.decode(tokens) == "c b a"
