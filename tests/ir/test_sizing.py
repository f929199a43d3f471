"""Sizes solved from the cost model: the nearest that there is, of a valid spec, by what was asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from flexit.errors import SpecError, UserError
from flexit.ir.analysis.sizing import figure_of, sized
from flexit.ir.io.load import load_spec
from flexit.ir.spec import Spec

WIDER = "blocks.decoder.layer.feed_forward.d_ff=150"


def loader(preset: str, *given: str) -> Callable[[Sequence[str]], Spec]:
    return lambda sets: load_spec(preset, sets=[*given, *sets])


@pytest.mark.parametrize("by", ["parameters", "flops"])
@pytest.mark.parametrize(
    ("vary", "field"),
    [
        ("d_ff", "blocks.decoder.layer.feed_forward.d_ff={}"),
        ("depth", "blocks.decoder.n_layers={}"),
    ],
)
def test_no_other_size_is_nearer(by: str, vary: str, field: str) -> None:
    """Of the sizes around it and others, one after the other."""
    load = loader("tiny-llama")
    wanted = figure_of(load([WIDER, "blocks.decoder.n_layers=4"]), by=by, seq=32)  # type: ignore[arg-type]
    found = sized(load, wanted, by=by, vary=vary, seq=32)  # type: ignore[arg-type]
    size = int(found.sets[0].partition("=")[2])
    tried = {*range(1, 500, 45), *range(max(1, size - 3), size + 4)} if vary == "d_ff" else range(1, 12)
    gaps = {
        other: abs(figure_of(load([field.format(other)]), by=by, seq=32) - wanted)  # type: ignore[arg-type]
        for other in tried
    }
    best = min(gaps, key=lambda other: gaps[other])
    assert found.sets == (field.format(best),)
    assert abs(found.figure - wanted) == gaps[best]
    assert found.gap == pytest.approx(found.figure / wanted - 1)


def test_a_width_keeps_heads_whole_and_even_and_takes_the_feed_forwards_along() -> None:
    load = loader("tiny-gpt2")
    wanted = 4 * figure_of(load(()), by="parameters", seq=32)
    found = sized(load, wanted, by="parameters", vary="width", seq=32)
    values = dict(text.split("=") for text in found.sets)
    width, d_ff = int(values["blocks.embed.d_model"]), int(values["blocks.decoder.layer.feed_forward.d_ff"])
    assert width % 8 == 0 and width > 48
    assert d_ff == 2 * width
    gaps: dict[int, int] = {}
    for size in range(width - 24, width + 32, 8):
        sets = [f"blocks.embed.d_model={size}", f"blocks.decoder.layer.feed_forward.d_ff={2 * size}"]
        gaps[size] = abs(figure_of(load(sets), by="parameters", seq=32) - wanted)
    assert min(gaps, key=lambda size: gaps[size]) == width


def test_what_is_of_the_size_already_is_left_alone() -> None:
    load = loader("tiny-llama")
    found = sized(load, figure_of(load(()), by="flops", seq=8), by="flops", vary="width", seq=8)
    assert found.sets == () and found.gap == 0 and found.spec == load(())


def test_stacks_grow_together() -> None:
    load = loader("tiny-t5")
    wanted = figure_of(load(["blocks.encoder.n_layers=4", "blocks.decoder.n_layers=4"]), by="parameters", seq=32)
    found = sized(load, wanted, by="parameters", vary="depth", seq=32)
    assert set(found.sets) == {"blocks.encoder.n_layers=4", "blocks.decoder.n_layers=4"} and found.gap == 0


def test_sizes_that_are_not_valid_are_passed_over() -> None:
    def load(sets: Sequence[str]) -> Spec:
        if any(text.endswith(("=149", "=150")) for text in sets):
            raise SpecError.of("FX0206", "no", expected="-", found="-", cure="-")
        return load_spec("tiny-llama", sets=sets)

    wanted = figure_of(load_spec("tiny-llama", sets=[WIDER]), by="parameters", seq=32)
    found = sized(load, wanted, by="parameters", vary="d_ff", seq=32)
    assert found.sets == ("blocks.decoder.layer.feed_forward.d_ff=151",)


@pytest.mark.parametrize(
    ("preset", "factor", "vary", "message"),
    [
        ("tiny-llama", 0.01, "depth", "no size of this variant matches"),
        ("tiny-short-conv", 1.5, "depth", ""),
    ],
)
def test_what_cannot_be_met(preset: str, factor: float, vary: str, message: str) -> None:
    load = loader(preset)
    wanted = round(factor * figure_of(load(()), by="parameters", seq=32))
    if not message:
        assert abs(sized(load, wanted, by="parameters", vary=vary, seq=32).gap) < 0.2  # type: ignore[arg-type]
        return
    with pytest.raises(UserError, match=message) as refused:
        sized(load, wanted, by="parameters", vary=vary, seq=32, where="a")  # type: ignore[arg-type]
    assert refused.value.code == "FX2303" and refused.value.problems[0].path == "a"
