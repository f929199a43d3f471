"""``flexit generate``: a session and a tokenizer for a folder, and text that appears while it is made."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from flexit.cli.console import say, typed, working
from flexit.errors import UserError, printable
from flexit.runtime.generate import generate
from flexit.runtime.sampling import Sampling
from flexit.runtime.session import Array, Session

if TYPE_CHECKING:
    from flexit.runtime.bundle import Bundle
    from flexit.runtime.interface import Interface
    from flexit.runtime.tokenizer import Tokenizer


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What to generate.

    Attributes:
        prompts: texts to continue, one row each; an empty one begins with the start token.
        source: what an encoder reads, for every row.
    """

    prompts: Sequence[str]
    source: str | None
    max_new_tokens: int
    sampling: Sampling


@dataclass(frozen=True, slots=True)
class Speaker:
    """A session with what it takes to speak text.

    Attributes:
        settings: of ``generation_config.json``.
    """

    session: Session
    tokenizer: Tokenizer
    settings: dict[str, int]

    def speak(self, request: Request, *, stream: bool = False) -> list[str]:
        """The new text of each row; with ``stream`` a single row is written to standard output as it grows."""
        start = self.settings.get("decoder_start_token_id", self.settings.get("bos_token_id", 0))
        rows = [self.tokenizer.encode(prompt) or [start] for prompt in request.prompts]
        shown = Shown(self.tokenizer, request.prompts[0]) if stream and len(rows) == 1 else None
        made = generate(
            self.session, rows, max_new_tokens=request.max_new_tokens, eos_id=self.settings.get("eos_token_id"),
            pad_id=self.settings.get("pad_token_id", 0), sampling=request.sampling,
            others=self._others(request, len(rows)), on_tokens=None if shown is None else shown.add,
        )  # fmt: skip
        if shown is not None:
            shown.finish()
        return [self.tokenizer.decode(row) for row in made]

    def _others(self, request: Request, rows: int) -> dict[str, Array]:
        """The encoder's input, where the model has one."""
        ids = source_inputs(self.session.interface)
        if not ids and request.source is None:
            return {}
        if len(ids) != 1 or request.source is None:
            raise UserError.of(
                "FX1105", "the source does not fit the model", expected=_sources(ids),
                found="none" if request.source is None else "one", path="source",
                cure="give --source TEXT" if len(ids) == 1 else "run the bundle from Python" if ids
                else "leave --source out",
            )  # fmt: skip
        return {ids[0]: np.tile(np.array(self.tokenizer.encode(request.source), np.int64), (rows, 1))}


class Shown:
    """Writes the prompt and then text as its tokens come; bytes of an unfinished character wait for the rest."""

    def __init__(self, tokenizer: Tokenizer, prompt: str) -> None:
        self.tokenizer = tokenizer
        self.prompt = prompt
        self.ids: list[int] = []
        self.written = ""

    def add(self, tokens: Array) -> None:
        """One more token of the row."""
        self.ids.append(int(tokens[0]))
        text = self.tokenizer.decode(self.ids)
        if not text.endswith("\N{REPLACEMENT CHARACTER}"):
            self._write(text)

    def finish(self) -> None:
        """Whatever is left, and a new line."""
        self._write(self.tokenizer.decode(self.ids))
        sys.stdout.write("\n")

    def _write(self, text: str) -> None:
        sys.stdout.write(printable(self.prompt + text[len(self.written) :]))
        sys.stdout.flush()
        self.prompt, self.written = "", text


def run(path: str, request: Request) -> None:
    """Generate and print."""
    with working(f"opening {path}"):
        speaker = speaker_at(path)
    if len(request.prompts) == 1:
        speaker.speak(request, stream=True)
        return
    with working("generating"):
        texts = speaker.speak(request)
    for prompt, text in zip(request.prompts, texts, strict=True):
        say(f"{prompt}{text}\n")


def speaker_at(path: str) -> Speaker:
    """A session on a bundle, checkpoint or run, with its tokenizer.

    Raises:
        UserError: there is no model, or it has no tokenizer.
    """
    from flexit.runtime.bundle import open_bundle
    from flexit.runtime.folder import recover
    from flexit.runtime.manifest import MANIFEST
    from flexit.runtime.tokenizer import Tokenizer

    recover(path)
    session: Session
    if (Path(path) / MANIFEST).is_file():
        session, folder = open_bundle(path), Path(path)
    else:
        from flexit.cli.opening import module_at
        from flexit.runtime.torch_session import TorchSession

        module, folder = module_at(path)
        session = TorchSession(module)
    if not (folder / "tokenizer.json").is_file():
        raise UserError.of(
            "FX1106", f"{folder} has no tokenizer", expected="the tokenizer.json of a trained model", found="none",
            cure="export a checkpoint of flexit train, which carries its tokenizer into the bundle", path=path,
        )  # fmt: skip
    return Speaker(session, Tokenizer.load(folder / "tokenizer.json"), _settings(folder / "generation_config.json"))


def next_step(bundle: Bundle, out: str) -> str:
    """What can be done with a bundle that was just written, as a command to type."""
    where, interface = typed(out), bundle.interface
    sources = source_inputs(interface)
    if interface.decoded is None or "tokenizer.json" not in bundle.manifest["files"] or len(sources) > 1:
        return f"replay its evidence anywhere with: flexit verify {where}"
    source = " --source TEXT" if sources else ""
    return f"run it with: flexit generate {where}{source} --prompt TEXT"


def source_inputs(interface: Interface) -> list[str]:
    """Token inputs that are read beside the one that grows: what ``--source`` is for."""
    return [entry.name for entry in interface.inputs if entry.role == "ids" and entry.group != interface.decoded]


def _settings(file: Path) -> dict[str, int]:
    """The token ids that a folder's generation settings name."""
    names = ("decoder_start_token_id", "bos_token_id", "eos_token_id", "pad_token_id")
    try:
        data = json.loads(file.read_bytes()) if file.is_file() else {}
        ids = {name: data[name] for name in names if data.get(name) is not None}
        wrong = [name for name, value in ids.items() if type(value) is not int or value < 0]
    except (ValueError, RecursionError, AttributeError) as error:
        ids, wrong = {}, [str(error)]
    if wrong:
        raise UserError.of(
            "FX1109", f"{file} cannot be used", expected=f"a JSON object in which {', '.join(names)} are token ids",
            found=wrong[0], cure="correct it, or take the file of the model",
        )  # fmt: skip
    return ids


def _sources(names: Sequence[str]) -> str:
    return f"a text for {', '.join(names)}" if names else "no source: the model has no encoder"
