"""A conversation as the text that a chat model reads: its template, rendered apart, within 1 s and 1 MB."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from threading import Timer
from typing import Any, cast

from flexit.errors import UserError

TEMPLATE, SPECIALS = "chat_template.jinja", "special_tokens_map.json"
SECONDS = 1.0
MAX_BYTES = 2**20
MEMORY = 256 * 2**20
"""What rendering may allocate, where the system can be told so."""
START = 60.0
"""Seconds that the process may take to begin."""

Message = Mapping[str, Any]
"""``role`` and ``content``, and what else a template reads."""


@dataclass(frozen=True, slots=True)
class ChatTemplate:
    """A chat template and the special tokens that it may name.

    Attributes:
        text: Jinja.
        tokens: ``bos_token`` and the like, as they are written.
    """

    text: str
    tokens: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def read(cls, folder: str | Path) -> ChatTemplate:
        """The template of a bundle or checkpoint.

        Raises:
            UserError: FX1910, it has none; FX1911, its files cannot be read.
        """
        file, named = Path(folder) / TEMPLATE, Path(folder) / SPECIALS
        if not file.is_file():
            raise UserError.of(
                "FX1910", f"{folder} has no chat template", path=str(folder), expected=f"a file {TEMPLATE}",
                found="none", cure="generate without --chat: the model continues texts",
            )  # fmt: skip
        return cls(_text(file), _tokens(named) if named.is_file() else {})

    def render(
        self, messages: Sequence[Message], *, add_generation_prompt: bool = True, **variables: Any
    ) -> str:  # fmt: skip
        """The text of a conversation, special tokens written out.

        Args:
            messages: who says what, such as ``{"role": "user", "content": "Hello"}``.
            add_generation_prompt: whether the text ends where the model's answer begins.
            variables: further ones that the template reads; JSON data.

        Raises:
            UserError: FX1825, jinja2 is not there; FX1911, the template cannot be used; FX1912, it refuses the
                conversation; FX1913, it takes too long or gives too much; FX2007, the messages are none.
        """
        given = {
            "messages": _checked(messages), "tools": None, "documents": None,
            "add_generation_prompt": add_generation_prompt, **self.tokens, **variables,
        }  # fmt: skip
        return _rendered(self.text, given)


def _checked(messages: Sequence[Message]) -> list[dict[str, Any]]:
    listed: object = messages
    plain = [dict(each) for each in messages if isinstance(cast("object", each), Mapping)]
    if isinstance(listed, str | Mapping) or len(plain) != len(messages) or not all("role" in each for each in plain):
        raise UserError.of(
            "FX2007", "the messages cannot be used", path="messages", expected='mappings such as {"role": "user", ...}',
            found=repr(messages)[:60], cure="give each message a role and its content",
        )  # fmt: skip
    return plain


def _rendered(template: str, variables: Mapping[str, Any]) -> str:
    if find_spec("jinja2") is None:
        raise UserError.of(
            "FX1825", "chat templates need one more library", expected="jinja2", found="none",
            cure='install it: pip install "flexit-ml[hf]"',
        )  # fmt: skip
    settings = {"limit": MAX_BYTES, "memory": MEMORY, "seconds": SECONDS}
    try:
        request = json.dumps({"template": template, "variables": variables, **settings}).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise UserError.of(
            "FX2007", "the conversation cannot be used", path="messages", expected="JSON data", found=str(error),
            cure="give texts, numbers, lists and mappings",
        ) from None  # fmt: skip
    if len(request) > 4 * MAX_BYTES:
        raise _over("the conversation", f"{len(request):,} bytes")
    return _understood(_answer(request))


def _answer(request: bytes) -> dict[str, str]:
    """What the process that renders says, ended when its time is over."""
    program = Path(__file__).with_name("rendering.py")
    with subprocess.Popen(
        [sys.executable, "-P", str(program)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        assert process.stdin is not None and process.stdout is not None
        late: list[bool] = []

        def end() -> None:
            late.append(True)
            process.kill()

        for seconds, step in ((START, lambda: _begin(process, request)), (SECONDS, process.stdout.read)):
            timer = Timer(seconds, end)
            timer.start()
            try:
                out = step()
            finally:
                timer.cancel()
        process.wait()
    if late:
        return {"kind": "size", "why": f"over {SECONDS:g} s"}
    try:
        return json.loads(out)
    except ValueError:
        return {"kind": "size", "why": f"it was ended by the system (exit code {process.returncode})"}


def _begin(process: subprocess.Popen[bytes], request: bytes) -> bytes:
    """Hand a request over, and wait until it is taken up."""
    assert process.stdin is not None and process.stdout is not None
    try:
        process.stdin.write(request)
        process.stdin.close()
    except BrokenPipeError:
        return b""
    return process.stdout.readline()


def _understood(answer: Mapping[str, str]) -> str:
    """The text of an answer.

    Raises:
        UserError: FX1911, FX1912 or FX1913, there is none.
    """
    if "text" in answer:
        return answer["text"]
    kind, why = answer["kind"], answer["why"][:300]
    if kind == "raised":
        raise UserError.of(
            "FX1912", "the chat template refuses the conversation", path="messages",
            expected="what the model was trained on", found=why,
            cure="change the conversation as the template says; leave --system out if that is the matter",
        )  # fmt: skip
    if kind == "template":
        raise _unusable(TEMPLATE, expected="a template that renders in Jinja's immutable sandbox", found=why)
    raise _over("the chat template", why)


def _over(what: str, found: str) -> UserError:
    return UserError.of(
        "FX1913", f"{what} is over the limits of rendering", path=TEMPLATE,
        expected=f"at most {SECONDS:g} s and {MAX_BYTES:,} bytes", found=found,
        cure="shorten the conversation; a template that needs more is broken or hostile",
    )  # fmt: skip


def _unusable(file: str, *, expected: str, found: str) -> UserError:
    return UserError.of(
        "FX1911", f"{file} cannot be used", path=file, expected=expected, found=found,
        cure="take the file from the model again",
    )  # fmt: skip


def _text(file: Path) -> str:
    try:
        content = file.read_bytes()
        text = content.decode("utf-8") if len(content) <= MAX_BYTES else None
    except (OSError, UnicodeDecodeError) as error:
        raise _unusable(file.name, expected="UTF-8 text", found=str(error)) from None
    if text is None:
        raise _unusable(file.name, expected=f"at most {MAX_BYTES:,} bytes", found=f"{len(content):,}")
    return text


def _tokens(file: Path) -> dict[str, str]:
    """Tokens by name; those that are written with flags have them in ``content``."""
    try:
        found = json.loads(_text(file))
    except (ValueError, RecursionError) as error:
        raise _unusable(file.name, expected="a JSON object", found=str(error)) from None
    if not isinstance(found, dict):
        raise _unusable(file.name, expected="a JSON object", found=str(found)[:60])
    written = {name: each.get("content") if isinstance(each, dict) else each for name, each in found.items()}
    return {name: each for name, each in written.items() if isinstance(each, str)}
