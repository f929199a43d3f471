"""A session that reads texts: its tokenizer's template and token types, batches padded on the right, labels by name."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np

from flexit.errors import TaskError, UserError
from flexit.ir.misfits import unusable
from flexit.runtime.sessions.arrays import Array
from flexit.runtime.sessions.interface import Entry, Interface
from flexit.runtime.sessions.session import Session, require_session
from flexit.runtime.tokenizer import Tokenizer

LABELS, TOKENIZER, TARGET_TOKENIZER = "labels.json", "tokenizer.json", "target_tokenizer.json"
TYPES = ("token_type_ids", "token_types")
"""What an input of token types is called."""
MAX_BYTES = 2**20

Text = str | tuple[str, str]
Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """How texts are read.

    Attributes:
        batch_size: most texts in one pass; results do not depend on it.
        truncate: cut texts that are longer than the model has positions, rather than refuse them.
        progress: called with how many texts are done, and how many there are.
    """

    batch_size: int = 32
    truncate: bool = False
    progress: Progress | None = None

    def __post_init__(self) -> None:
        size = cast("object", self.batch_size)
        if not isinstance(size, int) or isinstance(size, bool) or size < 1:
            raise UserError.of(
                "FX2007", "batch_size cannot be used", path="batch_size", expected="an integer of at least 1",
                found=str(size), cure="say how many texts go through the model at once",
            )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Read:
    """One text as the model read it.

    Attributes:
        index: of the text among those given.
        encoding: of the ``tokenizers`` library: ``ids``, ``type_ids``, ``offsets``, ``special_tokens_mask``.
        outputs: of the model for this row, by name, padding still on them.
        width: slots of the batch that the row was in.
    """

    index: int
    encoding: Any
    outputs: Mapping[str, Array]
    width: int

    def per_token(self, name: str) -> Array:
        """An output for each token, without the padding.

        Raises:
            TaskError: FX0801, the output has no entry for each token.
        """
        values = self.outputs[name]
        if values.ndim != 2 or len(values) != self.width:
            raise TaskError.of(
                "FX0801", f"the output {name} is none for each token", path=name,
                expected=f"[batch, length, width], {self.width} slots", found=f"[batch, {str(list(values.shape))[1:]}",
                cure="name another output, or run the model from Python",
            )  # fmt: skip
        return values[: len(self.encoding.ids)]

    def scores(self, name: str) -> Array:
        """An output of scores for this row, padding still on it.

        Raises:
            TaskError: FX2005, they are not finite.
        """
        values = self.outputs[name]
        own = values[: len(self.encoding.ids)] if values.ndim == 2 else values
        if not np.isfinite(own).all():
            raise TaskError.of(
                "FX2005", "the model's scores are no numbers", path=name, expected="numbers",
                found=f"NaN or infinity for text {self.index + 1}",
                cure="look for weights that are not finite, or so large that fp32 overflows",
            )  # fmt: skip
        return values


@dataclass(frozen=True, slots=True)
class TextModel:
    """A session with what it takes to read texts.

    Attributes:
        labels: names of the classes, where the model's folder has them.
    """

    session: Session
    tokenizer: Tokenizer
    labels: tuple[str, ...] | None = None

    @classmethod
    def of(cls, session: Session, folder: str | Path) -> TextModel:
        """A session with the ``tokenizer.json`` and ``labels.json`` of its folder.

        Raises:
            UserError: FX1106, there is no tokenizer; FX2102, the labels cannot be used.
        """
        require_session(session)
        return cls(session, tokenizer_in(Path(folder)), read_labels(Path(folder) / LABELS))

    def read(self, texts: Sequence[Text], how: Reading | None = None, *, specials: bool = False) -> Iterator[Read]:
        """Run the model on texts, those of like length together, in whatever order that gives.

        Args:
            texts: texts, or pairs of them for models that read two at once.
            how: batches, truncation, progress.
            specials: whether special tokens that are written out in a text are those tokens.

        Raises:
            TaskError: FX0801, the model does not read one text a row; FX2101, a text is empty, too long, or a pair
                that the tokenizer has no template for; FX2001, a token is not one of the model.
        """
        how = how or Reading()
        ids, _ = _inputs(self.session.interface)
        yield from self.run(self._encoded(texts, ids.group, how, specials=specials), how)

    @property
    def longest(self) -> int | None:
        """Most tokens of a text, where tables of positions bound it."""
        return self.session.interface.longest(_inputs(self.session.interface)[0].group)

    def run(self, found: Sequence[Any], how: Reading) -> Iterator[Read]:
        """Run the model on encodings of the ``tokenizers`` library, those of like length together.

        Raises:
            TaskError: FX0801, the model does not read one text a row; FX2001, a token is not one of the model.
        """
        ids, types = _inputs(self.session.interface)
        order = sorted(range(len(found)), key=lambda index: -len(found[index].ids))
        for begin in range(0, len(order), how.batch_size):
            rows = order[begin : begin + how.batch_size]
            given = {ids.name: [found[row].ids for row in rows]}
            if types is not None:
                given[types.name] = [found[row].type_ids for row in rows]
            lengths = np.array([len(found[row].ids) for row in rows], np.int64)  # of a prefix, which is all of a text
            width = int(lengths[0])
            inputs = {name: _padded(values, width) for name, values in given.items()}
            inputs[_mask(self.session.interface, ids)] = _padded([[1] * len(row) for row in given[ids.name]], width)
            inputs |= {entry.name: lengths for entry in self.session.interface.inputs if entry.role == "prefix_lengths"}
            outputs = self.session.run(inputs)
            for place, row in enumerate(rows):
                yield Read(row, found[row], {name: value[place] for name, value in outputs.items()}, width)
            if how.progress is not None:
                how.progress(begin + len(rows), len(found))

    def _encoded(self, texts: Sequence[Text], group: str, how: Reading, *, specials: bool) -> list[Any]:
        """Every text as tokens, each within the model's positions."""
        require_texts(texts)
        pairs = [index for index, text in enumerate(texts) if not isinstance(text, str)]
        if pairs and not self.tokenizer.added_to(pair=True):
            raise unreadable(
                pairs[0], "is a pair, which the tokenizer has no template for", expected="one text",
                found="two", cure="join them yourself as the model was trained, or take its own tokenizer.json",
            )  # fmt: skip
        limit = self.session.interface.longest(group)
        found = self.tokenizer.read(texts, limit=limit if how.truncate else None, specials=specials)
        for index, encoding in enumerate(found):
            count = len(encoding.ids)
            if not count:
                raise unreadable(index, "has no tokens", expected="at least one", found="none", cure="leave it out")
            if limit is not None and count > limit:
                raise unreadable(
                    index, "is longer than the model has positions",
                    expected=f"at most {limit} tokens, the special ones counted", found=f"{count} tokens",
                    cure="shorten it, or cut it with --truncate (in Python: Reading(truncate=True))",
                )  # fmt: skip
        return found


