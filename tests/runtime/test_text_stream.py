"""Text that grows token by token: whole characters, nothing of a stop string, in the end the text of all tokens."""

import random

import pytest
from tokenizers import Tokenizer as Inner
from tokenizers import decoders, models, pre_tokenizers

from flexit.errors import TaskError
from flexit.runtime.generation.text_stream import Stops, TextStream, text_of
from flexit.runtime.tokenizer import Tokenizer

TEXTS = [
    "naïve — 日本語のテキスト, 👩\u200d🚀 and 𐍈𒀀𓂀",
    "plain words. ab abc abcd",
    "\N{REPLACEMENT CHARACTER}x",
    "\r\n\t é\u0301",
]


@pytest.fixture(scope="module")
def tokenizer():
    """One that has a token for each byte and few others, so that characters fall apart."""
    return Tokenizer.train(["some plain words to learn"], vocab_size=262)


def grown(tokenizer, tokens, *, prompt=(), stop=()):
    stream = TextStream(tokenizer, prompt, stop=stop)
    parts = [stream.add(token) for token in tokens]
    return [*parts, stream.finish()], stream


@pytest.mark.parametrize("text", TEXTS)
def test_no_half_characters_and_all_of_the_text(tokenizer, text):
    tokens = tokenizer.encode(text)
    parts, stream = grown(tokenizer, tokens)
    assert "".join(parts) == stream.text == text
    so_far = ""
    for part in parts[:-1]:
        so_far += part
        assert text.startswith(so_far)
    whole = [len(tokenizer.decode(tokens[:count])) for count in range(1, len(tokens) + 1)]
    if "\N{REPLACEMENT CHARACTER}" not in text:
        assert len(so_far) == len(text)  # nothing waits that is complete
        assert max(whole) >= len(text)


def test_bytes_that_are_no_characters(tokenizer):
    """Any bytes at all: what is released never changes, and in the end it is what decoding all at once gives."""
    draw = random.Random(5)
    for _ in range(200):
        tokens = [draw.randrange(1, tokenizer.vocab_size) for _ in range(draw.randrange(1, 12))]
        parts, _ = grown(tokenizer, tokens)
        assert "".join(parts) == tokenizer.decode(tokens)


def test_a_cut_in_a_character_is_shown_at_the_end(tokenizer):
    first, *_ = tokenizer.encode("日")
    parts, _ = grown(tokenizer, [first])
    assert parts == ["", "\N{REPLACEMENT CHARACTER}"]


def test_special_tokens_have_no_text(tokenizer):
    tokens = [tokenizer.separator_id, *tokenizer.encode("ab"), tokenizer.separator_id, *tokenizer.encode(" c")]
    assert text_of(tokenizer, [tokenizer.separator_id], tokens) == "ab c"


def expected(text, stop):
    """The text before the stop string that is complete first, by growing it a character at a time."""
    for size in range(len(text) + 1):
        ended = [each for each in stop if text[:size].endswith(each)]
        if ended:
            return text[: size - max(map(len, ended))], True
    return text, False


def test_stop_strings_over_any_tokens(tokenizer):
    """Random texts of few letters, so that beginnings of stop strings abound, ended by what defines it."""
    draw = random.Random(1)
    stopped = 0
    for _ in range(400):
        text = "".join(draw.choice("abé") for _ in range(draw.randrange(1, 14)))
        stop = ["".join(draw.choice("abé") for _ in range(draw.randrange(1, 5))) for _ in range(draw.randrange(1, 4))]
        parts, stream = grown(tokenizer, tokenizer.encode(text), stop=stop)
        assert ("".join(parts), stream.stopped) == expected(text, stop), (text, stop)
        stopped += stream.stopped
    assert 100 < stopped < 400


def test_tokens_of_many_characters_stop_where_single_ones_do():
    """A vocabulary of whole words: the stop string lies within a token, or begins in one and ends in another."""
    words = Tokenizer(Inner(models.WordLevel({"abcd": 0, "xab": 1, "cdy": 2, "?": 3}, unk_token="?")))
    words._inner.decoder = decoders.Fuse()
    assert grown(words, [0], stop=["bc", "abcd"])[0] == ["a", ""]
    parts, stream = grown(words, [1, 2, 0], stop=["bc"])
    assert (parts, stream.stopped) == (["xa", "", "", ""], True)
    assert grown(words, [1, 1], stop=["abc"])[0] == ["x", "abx", "ab"]


def test_a_decoder_that_joins_words_with_spaces():
    """What comes first has no space before it; what follows a prompt has."""
    inner = Inner(models.WordLevel({"▁red": 0, "▁blue": 1, "ish": 2, "?": 3}, unk_token="?"))
    inner.pre_tokenizer, inner.decoder = pre_tokenizers.Metaspace(), decoders.Metaspace()
    words = Tokenizer(inner)
    assert text_of(words, [], [0, 1, 2]) == "red blueish"
    assert text_of(words, [0], [1, 2, 0]) == " blueish red"


@pytest.mark.parametrize("stop", ["text", [""], ["a", ""], [3], None, 5])
def test_stop_strings_that_are_none(tokenizer, stop):
    with pytest.raises(TaskError, match="stop is no list of texts") as caught:
        TextStream(tokenizer, stop=stop)
    assert caught.value.code == "FX2003"


class Counted(Tokenizer):
    """A tokenizer that counts the tokens it has decoded."""

    decoded = 0

    def decode(self, ids):
        self.decoded += len(ids)
        return super().decode(ids)


@pytest.mark.parametrize("seed", range(5))
def test_stop_strings_of_sequences_that_fork(tokenizer, seed):
    """Sequences that go on from one another by any token, as in a beam search, and what each is by itself."""
    draw, stop = random.Random(seed), ("ba", "aab", "c")
    letters = [tokenizer.encode(letter)[0] for letter in "aab"] + tokenizer.encode("日")
    prompts = [tokenizer.encode("ab"), []]
    stops, running, stopped = Stops(tokenizer, prompts, stop=stop), [[()], [()]], 0
    for _ in range(8):
        for row, prompt in enumerate(prompts):
            asked = [(*draw.choice(running[row]), draw.choice(letters)) for _ in range(12)]
            ended = [stops(row, tokens) for tokens in asked]
            assert ended == [grown(tokenizer, tokens, prompt=prompt, stop=stop)[1].stopped for tokens in asked]
            running[row] = [tokens for tokens, end in zip(asked, ended, strict=True) if not end]
            stopped += sum(ended)
    assert stopped > 5


def test_a_longer_sequence_is_not_decoded_anew():
    counted = Counted.train(["some plain words to learn"], vocab_size=262)
    stops = Stops(counted, [[]], stop=["zz"])
    tokens = counted.encode("ab" * 100)
    for count in range(1, len(tokens) + 1):
        assert not stops(0, tokens[:count])
    assert counted.decoded < 5 * len(tokens)
