"""Tokenizers with a token for each character or word that the texts have."""

from pathlib import Path

import pytest

from flexit.errors import UserError
from flexit.runtime.train.data.tokenizers.characters import Characters
from flexit.runtime.train.data.tokenizers.words import Words

PHONES = ["HH AH L OW", "W ER L D", "OW  L\tD"]


def test_each_word_is_a_token():
    made = Words().make(lambda: PHONES, Path(), rows=100)
    assert made.vocab_size == 2 + len({phone for text in PHONES for phone in text.split()})
    for text in PHONES:
        ids = made.encode(text)
        assert len(ids) == len(text.split())
        assert made.decode(ids) == " ".join(text.split())
    assert made.encode("L ZH D")[1] == made.id_of("<unk>")


def test_ids_do_not_depend_on_the_order_of_the_texts():
    made = [Words().make(lambda order=order: PHONES[::order], Path(), rows=100) for order in (1, -1)]
    assert made[0].dumps() == made[1].dumps()


@pytest.mark.parametrize(("kind", "called"), [(Words, "words"), (Characters, "characters")])
def test_more_than_the_table_has_rows(kind: type[Words | Characters], called: str):
    pieces = {piece for text in PHONES for piece in (text.split() if kind is Words else text)}
    tokenizer = kind()
    assert tokenizer.make(lambda: PHONES, Path(), rows=len(pieces) + 2).vocab_size == len(pieces) + 2
    with pytest.raises(UserError, match=f"more {called} than the model has rows") as raised:
        tokenizer.make(lambda: PHONES, Path(), rows=len(pieces) + 1)
    problem = raised.value.problems[0]
    assert (problem.expected, problem.found) == (f"at most {len(pieces) - 1}", str(len(pieces)))