def tokenizer_in(folder: Path) -> Tokenizer:
    """The tokenizer in the folder of a model.

    Raises:
        UserError: FX1106, there is none; FX1604, it cannot be read.
    """
    if not (folder / TOKENIZER).is_file():
        raise UserError.of(
            "FX1106", f"{folder} has no tokenizer", expected=f"the {TOKENIZER} of the model", found="none",
            cure=f"export the model again with --carry {TOKENIZER} (in Python: carry), or run the bundle on ids",
            path=str(folder),
        )  # fmt: skip
    return Tokenizer.load(folder / TOKENIZER)


def require_text_model(given: object) -> None:
    """Refuse what is no :class:`TextModel`, in the place of one.

    Raises:
        UserError: FX2007.
    """
    if not isinstance(given, TextModel):
        raise unusable(
            "model", given, expected="a TextModel: a session with a tokenizer",
            cure="make one: flexit.TextModel.of(flexit.open_bundle(folder), folder)",
        )  # fmt: skip


def read_labels(file: Path) -> tuple[str, ...] | None:
    """The names of the classes in a ``labels.json``, a list in the order of the scores; None where there is no file.

    Raises:
        UserError: FX2102, it is something else.
    """
    if not file.is_file():
        return None
    try:
        with file.open("rb") as stream:
            data = json.loads(stream.read(MAX_BYTES + 1))
    except (ValueError, RecursionError) as error:
        data = f"no JSON: {error}"
    listed = cast("list[object]", data) if isinstance(data, list) else []
    names = tuple(name for name in listed if isinstance(name, str) and name)
    if not names or len(set(names)) != len(listed):
        raise UserError.of(
            "FX2102", f"{file} cannot be used", path=str(file), found=str(data)[:60],
            expected="a JSON list of names, each another one, in the order of the scores",
            cure='write it as ["negative", "positive"]',
        )  # fmt: skip
    return names


