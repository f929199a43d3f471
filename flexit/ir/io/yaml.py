"""Text to a tree of values that know their places. JSON is read by the same reader, being YAML."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Any, NoReturn, cast

from ruamel.yaml import YAML
from ruamel.yaml import events as ev
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from flexit.errors import Problem, SpecError
from flexit.ir.diagnostics import problem
from flexit.ir.io.languages import SPEC, Language
from flexit.ir.io.scalars import BadNumber, resolve
from flexit.ir.io.source import MAX_BYTES, decode, joined, unusable
from flexit.ir.io.syntax import Misread, beyond_unicode, explain
from flexit.ir.language.written import MAX_NESTING, Mark, Node, dotted
from flexit.ir.wording import cut, several

MAX_NODES = 10_000
Path = tuple[str | int, ...]


def read(
    data: str | bytes, file: str = "<text>", *, max_bytes: int = MAX_BYTES, wanted: Language = SPEC
) -> Node:  # fmt: skip
    """The tree of a document.

    Args:
        data: YAML or JSON.
        file: how messages call it.
        max_bytes: size above which it is not even looked at.
        wanted: what it should be written in.

    Raises:
        SpecError: it is no document; every problem that can be told apart is in it.
    """
    text = decode(data, file, max_bytes)
    if isinstance(text, Problem):
        raise SpecError([text])
    return _Reader(text, file).document(wanted)


def read_value(text: str, file: str, *, depth: int = 0) -> Node:
    """The tree of a single value, such as one on the command line; empty text is ``null``.

    Args:
        text: YAML or JSON.
        file: how messages call it.
        depth: mappings that it will stand in.

    Raises:
        SpecError: see :func:`read`.
    """
    decoded = decode(text, file)
    if isinstance(decoded, Problem):
        raise SpecError([decoded])
    return _Reader(decoded, file, depth).value()


class _Stop(Exception):
    """Reading cannot go on."""


class _Reader:
    """One pass over the events of one text."""

    def __init__(self, text: str, file: str, depth: int = 0) -> None:
        self.file = file
        self.problems: list[Problem] = []
        self.anchors: dict[str, Node | None] = {}
        self.count = 0
        self.outer = self.depth = depth
        self.last: Any = None
        self.events = self._parsed(text)

    def document(self, wanted: Language) -> Node:
        """The one document of the text, a mapping.

        Raises:
            SpecError: see :func:`read`.
        """
        root = self.value()
        if not isinstance(root.value, dict):
            empty = root.value is None
            self._add(
                "FX0107", root.mark, message="the document is empty" if empty else "the document is not a mapping",
                expected=f"a mapping such as {wanted.smallest}",
                found="nothing" if empty else "a list" if isinstance(root.value, list) else "a single value",
                cure=f"write the keys {several(('flexit', *wanted.keys))}",
            )  # fmt: skip
            raise SpecError(self.problems)
        return root

    def value(self) -> Node:
        """The one value of the text.

        Raises:
            SpecError: see :func:`read`.
        """
        root: Node | None = None
        with suppress(_Stop):
            root = self._document()
        if self.problems or root is None:
            raise SpecError(sorted(self.problems, key=lambda p: (p.line or 0, p.column or 0)))
        return root

    def _document(self) -> Node:
        self._next()
        event = self._next()
        if isinstance(event, ev.StreamEndEvent):
            return Node(None, (), Mark(self.file, 1, 1))
        root = self._node(self._next(), ())
        self._next()
        more = self._next()
        if not isinstance(more, ev.StreamEndEvent):
            self._stop("FX0102", self._mark(more), message="more than one document", expected="one document per file",
                       found="a second one after ---", cure="put it in a file of its own")  # fmt: skip
        return root

    # ---- values

    def _node(self, event: Any, path: Path, key: Mark | None = None) -> Node:
        self._tally(event)
        if isinstance(event, ev.AliasEvent):
            return self._alias(event, path, key)
        if event.tag is not None and (str(event.tag) != "!" or not event.implicit[0]):
            self._tag(event, path)
        anchor: str | None = event.anchor
        if anchor is not None:
            self.anchors[anchor] = None
        if isinstance(event, ev.ScalarEvent):
            node = Node(self._scalar(event, path), path, self._mark(event), key=key)
        elif isinstance(event, ev.SequenceStartEvent):
            node = self._list(event, path, key)
        else:
            node = self._mapping(event, path, key)
        if anchor is not None:
            self.anchors[anchor] = node
        return node

    def _list(self, start: Any, path: Path, key: Mark | None) -> Node:
        items: list[Node] = []
        self._enter(start)
        while not isinstance(event := self._next(), ev.SequenceEndEvent):
            items.append(self._node(event, (*path, len(items))))
        self.depth -= 1
        return Node(items, path, self._mark(start), key=key)

    def _mapping(self, start: Any, path: Path, key: Mark | None) -> Node:
        entries: dict[str, Node] = {}
        marks: dict[str, Mark] = {}
        own: dict[str, Mark] = {}
        self._enter(start)
        while not isinstance(event := self._next(), ev.MappingEndEvent):
            name, mark = self._key(event)
            below = (*path, name)
            if name in own:
                self._add("FX0103", mark, below, message="the key is written twice", expected="each key once",
                          found=f"{cut(name)} again, first on line {own[name].line}",
                          cure="delete one of the two")  # fmt: skip
            own.setdefault(name, mark)
            node = self._node(self._next(), below, mark)
            if name == "<<" and event.style is None:
                for merged, entry in self._merged(node).items():
                    if merged not in entries:
                        entries[merged] = self._copy(entry, (*path, merged), entry.key)
                        marks[merged] = entry.key or mark
            else:
                entries[name], marks[name] = node, mark
        self.depth -= 1
        return Node(entries, path, self._mark(start), marks, key=key)

    def _key(self, event: Any) -> tuple[str, Mark]:
        self._tally(event)
        mark = self._mark(event)
        if not _is_scalar(event):
            self._stop("FX0102", mark, message="not a key", expected="a key is plain text",
                       found="a list, a mapping or an alias", cure="write a name before the colon")  # fmt: skip
        if event.tag is not None:
            self._tag(event, ())
        return self._characters(event, ()), mark

    def _merged(self, node: Node) -> dict[str, Node]:
        """The entries that a merge key brings; of several mappings the first wins."""
        sources = node.value if isinstance(node.value, list) else [node]
        found: dict[str, Node] = {}
        for source in sources:
            if not isinstance(source.value, dict):
                self._stop("FX0102", node.mark, node.path, message="a merge key without a mapping",
                           expected="an alias of a mapping, or a list of them", found="another value",
                           cure="put the anchor on a mapping")  # fmt: skip
            found = {**source.value, **found}
        return found

    def _scalar(self, event: Any, path: Path) -> str | int | float | bool | None:
        if event.style is not None:
            return self._characters(event, path)
        try:
            return resolve(event.value)
        except BadNumber:
            self._add("FX0106", self._mark(event), path, message="a number that no field can hold",
                      expected="a finite number, an integer of at most 2147483647", found=cut(event.value),
                      cure="write a smaller number, or quote it if it is text")  # fmt: skip
            return None

    def _characters(self, event: Any, path: Path) -> str:
        """The text of a scalar, every character of which is whole."""
        text = joined(event.value)
        found = unusable(text)
        if found is not None:
            self._add("FX0101", self._mark(event), path, message="a character that no text may hold",
                      expected="whole characters other than U+0000", found=found,
                      cure="write the character that is meant")  # fmt: skip
        return text

    def _alias(self, event: Any, path: Path, key: Mark | None) -> Node:
        mark = self._mark(event)
        if event.anchor not in self.anchors:
            self._stop("FX0102", mark, path, message="an alias without an anchor",
                       expected=f"&{cut(event.anchor)} earlier in the document", found=f"*{cut(event.anchor)}",
                       cure="put the anchor on the value that is meant")  # fmt: skip
        node = self.anchors[event.anchor]
        if node is None:
            self._stop("FX0105", mark, path, message="an alias inside the value it stands for",
                       expected="an anchor that is complete", found=f"*{cut(event.anchor)} within &{cut(event.anchor)}",
                       cure="write that part out")  # fmt: skip
        return self._copy(node, path, key)

    def _copy(self, node: Node, path: Path, key: Mark | None) -> Node:
        deepest = 0
        for below in node.walk():
            self._tally(self.last)
            deepest = max(deepest, len(below.path) - len(node.path))
        if self.outer + len(path) + deepest > MAX_NESTING:
            self._too_deep(self.last, self.outer + len(path) + deepest)
        return node.at(path, key)

    # ---- bounds

    def _tally(self, event: Any) -> None:
        self.count += 1
        if self.count > MAX_NODES:
            self._stop("FX0105", self._mark(event), message="too many values", cure="use fewer values or aliases",
                       expected=f"at most {MAX_NODES} keys and values, aliases written out",
                       found="more")  # fmt: skip

    def _enter(self, event: Any) -> None:
        self.depth += 1
        if self.depth > MAX_NESTING:
            self._too_deep(event, self.depth)

    def _too_deep(self, event: Any, level: int) -> NoReturn:
        self._stop("FX0105", self._mark(event), message="nested too deeply",
                   expected=f"at most {MAX_NESTING} levels", found=f"level {level}",
                   cure="close a bracket, or write the document flatter")  # fmt: skip

    def _tag(self, event: Any, path: Path) -> None:
        self._add("FX0104", self._mark(event), path, message="tags are not allowed",
                  expected="a value without a tag; the field says what it is",
                  found=cut(str(event.tag).replace("tag:yaml.org,2002:", "!!")),
                  cure="delete the tag")  # fmt: skip

    # ---- events and problems

    def _parsed(self, text: str) -> Iterator[Any]:
        # The scanner raises errors of its own and, on hostile text, whatever its parts raise.
        try:
            yield from cast("Any", YAML(typ="safe", pure=True)).parse(text)  # its events have no types
        except MarkedYAMLError as error:
            self._misread(explain(error, text))
        except (
            YAMLError,
            ArithmeticError,
            ValueError,
            LookupError,
            AssertionError,
            TypeError,
            AttributeError,
        ) as error:
            place = self.last.end_mark.index if self.last is not None else 0
            wrong = beyond_unicode(text, place) if isinstance(error, ArithmeticError | ValueError) else None
            if wrong is not None:
                self._misread(wrong)
            self._stop("FX0102", self._mark(self.last), message="not YAML or JSON",
                       expected="YAML 1.2", found=cut(str(error)), cure="correct the text near here")  # fmt: skip

    def _misread(self, wrong: Misread) -> NoReturn:
        self._stop(
            "FX0102", Mark(self.file, wrong.line, wrong.column), message=wrong.message, expected=cut(wrong.expected),
            found=cut(wrong.found), cure=wrong.cure,
        )  # fmt: skip

    def _next(self) -> Any:
        event = next(self.events, None)
        if event is None:
            self._stop("FX0102", self._mark(self.last), message="not YAML or JSON", expected="more text",
                       found="the end of the document", cure="complete it")  # fmt: skip
        self.last = event
        return event

    def _mark(self, event: Any) -> Mark:
        if event is None:
            return Mark(self.file, 1, 1)
        place = event.start_mark
        return Mark(self.file, place.line + 1, place.column + 1)

    def _add(
        self, code: str, mark: Mark | None, path: Path = (), /, *, message: str, expected: str, found: str, cure: str
    ) -> None:
        found_problem = problem(code, path=dotted(path), message=message, expected=expected, found=found, cure=cure)
        self.problems.append(found_problem.at(self.file, mark.line if mark else None, mark.column if mark else None))

    def _stop(self, code: str, mark: Mark | None, path: Path = (), /, **parts: str) -> NoReturn:
        self._add(code, mark, path, **parts)
        raise _Stop


def _is_scalar(event: Any) -> bool:
    """Whether an event is a scalar. Not written in place: a type checker would then forget that it is ``Any``."""
    return isinstance(event, ev.ScalarEvent)
