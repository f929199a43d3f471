"""What becomes of texts, against the pipelines of Hugging Face: template, token types, scores, places and masks."""

import pytest
import torch
import transformers

from flexit.lower.torch.module import to_torch
from flexit.runtime.sessions.torch_session import TorchSession
from flexit.runtime.tasks.classify import classify
from flexit.runtime.tasks.embed import hidden_states
from flexit.runtime.tasks.fill_mask import fill_mask
from flexit.runtime.tasks.text_model import Reading, TextModel
from flexit.runtime.tokenizer import Tokenizer
from tests.parity.test_decoders import VOCAB, mapped, perturbed
from tests.parity.test_encoders import bert_with_a_classifier
from tests.parity.test_heads import bert_mlm, bert_tokens
from tests.texts import PAIRS, PIECES, SPECIALS, TEXTS, WORDS, bert_tokenizer

FILLED = [*WORDS, *(f"w{index}" for index in range(VOCAB - len(WORDS) - len(SPECIALS) - len(PIECES)))]
"""As many words as the models know."""
WHOLE = [pair for pair in PAIRS if all(pair)]
"""They take a pair with an empty second text for one text; here it is a pair."""


def their_tokenizer():
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=bert_tokenizer(FILLED), pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]",
        sep_token="[SEP]", mask_token="[MASK]", model_input_names=["input_ids", "token_type_ids", "attention_mask"],
    )  # fmt: skip


def theirs_of(task, model, **options):
    return transformers.pipeline(task, model=model, tokenizer=their_tokenizer(), **options)


def ours_of(module):
    return TextModel(TorchSession(module), Tokenizer(bert_tokenizer(FILLED)))


def twins(family):
    theirs, spec, rules = family()
    return theirs, ours_of(to_torch(spec, mapped(to_torch(spec), perturbed(theirs).state_dict(), rules)))


def test_masks_as_hugging_face():
    theirs, ours = twins(bert_mlm)
    texts = ["the [MASK] sits on a mat", "[MASK]", "is it [MASK] or [MASK] good?"]
    expected = theirs_of("fill-mask", theirs, top_k=7)(texts)
    for masks, others in zip(fill_mask(ours, texts, top=7), expected, strict=True):
        slots = others if isinstance(others[0], list) else [others]
        for filled, other in zip(masks, slots, strict=True):
            assert [token.id for token in filled] == [token["token"] for token in other]
            assert [token.score for token in filled] == pytest.approx([token["score"] for token in other], rel=1e-4)
            assert [token.token for token in filled] == [token["token_str"] for token in other]


@pytest.mark.parametrize("scores", ["softmax", "sigmoid", "none"])
def test_classes_of_texts_and_pairs_as_hugging_face(scores):
    theirs, module = bert_with_a_classifier()
    given = [*TEXTS, *WHOLE]
    written = [{"text": text} if isinstance(text, str) else {"text": text[0], "text_pair": text[1]} for text in given]
    pipeline = theirs_of("text-classification", theirs, top_k=None, function_to_apply=scores)
    found = classify(ours_of(module), given, Reading(batch_size=3), scores=scores)
    for each, text in zip(found, written, strict=True):
        other = {entry["label"]: entry["score"] for entry in pipeline([text])[0]}
        assert each.scores == pytest.approx([other[f"LABEL_{index}"] for index in range(3)], rel=1e-4, abs=1e-6)


def test_classes_of_tokens_as_hugging_face():
    theirs, ours = twins(bert_tokens)
    texts = [text for text in TEXTS if text]
    expected = theirs_of("token-classification", theirs, ignore_labels=[])(texts)
    for each, tokens in zip(classify(ours, texts), expected, strict=True):
        assert each.places is not None
        assert [(place.start, place.end) for place in each.places] == [(t["start"], t["end"]) for t in tokens]
        assert [f"LABEL_{label}" for label in each.best] == [t["entity"] for t in tokens]
        assert each.scores.max(axis=1) == pytest.approx([t["score"] for t in tokens], rel=1e-4)


def test_hidden_states_as_hugging_face():
    theirs, module = bert_with_a_classifier()
    for text, states in zip(WHOLE, hidden_states(ours_of(module), WHOLE, output="hidden"), strict=True):
        given = their_tokenizer()(*text, return_tensors="pt")
        with torch.no_grad():
            expected = theirs.bert(**given).last_hidden_state[0].numpy()
        assert states == pytest.approx(expected, abs=1e-5)
