"""A tokenizer in the manner of BERT's, and small models of texts as checkpoints, with names for their classes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import tokenizers
from safetensors.torch import save_file
from tokenizers import models, normalizers, pre_tokenizers, processors

from flexit.ir.io.load import parse_spec
from flexit.runtime.tokenizer import Tokenizer
from flexit.runtime.train.describe import spec_json
from tests.stressed import stressed

SPECIALS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
WORDS = ["the", "a", "cat", "dog", "sits", "runs", "on", "in", "mat", "park", "sun", "rain", "is", "good", "very"]
PIECES = ["##s", "##ning", "##y", ".", ",", "?"]
LENGTH = 12
"""Positions of the models."""
TEXTS = ["the cat sits on the mat.", "a dog", "rainy, is the sun in the park?", "", "very good"]
PAIRS = [("is it good?", "the dog runs"), ("the cat", "a cat"), ("very good", "")]

SPEC = """
flexit: 1
name: reader
inputs: {{input_ids: tokens, token_type_ids: tokens}}
blocks:
  embed:
    kind: embedding
    from: {{tokens: input_ids, token_types: token_type_ids}}
    vocab_size: 32
    d_model: 16
    position: {{kind: learned, max_len: {length}, ids: slot}}
    token_types: 2
    norm: layer_norm
  encoder:
    kind: stack
    n_layers: 2
    layer:
      kind: transformer_layer
      norm: layer_norm
      norm_placement: post
      attention: {{kind: multi_head, n_heads: 2, bias: true, mask: full}}
      feed_forward: {{kind: mlp, d_ff: 24, bias: true}}
{blocks}
outputs: {outputs}
"""
SENTENCES = ("  pooled: {kind: pool, method: mean}", "{pooled: pooled, last_hidden_state: encoder}")
MOODS = ("  head: {kind: sequence_classifier, n_labels: 3, pool: first}", "{logits: head}")
TAGS = ("  head: {kind: token_classifier, n_labels: 3}", "{logits: head}")
RANKS = ("  head: {kind: sequence_classifier, n_labels: 1, pool: first}", "{logits: head}")
MASKED = ("  head: {kind: mlm_head, tied_to: embed}", "{logits: head}")


def bert_tokenizer(words: list[str] | None = None) -> Any:
    """Of the ``tokenizers`` library: word pieces, a template of two token types."""
    vocabulary = {token: number for number, token in enumerate([*SPECIALS, *(words or WORDS), *PIECES])}
    inner = tokenizers.Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    parts: Any = inner
    parts.normalizer = normalizers.BertNormalizer(lowercase=True)
    parts.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    parts.decoder = tokenizers.decoders.WordPiece()
    parts.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    inner.add_special_tokens(SPECIALS)
    return inner


def write_model(folder: Path, form: tuple[str, str], *, labels: list[str] | None = None, length: int = LENGTH) -> Path:
    """A checkpoint of a model with two layers of encoder, on weights on which faults show."""
    blocks, outputs = form
    spec = parse_spec(SPEC.format(blocks=blocks, outputs=outputs, length=length))
    module = stressed(spec, seed=4)
    folder.mkdir(parents=True)
    (folder / "spec.json").write_text(spec_json(spec))
    save_file({name: value.detach() for name, value in module.named_parameters()}, folder / "model.safetensors")
    (folder / "tokenizer.json").write_text(Tokenizer(bert_tokenizer()).dumps())
    if labels is not None:
        (folder / "labels.json").write_text(json.dumps(labels))
    return folder