def require_output(interface: Interface, name: str) -> None:
    """Refuse an output that the model has not.

    Raises:
        TaskError: FX0801.
    """
    if name not in interface.outputs:
        raise TaskError.of(
            "FX0801", f"the model has no output {name}", path=name, expected=", ".join(interface.outputs), found=name,
            cure="name one of these, or list another block under outputs: in the spec, and export again",
        )  # fmt: skip


def logits_of(interface: Interface, name: str | None, *, head: str) -> str:
    """The output of scores: the one named, else ``logits``.

    Raises:
        TaskError: FX0801, there is no such output.
    """
    if name is None and "logits" not in interface.outputs:
        raise TaskError.of(
            "FX0801", "the model has no scores", path="logits", expected="an output called logits",
            found=", ".join(interface.outputs),
            cure=f"add a head of {head} to the spec (flexit kinds lists them), or name the output of one",
        )  # fmt: skip
    require_output(interface, name or "logits")
    return name or "logits"


def _inputs(interface: Interface) -> tuple[Entry, Entry | None]:
    """The token ids that a text goes into, and the token types beside them.

    Raises:
        TaskError: FX0801, the model reads something else.
    """
    needed = [entry for entry in interface.inputs if entry.role in ("ids", "values", "vector")]
    types = next((entry for entry in needed if entry.name in TYPES and entry.role == "ids"), None)
    texts = [entry for entry in needed if entry is not types]
    if len(texts) != 1 or texts[0].role != "ids" or (types is not None and types.group != texts[0].group):
        raise TaskError.of(
            "FX0801", "the model does not read one text a row", path="inputs",
            expected=f"token ids, and {TYPES[0]} beside them or not", found=", ".join(entry.name for entry in needed),
            cure="run its session from Python, with each input by name",
        )  # fmt: skip
    return texts[0], types


def _mask(interface: Interface, ids: Entry) -> str:
    return next(entry.name for entry in interface.inputs if entry.group == ids.group and entry.role == "mask")


def _padded(rows: Sequence[Sequence[int]], width: int) -> Array:
    return np.array([[*row, *[0] * (width - len(row))] for row in rows], np.int64)


def require_texts(texts: Sequence[Text]) -> None:
    """Refuse what is no list of texts or pairs.

    Raises:
        UserError: FX2007.
    """
    given = cast("object", texts)
    listed = cast("Sequence[object]", given) if isinstance(given, Sequence) and not isinstance(given, str) else None
    wrong = [text for text in listed or () if not isinstance(text, str) and not _is_pair(text)]
    if not listed or wrong:
        raise UserError.of(
            "FX2007", "texts cannot be used", path="texts", expected="a list of texts, or of pairs (first, second)",
            found=repr(wrong[0] if wrong else given)[:60], cure="give at least one text, in a list",
        )  # fmt: skip


def _is_pair(given: object) -> bool:
    return isinstance(given, tuple) and [type(part) for part in cast("tuple[object, ...]", given)] == [str, str]


def unreadable(index: int, message: str, *, expected: str, found: str, cure: str) -> TaskError:
    """The error of a text that the model cannot read."""
    return TaskError.of(
        "FX2101", f"text {index + 1} {message}", path=f"texts[{index}]", expected=expected, found=found, cure=cure
    )
