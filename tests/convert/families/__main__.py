"""``python -m tests.convert.families``: measures every family and writes ``docs/families.md``."""

from __future__ import annotations

import argparse
import contextlib
import io
from collections import defaultdict
from pathlib import Path
from tempfile import TemporaryDirectory

import transformers

from flexit.convert.gguf.writing import to_gguf
from flexit.convert.mapping.family import family_names, find_family
from flexit.convert.pretrained import from_pretrained
from flexit.convert.to_pretrained import to_pretrained
from tests.convert.families.comparing import cached_error, errors, module_of
from tests.convert.families.models import Drawn, all_drawn, made
from tests.convert.families.same import same_tensors
from tests.convert.gguf.models import CHANGES, family_and_section, model_for, saved, worst
from tests.fuzz.day import drawn_day

PAGE = Path(__file__).parents[3] / "docs" / "families.md"
INTRODUCTION = """# Families of models

Whose checkpoints flexit reads (`flexit import`, `flexit export`, `flexit.from_pretrained`) and writes
(`flexit convert`, `flexit.to_pretrained`). Written by `python -m tests.convert.families` from what it measured: random
models of `transformers` {version} with random configurations, seeds {seeds}. An error is the largest difference of an
output from theirs over the largest output, in fp32, over rows without padding, padded left and padded right; with a
cache, over tokens that are read one by one. *Back* says that every tensor that is written is the original byte by byte;
that `transformers` loads it with no key missing or left over, and the same outputs, is tested
(`tests/convert/families/test_families.py`). What was not measured is tested by itself.
*GGUF* names the architecture of llama.cpp as which a model of the family was written and read again, and the error
then: a causal model, T5, or an encoder with a way to pool its states. Names are held against the package `gguf`,
tensors against `transformers` where it reads such files, and results against llama.cpp where its package is installed
(`tests/convert/gguf/test_families.py`). Not every model of a family has words there: what has none is refused (FX1872),
and [mapping-files.md](mapping-files.md#gguf-files) says what files hold.
{unsaid}

A model that is not here may still be read with a [mapping file](mapping-files.md).

| family | `model_type` | models | error | with a cache | back | GGUF |
| --- | --- | --- | --- | --- | --- | --- |
"""

UNSAID = """\
XLM-R and CamemBERT are written as RoBERTa, MT5 as T5 and Mistral as `llama`; rows of a position table that only
padding has are not in such files.
Refused, because llama.cpp computes something else: heads of T5 whose input is scaled (T5 1.0, UMT5; their encoders are
written), windows in `llama` and `mistral3`, BERT's own pooler and its heads, other activations than the usual, other
limits in GPT-OSS, groups of experts in DeepSeek V2, latent attention whose inner norms have another epsilon than the
others (MiniCPM3 as it was published), other places of layers without a window in AFMoE and Llama 4 than every fourth,
other chunks, floors and scales in Llama 4 than its own, and an AFMoE without muP. llama.cpp has no layers of the
families of causal models that have no GGUF below, nor of BART and its kin; of GPT-J's it has a name alone, and
BitNet's have another activation there. The encoders without GGUF differ from BERT in more than it can say."""
"""What the table cannot show."""


def measured(way: Drawn, seed: int, folder: Path) -> tuple[float, float | None]:
    """Worst error of outputs, and of cached decoding; AssertionError where it is not written back exactly."""
    model = made(way, seed)
    model.save_pretrained(folder / "theirs")
    pretrained = from_pretrained(folder / "theirs")
    module = module_of(pretrained)
    largest = max(error for padding in ("none", "left", "right") for error in errors(model, module, padding).values())
    decodes = way.head in ("causal", "seq2seq")
    cached = max(cached_error(model, module, padding) for padding in ("none", "left")) if decodes else None
    to_pretrained(pretrained.spec, pretrained.weights, folder / "back", family=pretrained.family)
    assert same_tensors(folder / "theirs", folder / "back")
    return largest, cached


def gguf_measured(name: str, seed: int, folder: Path) -> float:
    """Worst error of a model that was written as a GGUF file and read again; AssertionError where it is another one."""
    model, family = model_for(name, seed), family_and_section(name)[0].family
    pooling = saved(model, folder / "theirs", seed, name=name)
    pretrained = from_pretrained(folder / "theirs")
    to_gguf(pretrained.spec, pretrained.weights, folder / "x.gguf", dtype="f32", family=family)
    again = from_pretrained(folder / "x.gguf")
    assert again.family == family
    module = module_of(again)
    return max(worst(model, module, padding, pooling) for padding in ("none", "left", "right"))


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(prog="families", description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="*", default=[drawn_day()])
    asked = parser.parse_args()
    found: dict[str, list[tuple[float, float | None]]] = defaultdict(list)
    heads: dict[str, list[str]] = defaultdict(list)
    for way in all_drawn():
        for seed in asked.seeds:
            with TemporaryDirectory() as folder, contextlib.redirect_stderr(io.StringIO()):
                found[way.family].append(measured(way, seed, Path(folder)))
        if way.head not in heads[way.family]:
            heads[way.family].append(way.head)
        print(way, flush=True)
    files: dict[str, list[float]] = defaultdict(list)
    for family in sorted(CHANGES):
        for seed in asked.seeds:
            with TemporaryDirectory() as folder, contextlib.redirect_stderr(io.StringIO()):
                files[family].append(gguf_measured(family, seed, Path(folder)))
        print(f"{family} as a GGUF file", flush=True)
    seeds = " and ".join(map(str, asked.seeds))
    text = INTRODUCTION.format(version=transformers.__version__, seeds=seeds, unsaid=UNSAID)
    for name in family_names():
        written = {each: errors for each, errors in files.items() if each.partition(" (")[0] == name}
        text += row(name, heads[name], found[name], files=written)
    PAGE.write_text(text, encoding="utf-8")
    print(f"{PAGE} written")


def row(name: str, heads: list[str], found: list[tuple[float, float | None]], *, files: dict[str, list[float]]) -> str:
    """The line of a family."""
    types = ", ".join(f"`{each}`" for each in find_family(name).model_types)
    gguf = "".join(
        f"`{family_and_section(each)[1].architecture}` {max(errors):.0e} " for each, errors in sorted(files.items())
    )
    if not found:
        return f"| {name} | {types} | {', '.join(find_family(name).heads)} | not measured | | | {gguf}|\n"
    cached = [error for _, error in found if error is not None]
    shown = f"{max(cached):.0e}" if cached else "does not decode"
    largest = max(error for error, _ in found)
    return f"| {name} | {types} | {', '.join(heads)} | {largest:.0e} | {shown} | yes | {gguf}|\n"


if __name__ == "__main__":
    main()
