"""A tokenizer that was written back makes the same ids in ``transformers`` as it did there."""

import json

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import (
    AutoTokenizer,
    BertConfig,
    BertForMaskedLM,
    BertTokenizer,
    PreTrainedTokenizerFast,
    T5Config,
    T5ForConditionalGeneration,
)

import flexit

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "Hello", "hello", "world", "World", "e", "\u00e9"]


def bert_with(folder, *, cased):
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(WORDS), hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2,
        max_position_embeddings=24,
    )  # fmt: skip
    BertForMaskedLM(config).save_pretrained(folder)
    vocab = {word: index for index, word in enumerate(WORDS)}
    BertTokenizer(vocab=vocab, do_lower_case=not cased).save_pretrained(folder)


def t5_with_bytes(folder):
    torch.manual_seed(0)
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocab = {token: index for index, token in enumerate(["<pad>", "</s>", "<unk>", *alphabet])}
    config = T5Config(vocab_size=len(vocab), d_model=16, d_ff=16, num_layers=1, num_heads=2, d_kv=8)
    T5ForConditionalGeneration(config).save_pretrained(folder)
    inner = Tokenizer(models.BPE(vocab=vocab, merges=[], unk_token="<unk>"))
    inner.pre_tokenizer, inner.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    inner.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    named = {"pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}
    PreTrainedTokenizerFast(tokenizer_object=inner, **named).save_pretrained(folder)


def written_back(folder, out):
    model = flexit.from_pretrained(folder)
    flexit.to_pretrained(model.spec, model.weights, out, files=model.files)
    return AutoTokenizer.from_pretrained(folder), AutoTokenizer.from_pretrained(out)


@pytest.mark.parametrize("cased", [True, False])
def test_a_bert_keeps_its_capitals_or_not(tmp_path, cased):
    bert_with(tmp_path / "theirs", cased=cased)
    before, after = written_back(tmp_path / "theirs", tmp_path / "back")
    text = "Hello World \u00e9"
    assert dict(after(text)) == dict(before(text))
    assert after.special_tokens_map == before.special_tokens_map
    assert after.model_max_length == 24


def test_a_tokenizer_of_another_kind_than_usual_stays_what_it_is(tmp_path):
    t5_with_bytes(tmp_path / "theirs")
    before, after = written_back(tmp_path / "theirs", tmp_path / "back")
    assert after("Hello, world")["input_ids"] == before("Hello, world")["input_ids"]
    assert "token_type_ids" not in after("Hello")
    assert after.eos_token == "</s>"


def test_the_folder_is_read_again_with_the_same_tokenizer(tmp_path):
    bert_with(tmp_path / "theirs", cased=True)
    written_back(tmp_path / "theirs", tmp_path / "back")
    one, other = (
        json.loads(flexit.from_pretrained(tmp_path / name).files["tokenizer.json"]) for name in ("theirs", "back")
    )
    assert one == other
