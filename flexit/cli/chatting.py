"""``flexit generate --chat``: a conversation by the model's chat template, one answer or one after another."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from flexit.cli.console import say, write
from flexit.cli.generating import Request, Speaker, open_at
from flexit.errors import UserError
from flexit.runtime.status import stages

if TYPE_CHECKING:
    from flexit.runtime.generation.chat_template import ChatTemplate, Message


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """How a conversation begins.

    Attributes:
        system: what the model is told first.
        asked: whether questions were given; else they are read.
        chat: whether ``--chat`` was given.
    """

    system: str | None
    asked: bool
    chat: bool

    @property
    def messages(self) -> list[Message]:
        """What there is before the first question."""
        return [] if self.system is None else [{"role": "system", "content": self.system}]


@dataclass(frozen=True, slots=True)
class Chat:
    """A model that answers, and how."""

    speaker: Speaker
    template: ChatTemplate
    request: Request

    def converse(self, messages: list[Message]) -> None:
        """Answer what is typed, each answer in view of all before it."""
        for line in _questions():
            messages.append({"role": "user", "content": line})
            messages.append({"role": "assistant", "content": self.answer(messages)})

    def answer(self, messages: Sequence[Message]) -> str:
        """The model's answer, written as it grows."""
        text = self.template.render(messages)

        def show(_: int, more: str) -> None:
            write(more)

        request = replace(self.request, prompts=[text], specials=True)
        texts = self.speaker.speak(request, on_text=show)
        if not self.speaker.streams(request):
            show(0, texts[0])
        write("\n")
        return texts[0].strip()


def run(path: str, request: Request, opening: Opening, *, family: str | None = None) -> None:
    """Answer the prompts of a request, each as a conversation of its own; or hold one, with what is typed.

    Raises:
        UserError: FX1110, ``--system`` without ``--chat``; FX1910 to FX1913, of the chat template.
    """
    from flexit.runtime.generation.chat_template import ChatTemplate

    if not opening.chat:
        raise UserError.of(
            "FX1110", "--system is of a chat", path="--system", expected="--chat beside it", found="no --chat",
            cure="add --chat, or leave --system out",
        )  # fmt: skip
    with stages(f"opening {path}"):
        speaker, folder = open_at(path, family=family)
        talk = Chat(speaker, ChatTemplate.read(folder), request)
    if not opening.asked:
        talk.converse(opening.messages)
        return
    for row, prompt in enumerate(request.prompts):
        if row:
            say()
        talk.answer([*opening.messages, {"role": "user", "content": prompt}])


def _questions() -> Iterator[str]:
    """Lines of standard input that are not empty, asked for where somebody types."""
    typed = sys.stdin.isatty()
    while True:
        if typed:
            write("> ")
        line = sys.stdin.readline()
        if not line:
            if typed:
                say()
            return
        if line.strip():
            yield line.strip()
