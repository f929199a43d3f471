"""What is wrong with what a run config says about its data, as far as it can be told without looking at it."""

from __future__ import annotations

from collections.abc import Iterator

from flexit.ir.block import Fault
from flexit.ir.wording import shown
from flexit.runtime.tokenizer import SEPARATOR, may_be_learnt
from flexit.runtime.train.config import RunConfig
from flexit.runtime.train.data.source import Leaf
from flexit.runtime.train.data.sources.arrays import Arrays
from flexit.runtime.train.data.sources.mixture import Mixture
from flexit.runtime.train.data.vocabulary import Tokenizer


def data_faults(config: RunConfig) -> Iterator[tuple[str, Fault]]:
    """Faults, each with the path of the part that has it."""
    for path, tokenizer in tokenizers_of(config).items():
        yield from ((path, each) for each in _tokens(tokenizer))
    for leaf in leaves_of(config):
        yield from ((leaf.path, each) for each in _source(leaf, config))
    yield from _tokenizer(config)
    yield from _mixtures(config)


def leaves_of(config: RunConfig) -> list[Leaf]:
    """The sources of a run config, those in mixtures too."""
    data = config.data
    own = None if data.validation is None else data.validation.source
    return [*data.train.leaves("data.train"), *(() if own is None else own.leaves("data.validation.source"))]


def _mixtures(config: RunConfig) -> Iterator[tuple[str, Fault]]:
    data = config.data
    sources = {"data.train": data.train, "data.validation.source": data.validation and data.validation.source}
    for place, source in sources.items():
        for path, each in source.mixtures(place) if isinstance(source, Mixture) else ():
            if len(each.sources) < 2:
                yield path, Fault(
                    code="FX1510", field="sources", message="a mixture of fewer than two", expected="two or more",
                    found=str(len(each.sources)), cure="add another, or write the source itself",
                )  # fmt: skip
            for index, one in enumerate(each.sources):
                if place != "data.train" and one.weight != 1.0:
                    yield path, Fault(
                        code="FX1510", field=f"sources.{index}.weight", expected="no weight", found=f"{one.weight:g}",
                        message="has no effect: each held-out row is looked at once", cure="delete it",
                    )  # fmt: skip


def _source(leaf: Leaf, config: RunConfig) -> Iterator[Fault]:
    source, task = leaf.source, config.task
    if getattr(source, "files", None) == []:
        yield Fault(
            code="FX1601", field="files", message="no files to learn from", found="[]",
            expected="at least one name or pattern", cure="write files: [corpus/*.txt], with your own folder",
        )  # fmt: skip
    if source.encoded and not task.joins:
        yield Fault(
            code="FX1510", field="", message=f"{task.kind} reads records, not token ids",
            expected="causal_lm, masked_lm or span_corruption", found=task.kind,
            cure="name a source of records, such as jsonl",
        )  # fmt: skip
    if isinstance(source, Arrays) and source.separator is not None and source.offsets is not None:
        yield Fault(
            code="FX1510", field="offsets", message="two ways to say where documents begin",
            expected="separator or offsets", found="both", cure="delete one of them",
        )  # fmt: skip


def _tokenizer(config: RunConfig) -> Iterator[tuple[str, Fault]]:
    """Whether there is a tokenizer, of a kind that goes with the data."""
    data, encoded = config.data, [leaf.source.encoded for leaf in leaves_of(config)]
    if data.tokenizer is None and not (all(encoded) and not config.task.special):
        why = f", whose special tokens {config.task.kind} needs" if all(encoded) else ""
        yield "data", Fault(
            code="FX0202", field="tokenizer", message="required field is missing", expected=f"a tokenizer{why}",
            found="nothing", cure="add tokenizer: {kind: file, path: tokenizer.json}" if any(encoded)
            else "add tokenizer: bpe",
        )  # fmt: skip
    if data.tokenizer is not None and data.tokenizer.learns and any(encoded):
        yield "data", Fault(
            code="FX1510", field="tokenizer", message="arrays are token ids of a tokenizer that exists",
            expected="a file", found=data.tokenizer.kind, cure="write tokenizer: {kind: file, path: tokenizer.json}"
            + (", or leave it out" if all(encoded) and not config.task.special else ""),
        )  # fmt: skip
    if data.columns and all(encoded):
        yield "data", Fault(
            code="FX1510", field="columns", message="has no effect: arrays have no columns", expected="no columns",
            found=", ".join(data.columns), cure="delete it",
        )  # fmt: skip


def tokenizers_of(config: RunConfig) -> dict[str, Tokenizer]:
    """The tokenizers that a run config describes, by their paths."""
    found = {"data.tokenizer": config.data.tokenizer, "task.target_tokenizer": None}
    found["task.target_tokenizer"] = getattr(config.task, "target_tokenizer", None)
    return {path: tokenizer for path, tokenizer in found.items() if tokenizer is not None}


def _tokens(tokenizer: Tokenizer) -> Iterator[Fault]:
    """Separators and special tokens that a text may become."""
    if not tokenizer.learns:
        return
    separator: str | None = getattr(tokenizer, "separator", None)
    specials: list[str] = getattr(tokenizer, "specials", [])
    named = [("separator", separator), *((f"specials.{index}", each) for index, each in enumerate(specials))]
    for field, token in named:
        if token is not None and (may_be_learnt(token) or tokenizer.may_read(token)):
            yield Fault(
                code="FX1606", field=field, message="the text itself may become this token",
                expected=f"a text that is never one word, such as {SEPARATOR}", found=shown(token),
                cure=f"leave separator out for {SEPARATOR}, or put marks and letters together like that"
                if field == "separator" else "put marks and letters together, such as <mask>",
            )  # fmt: skip
