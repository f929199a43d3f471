"""New tokens of a row as text that grows: whole characters, and nothing of a stop string."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from typing import TYPE_CHECKING, Any

from flexit.errors import TaskError

if TYPE_CHECKING:
    from flexit.runtime.tokenizer import Tokenizer

Streams = dict[tuple[int, ...], "TextStream"]
"""By the tokens that were added."""
UNFINISHED = "\N{REPLACEMENT CHARACTER}"
"""What a decoder puts for bytes that are no character, or not yet."""


class TextStream:
    """Decodes token by token. Text once released never changes; all of it together is the text of the row.

    Characters whose bytes are not complete are held back, and text that may be the beginning of a stop string. The text
    ends before the stop string that is complete first.

    Attributes:
        text: what was released.
        stopped: whether a stop string was met.

    Args:
        tokenizer: of the model.
        prompt: tokens that the new ones go on from; their text is not part of it.
        stop: strings that end the text.

    Raises:
        TaskError: FX2003, a stop string is empty, or they are no texts.
    """

    def __init__(self, tokenizer: Tokenizer, prompt: Sequence[int] = (), *, stop: Sequence[str] = ()) -> None:
        _require_texts(stop)
        self.text = ""
        self.stopped = False
        self._tokenizer = tokenizer
        self._stop = tuple(stop)
        self._known = list(prompt)[-1:]  # a decoder may treat what comes first in another way
        self._window = list(self._known)
        self._held = ""

    def add(self, token: int) -> str:
        """The text that one more token releases."""
        if self.stopped:
            return ""
        self._window = [*self._window, int(token)]  # which a copy may have too
        before, text = self._tokenizer.decode(self._known), self._tokenizer.decode(self._window)
        if text.endswith(UNFINISHED) or len(text) <= len(before):
            return ""
        self._known = self._window[len(self._known) :]
        self._window = list(self._known)
        return self._release(text[len(before) :])

    def finish(self) -> str:
        """The text that is left when no more tokens come."""
        if self.stopped:
            return ""
        before, text = self._tokenizer.decode(self._known), self._tokenizer.decode(self._window)
        self._known = self._window = []
        released = self._release(text[len(before) :])
        rest, self._held = self._held, ""
        self.text += rest
        return released + rest

    def _release(self, more: str) -> str:
        """What is certain of the text that was held back and more of it."""
        pending = self._held + more
        at = stop_at(pending, self._stop)
        if at is not None:
            self.stopped, certain = True, at
        else:
            certain = len(pending) - beginning_of_stop(pending, self._stop)
        self._held = "" if self.stopped else pending[certain:]
        self.text += pending[:certain]
        return pending[:certain]


def stop_at(text: str, stop: Sequence[str]) -> int | None:
    """Where the stop string begins that is complete first in a text; None where there is none."""
    found = [(at + len(each), at) for each in stop if (at := text.find(each)) >= 0]
    return min(found)[1] if found else None


def beginning_of_stop(text: str, stop: Sequence[str]) -> int:
    """How many characters at the end of a text may be the beginning of a stop string."""
    longest = min(len(text), max((len(each) - 1 for each in stop), default=0))
    return next((size for size in range(longest, 0, -1) if any(each.startswith(text[-size:]) for each in stop)), 0)


class Stops:
    """Tells of a row and the new tokens of one of its sequences whether they hold a stop string.

    A sequence is asked for after the one that it goes on from, as a search does, and no more of it is decoded than its
    last token.

    Args:
        tokenizer: of the model.
        prompts: tokens that each row goes on from.
        stop: strings that end a text.

    Raises:
        TaskError: FX2003, a stop string is empty, or they are no texts.
    """

    def __init__(self, tokenizer: Tokenizer, prompts: Sequence[Sequence[int]], *, stop: Sequence[str]) -> None:
        self._before: list[Streams] = [{} for _ in prompts]
        self._latest: list[Streams] = [{(): TextStream(tokenizer, prompt, stop=stop)} for prompt in prompts]

    def __call__(self, row: int, tokens: Sequence[int]) -> bool:
        *before, last = tokens
        if tuple(before) in self._latest[row]:  # the first that is one longer
            self._before[row], self._latest[row] = self._latest[row], {}
        stream = copy(self._before[row][tuple(before)])
        stream.add(last)
        self._latest[row][tuple(tokens)] = stream
        return stream.stopped


def text_of(tokenizer: Tokenizer, prompt: Sequence[int], tokens: Sequence[int], *, stop: Sequence[str] = ()) -> str:
    """The text of new tokens, up to a stop string."""
    stream = TextStream(tokenizer, prompt, stop=stop)
    for token in tokens:
        stream.add(token)
    stream.finish()
    return stream.text


def _require_texts(stop: Any) -> None:
    listed = isinstance(stop, Sequence) and not isinstance(stop, str | bytes)
    if not listed or any(not isinstance(each, str) or not each for each in stop):
        raise TaskError.of(
            "FX2003", "stop is no list of texts", path="stop", expected="texts of at least one character each",
            found=repr(stop)[:60], cure="leave empty texts out",
        )  # fmt: skip
