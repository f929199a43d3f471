"""``flexit generate``: a session and a tokenizer for a folder, and text that appears while it is made."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from flexit.cli.choosing import Choosing
from flexit.cli.console import say, typed, write
from flexit.cli.sessions import session_at
from flexit.errors import TaskError, UserError
from flexit.runtime.generation.beam import Beams, beam_search
from flexit.runtime.generation.generate import generate
from flexit.runtime.generation.generation_config import GenerationConfig
from flexit.runtime.generation.text_stream import Stops, TextStream, text_of
from flexit.runtime.sessions.arrays import Array
from flexit.runtime.sessions.session import Session
from flexit.runtime.status import stages

if TYPE_CHECKING:
    from flexit.runtime.bundles.bundle import Bundle
    from flexit.runtime.sessions.interface import Interface
    from flexit.runtime.tokenizer import Tokenizer

OnText = Callable[[int, str], None]
"""Of a row: text that has come."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What to generate.

    Attributes:
        prompts: texts to continue, one row each; an empty one begins with the start token.
        source: what an encoder reads, for every row.
        choosing: how tokens are chosen, as far as it was said.
        specials: whether special tokens that are written out in the prompts are those tokens.
    """

    prompts: Sequence[str]
    source: str | None
    max_new_tokens: int
    choosing: Choosing
    specials: bool = False


@dataclass(frozen=True, slots=True)
class Speaker:
    """A session with what it takes to speak text.

    Attributes:
        session: of the model.
        tokenizer: of what it says.
        config: how it begins and ends.
        source_tokenizer: of what its encoder reads, as its template has it.
    """

    session: Session
    tokenizer: Tokenizer
    config: GenerationConfig
    source_tokenizer: Tokenizer

    def speak(self, request: Request, *, on_text: OnText | None = None) -> list[str]:
        """The new text of each row, the best where a beam search finds several.

        Args:
            request: what to generate.
            on_text: called with the row and its text as it grows, where tokens are final as they come.
        """
        way = request.choosing.resolved(self.config)
        if isinstance(way, Beams):
            return [found[0][0] for found in self.search(request, way)]
        rows = self._rows(request)
        streams = [TextStream(self.tokenizer, row, stop=request.choosing.stop) for row in rows]

        def ends(row: int, tokens: Sequence[int]) -> bool:
            more = streams[row].add(tokens[-1])
            if on_text is not None:
                on_text(row, more)
            return streams[row].stopped

        generate(
            self.session, rows, max_new_tokens=request.max_new_tokens, eos_id=self.config.eos, pad_id=self.config.pad,
            sampling=way, others=self._others(request, rows), ends=ends,
        )  # fmt: skip
        for row, stream in enumerate(streams):
            rest = stream.finish()
            if on_text is not None:
                on_text(row, rest)
        return [stream.text for stream in streams]

    def streams(self, request: Request) -> bool:
        """Whether tokens are final as they come, so that their text can be shown."""
        return not isinstance(request.choosing.resolved(self.config), Beams)

    def search(self, request: Request, beams: Beams) -> list[list[tuple[str, float]]]:
        """The best texts of each row with their scores, best first."""
        rows, stop = self._rows(request), request.choosing.stop
        found = beam_search(
            self.session, rows, max_new_tokens=request.max_new_tokens, beams=beams, eos_id=self.config.eos,
            pad_id=self.config.pad, others=self._others(request, rows),
            ends=Stops(self.tokenizer, rows, stop=stop) if stop else None,
        )  # fmt: skip
        return [
            [(text_of(self.tokenizer, row, each.tokens, stop=stop), each.score) for each in best]
            for row, best in zip(rows, found, strict=True)
        ]

    def _rows(self, request: Request) -> list[list[int]]:
        read = (self.tokenizer.encode(prompt, specials=request.specials) for prompt in request.prompts)
        return [row or [self.config.start] for row in read]

    def _others(self, request: Request, rows: Sequence[Sequence[int]]) -> dict[str, Array]:
        """The encoder's input, where the model has one; a prompt is the prefix, where the model reads one both ways."""
        lengths = np.array([len(row) for row in rows], np.int64)
        prefixes = {entry.name: lengths for entry in self.session.interface.prefixes}
        ids = source_inputs(self.session.interface)
        if not ids and request.source is None:
            return prefixes
        if len(ids) != 1 or request.source is None:
            raise UserError.of(
                "FX1105", "the source does not fit the model", expected=_sources(ids),
                found="none" if request.source is None else "one", path="source",
                cure="give --source TEXT" if len(ids) == 1 else "run the bundle from Python" if ids
                else "leave --source out",
            )  # fmt: skip
        (read,) = self.source_tokenizer.read([request.source])
        source = np.tile(np.array(read.ids, np.int64), (len(rows), 1))
        return {**prefixes, ids[0]: source}


def run(path: str, request: Request, *, family: str | None = None) -> None:
    """Generate and print."""
    with stages(f"opening {path}"):
        speaker, _ = open_at(path, family=family)
    way = request.choosing.resolved(speaker.config)
    if isinstance(way, Beams):
        with stages("searching"):
            found = speaker.search(request, way)
        _tell(request, found, scored=way.n_best > 1)
    elif len(request.prompts) == 1:
        _stream(speaker, request)
    else:
        with stages("generating"):
            texts = speaker.speak(request)
        _tell(request, [[(text, 0.0)] for text in texts], scored=False)


def _tell(request: Request, found: Sequence[Sequence[tuple[str, float]]], *, scored: bool) -> None:
    """Each prompt with its texts, and their scores where there are several."""
    for prompt, texts in zip(request.prompts, found, strict=True):
        for text, score in texts:
            say(f"{score:.3f}  {prompt}{text}" if scored else f"{prompt}{text}")
        if len(found) > 1:
            say()


def _stream(speaker: Speaker, request: Request) -> None:
    """Write the prompt and its text as it grows; nothing where nothing can be generated."""
    waiting = [request.prompts[0]]

    def show(_: int, text: str) -> None:
        write("".join([*waiting, text]))
        waiting.clear()

    speaker.speak(request, on_text=show)
    write("\n")


def speaker_at(path: str) -> Speaker:
    """A session on a bundle, checkpoint or run, with its tokenizer.

    Raises:
        UserError: there is no model, or it has no tokenizer.
    """
    return open_at(path)[0]


def open_at(path: str, *, family: str | None = None) -> tuple[Speaker, Path]:
    """The same, and the folder of its files; another library's checkpoint is read as that of a family, if one is named.

    Raises:
        UserError: there is no model, or it has no tokenizer.
    """
    from flexit.runtime.tasks.text_model import TARGET_TOKENIZER, tokenizer_in
    from flexit.runtime.tokenizer import Tokenizer

    session, folder = session_at(path, family=family)
    _require_decoder(session.interface)
    config = GenerationConfig.read(folder / "generation_config.json")
    source = tokenizer_in(folder)
    own = folder / TARGET_TOKENIZER
    return Speaker(session, Tokenizer.load(own) if own.is_file() else source, config, source), folder


def _require_decoder(interface: Interface) -> None:
    if interface.decoded is None:
        raise TaskError.of(
            "FX0801", "the model does not continue texts", expected="a model that predicts the next token",
            found=interface.why_not or f"outputs {', '.join(interface.outputs)}",
            cure="use fill-mask, embed or classify, if it is a model for one of these",
        )  # fmt: skip


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


def _sources(names: Sequence[str]) -> str:
    return f"a text for {', '.join(names)}" if names else "no source: the model has no encoder"
