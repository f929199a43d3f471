"""``from_pretrained``: a checkpoint of another library as a spec, its parameters, and the files that go with it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

from flexit.convert.gguf.reading import as_checkpoint
from flexit.convert.importing import family_of, read_source, read_spec_of
from flexit.convert.mapping.family import Family, find_family, read_family
from flexit.convert.mapping.rotary import LONGEST
from flexit.convert.sentence_transformers import EMBEDDING, for_sentences, left_to_callers, settings_of
from flexit.convert.sources.finite import is_finite
from flexit.convert.sources.inside import has_file, read_file
from flexit.convert.sources.json import MAX_BYTES
from flexit.convert.sources.source import Source, open_source
from flexit.convert.tensors import Array, LazyTensor
from flexit.convert.tokenizers.of_source import tokenizer_of
from flexit.errors import Problem, SourceError
from flexit.files.folder import PARTIAL, writing
from flexit.files.safetensors import Progress, write_safetensors
from flexit.ir.io.emit import to_yaml
from flexit.ir.spec import Spec
from flexit.ir.wording import shown
from flexit.version import __version__

MARKER = "import.json"
SPEC, WEIGHTS = "spec.yaml", "model.safetensors"
LABELS, GENERATION = "labels.json", "generation_config.json"
GENERATION_IDS = ("bos_token_id", "eos_token_id", "pad_token_id", "decoder_start_token_id")
UNKNOWN_TOKENIZER = "FX1903"
CLASSIFIERS = ("sequence", "token")


@dataclass(frozen=True, slots=True, eq=False)
class Pretrained:
    """A model that somebody trained.

    Attributes:
        spec: what it is.
        weights: its parameters by path, each read when it is asked for: :class:`~flexit.convert.tensors.LazyTensor`
            with ``shape``, ``dtype``, ``numpy()`` and ``torch()``.
        files: what goes with it, by name: ``tokenizer.json``, ``generation_config.json``, ``labels.json``.
        family, head: the mapping file that said so, and which of its models this is.
        place: what it was made of.
        warnings: what was left behind, such as a tokenizer of a kind that is not known.
        context: the longest row that it says it is for, where that is no table of the spec; None where it says none.
    """

    spec: Spec
    weights: Mapping[str, LazyTensor] = field(repr=False)
    files: Mapping[str, bytes] = field(repr=False)
    family: str
    head: str
    place: str
    warnings: tuple[Problem, ...] = ()
    context: int | None = None

    def save(self, folder: str | Path, *, force: bool = False, progress: Progress | None = None) -> tuple[Problem, ...]:
        """Write a checkpoint that ``flexit export``, ``train`` and ``generate`` take; at most one tensor is in memory.

        Args:
            folder: where it goes: ``spec.yaml``, ``model.safetensors`` and the files beside.
            force: replace a checkpoint that is there.
            progress: called with bytes written and bytes in all.

        Returns:
            Warnings: those of reading, and FX1871, weights that are not finite.

        Raises:
            UserError: the folder may not be written.
            ResourceError: FX1304, the operating system refused.
        """
        bad: list[str] = []
        with writing(folder, marker=MARKER, force=force) as temporary:
            (temporary / SPEC).write_text(to_yaml(self.spec), encoding="utf-8")
            noted = {path: _noting(path, tensor, bad=bad) for path, tensor in self.weights.items()}
            write_safetensors(temporary / WEIGHTS, noted, metadata={"format": "pt"}, progress=progress)
            for name, content in self.files.items():
                (temporary / name).write_bytes(content)
            told = {
                "flexit": __version__, "family": self.family, "model": self.head, "source": self.place,
                **({} if self.context is None else {"context": self.context}),
                "files": sorted(path.name for path in temporary.iterdir() if path.name != PARTIAL),
            }  # fmt: skip
            (temporary / MARKER).write_text(json.dumps(told, indent=1), encoding="utf-8")
        return (*self.warnings, *(not_finite(name) for name in bad))


def from_pretrained(source: object, *, family: str | Path | None = None, allow_pickle: bool = False) -> Pretrained:
    """Read a checkpoint of another library, without running anybody's code and without a network.

    Args:
        source: a folder that ``save_pretrained`` or sentence-transformers wrote, the id of a model in the Hugging Face
            cache, a ``.gguf`` file, or a model of ``transformers``.
        family: the family whose layers it has, or a mapping file (``docs/mapping-files.md``); by default that of its
            ``model_type``.
        allow_pickle: read ``pytorch_model.bin`` where there are no safetensors, in a process of its own.

    Raises:
        SourceError: FX18xx, it cannot be opened or understood; every problem is in it.
    """
    opened, known = _known(open_source(source, allow_pickle=allow_pickle), family)
    spec, weights, head = read_source(opened, known)
    files = _files(opened, head)
    warnings = left_to_callers(opened, spec)
    try:
        tokenizer = tokenizer_of(opened, spec)
    except SourceError as error:
        if any(problem.code != UNKNOWN_TOKENIZER for problem in error.problems):
            raise
        warnings = (*warnings, *(replace(problem, warning=True) for problem in error.problems))
    else:
        files = {**files, **(tokenizer.written() if tokenizer is not None else {})}
    context = longest_in(opened.config)
    return Pretrained(spec, weights, files, known.family, head, opened.place, warnings, context)


def spec_of(source: object, *, family: str | Path | None = None) -> Spec:
    """The spec of a checkpoint; its weights are needed only where they say what is tied.

    Raises:
        SourceError: see :func:`from_pretrained`.
    """
    return read_spec_of(*_known(open_source(source, weights=False), family))


def config_at(source: object, *, family: str | Path | None = None) -> Mapping[str, Any]:
    """The configuration of a checkpoint, as its family's ``config.json`` has it.

    Raises:
        SourceError: see :func:`from_pretrained`.
    """
    return _known(open_source(source, weights=False), family)[0].config


def longest_in(config: Mapping[str, Any]) -> int | None:
    """The longest row that a configuration, or what an import noted, says; None where nothing says one."""
    longest = config.get(LONGEST)
    return longest if isinstance(longest, int) and not isinstance(longest, bool) and longest > 0 else None


def noted_context(folder: Path) -> int | None:
    """The longest row of a checkpoint that ``save`` wrote, as its source had it."""
    try:
        told = json.loads((folder / MARKER).read_bytes())
    except (OSError, ValueError):
        return None
    return longest_in({LONGEST: cast("dict[str, Any]", told).get("context")}) if isinstance(told, dict) else None


def _known(opened: Source, family: str | Path | None) -> tuple[Source, Family]:
    """A source as a checkpoint, and the family by whose rules it is read."""
    named = None if family is None else _named(family)
    if opened.gguf is not None:
        return as_checkpoint(opened, opened.gguf, named)
    return opened, for_sentences(opened, family_of(opened) if named is None else named)


def _named(family: str | Path) -> Family:
    is_file = isinstance(family, Path) or str(family).endswith((".yaml", ".yml", ".json"))
    return read_family(Path(family)) if is_file else find_family(str(family))


# ---- what goes with the weights


def _files(source: Source, head: str) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    generation = _generation(source)
    if generation is not None:
        found[GENERATION] = generation
    labels = source.config.get("id2label")
    if head == EMBEDDING:
        found |= settings_of(source)
    if head in CLASSIFIERS and isinstance(labels, dict) and labels:
        found[LABELS] = json.dumps(_names(cast("dict[str, Any]", labels)), ensure_ascii=False).encode()
    return found


def _names(labels: Mapping[str, Any]) -> list[str]:
    """The names of the classes in their order.

    Raises:
        SourceError: FX1855, they are not numbered one by one, or a name is no text.
    """
    numbered = {str(index) for index in range(len(labels))}
    if set(labels) != numbered or not all(isinstance(name, str | int | float) for name in labels.values()):
        raise SourceError.of(
            "FX1855", "the names of the classes are not understood", path="id2label",
            expected=f"a name for each of 0 to {len(labels) - 1}", found=shown(labels),
            cure="correct it in config.json, or take it out: classes are then called by their numbers",
        )  # fmt: skip
    return [str(labels[str(index)]) for index in range(len(labels))]


def _generation(source: Source) -> bytes | None:
    """``generation_config.json``, or what the configuration says of it."""
    if source.folder is not None and has_file(source.folder, GENERATION):
        return read_file(source.folder, GENERATION, max_bytes=MAX_BYTES)
    told = {key: source.config[key] for key in GENERATION_IDS if source.config.get(key) is not None}
    return json.dumps(told, indent=2).encode() if told else None


def noting(weights: Mapping[str, LazyTensor]) -> tuple[dict[str, LazyTensor], list[str]]:
    """The same weights, and a list that gets the names of those that are read and are not finite."""
    bad: list[str] = []
    return {path: _noting(path, tensor, bad=bad) for path, tensor in weights.items()}, bad


def warnings_of(model: Pretrained) -> tuple[Pretrained, Callable[[], tuple[Problem, ...]]]:
    """The same model, and what is to be told of it once its weights were read: FX1871 beside what reading it gave."""
    weights, bad = noting(model.weights)
    return replace(model, weights=weights), lambda: (*model.warnings, *map(not_finite, dict.fromkeys(bad)))


def _noting(path: str, tensor: LazyTensor, *, bad: list[str]) -> LazyTensor:
    """The same tensor, which notes its name when it is read and is not finite."""

    def read() -> Array:
        array = tensor.numpy()
        if not is_finite(array, tensor.dtype):
            bad.append(path)
        return array

    return replace(tensor, read=read)


def not_finite(path: str) -> Problem:
    """The warning of weights that are no numbers."""
    return Problem(
        code="FX1871", path=path, message="has weights that are no numbers", expected="numbers",
        found="NaN or infinity", cure="get the checkpoint from where it is whole", warning=True,
    )  # fmt: skip
