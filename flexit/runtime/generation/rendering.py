"""Renders one chat template: a program of its own, so that what a template takes can be limited and ended.

Reads a request as JSON from standard input, says on standard output that it is ready, and answers there as JSON. It
imports nothing of flexit. What templates may use is what they are written for: Hugging Face's ``apply_chat_template``.
"""

from __future__ import annotations

import json
import sys
from datetime import datetime
from typing import Any

import jinja2
from jinja2 import nodes
from jinja2.exceptions import SecurityError
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace

READY = "ready"


class Generation(Extension):
    """``{% generation %}`` marks what the model has written, for training; it renders what is in it."""

    tags = {"generation"}  # noqa: RUF012 - the base class declares it so

    def parse(self, parser: Parser) -> list[nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


class Named(Namespace):
    """A template's ``namespace``, whose names do not begin with an underscore: those are Python's own."""

    def __init__(self, *arguments: Any, **given: Any) -> None:
        for name in dict(*arguments, **given):
            _require_plain(name)
        super().__init__(*arguments, **given)

    def __setitem__(self, name: str, value: Any) -> None:
        _require_plain(name)
        super().__setitem__(name, value)


def _require_plain(name: object) -> None:
    if str(name).startswith("_"):
        raise SecurityError(f"a namespace has no {name}")


class Raised(Exception):
    """What a template raises itself, with ``raise_exception``."""


class TooLong(Exception):
    """The text is longer than it may be."""


def tojson(
    value: Any, ensure_ascii: bool = False, indent: int | None = None, *, separators: Any = None,
    sort_keys: bool = False,
) -> str:  # fmt: skip
    """Data as JSON that is no HTML."""
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def raise_exception(message: str) -> None:
    """End the rendering."""
    raise Raised(message)


def strftime_now(written: str) -> str:
    """The time, as the template writes it."""
    return datetime.now().strftime(written)


def environment() -> ImmutableSandboxedEnvironment:
    """What templates are rendered in."""
    made = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[Generation, loopcontrols])
    made.filters["tojson"] = tojson
    made.globals.update({"raise_exception": raise_exception, "strftime_now": strftime_now, "namespace": Named})
    return made


def render(request: dict[str, Any]) -> str:
    """The text of a request.

    Args:
        request: ``template``, ``variables``, and ``limit``, the most bytes of the text.

    Raises:
        TooLong: it is longer.
    """
    parts, size = [], 0
    for part in environment().from_string(request["template"]).generate(**request["variables"]):
        size += len(part.encode("utf-8", "surrogatepass"))
        if size > request["limit"]:
            raise TooLong
        parts.append(part)
    return "".join(parts)


def limit_resources(memory: int, seconds: float) -> None:
    """Bound what this process takes from now on, where the system can."""
    import resource

    used = int(open("/proc/self/statm", encoding="ascii").read().split()[0]) * resource.getpagesize()  # noqa: SIM115
    resource.setrlimit(resource.RLIMIT_AS, (used + memory, used + memory))
    spent = sum(resource.getrusage(resource.RUSAGE_SELF)[:2])
    resource.setrlimit(resource.RLIMIT_CPU, (int(spent + seconds) + 2, int(spent + seconds) + 2))


def answer(request: dict[str, Any]) -> dict[str, str]:
    """The text, or what went wrong: ``kind`` is ``raised``, ``template`` or ``size``."""
    try:
        return {"text": render(request)}
    except Raised as error:
        return {"kind": "raised", "why": str(error)}
    except TooLong:
        return {"kind": "size", "why": f"over {request['limit']:,} bytes"}
    except (MemoryError, OverflowError, RecursionError) as error:
        return {"kind": "size", "why": str(error) or type(error).__name__}
    except jinja2.TemplateSyntaxError as error:
        return {"kind": "template", "why": f"line {error.lineno}: {error.message}"}
    except Exception as error:
        return {"kind": "template", "why": f"{type(error).__name__}: {error}"}


def main() -> None:
    """Answer one request."""
    request = json.loads(sys.stdin.buffer.read())
    sys.stdout.write(READY + "\n")
    sys.stdout.flush()
    if sys.platform == "linux":
        limit_resources(request["memory"], request["seconds"])
    sys.stdout.write(json.dumps(answer(request)))


if __name__ == "__main__":
    main()
