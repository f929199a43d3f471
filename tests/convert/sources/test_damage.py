"""Real files with random damage are opened and read, or refused with a message: nothing else, and in bounded time."""

from __future__ import annotations

import random
import time
from pathlib import Path

import pytest

from flexit.convert.sources.finite import not_finite
from flexit.convert.sources.source import open_source
from flexit.errors import UserError
from tests.convert.sources.made import write_sharded, write_single
from tests.convert.sources.test_gguf import plain, stored, write
from tests.fuzz.day import drawn_day

ODD = (0, 1, 2**31, 2**32 - 1, 2**40, 2**63 - 1, 2**63, 2**64 - 1)
SLOWEST = 3.0
"""Seconds for one file, on a machine that does other things too."""


def flip(made: bytearray, at: int, rng: random.Random) -> None:
    made[at] ^= 1 << rng.randrange(8)


def cut_off(made: bytearray, at: int, rng: random.Random) -> None:
    del made[at:]


def leave_out(made: bytearray, at: int, rng: random.Random) -> None:
    del made[at : at + rng.choice((1, 4, 8, 60))]


def put_in(made: bytearray, at: int, rng: random.Random) -> None:
    made[at:at] = rng.randbytes(rng.choice((1, 4, 8, 60)))


def count_wrongly(made: bytearray, at: int, rng: random.Random) -> None:
    made[at : at + 8] = rng.choice(ODD).to_bytes(8, "little")


def splice(made: bytearray, at: int, rng: random.Random) -> None:
    source, size = rng.randrange(len(made)), rng.choice((1, 4, 8, 60))
    made[at : at + size] = made[source : source + size]


def mark(made: bytearray, at: int, rng: random.Random) -> None:
    made[at : at + 1] = rng.choice((b'"', b"}", b"[", b"0", b"9", b"-", b",", b"\\", b"\x00", b"\xff"))


def another_digit(made: bytearray, at: int, rng: random.Random) -> None:
    digits = [place for place in range(min(4096, len(made))) if chr(made[place]).isdigit()]
    made[rng.choice(digits or [at])] = rng.choice(b"0123456789")


def append(made: bytearray, at: int, rng: random.Random) -> None:
    made += rng.randbytes(8)


CHANGES = (flip, cut_off, leave_out, put_in, count_wrongly, splice, mark, another_digit, append)


def damaged(data: bytes, rng: random.Random) -> bytes:
    """The bytes with one to three changes, most of them near the beginning, where counts and lengths are."""
    made = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 3))):
        if made:
            near = min(len(made), rng.choice((32, 512, 4096, len(made))))
            rng.choice(CHANGES)(made, rng.randrange(near), rng)
    return bytes(made)


def originals(folder: Path) -> list[Path]:
    """Folders and files that are sound."""
    write_single(folder / "single")
    write_sharded(folder / "sharded")
    tensors = {"b": ("Q4_K", stored("Q4_K", (2, 256))), "c": ("Q8_0", stored("Q8_0", (2, 64)))}
    write(folder / "x.gguf", {**plain(), **tensors})
    return [folder / "single", folder / "sharded", folder / "x.gguf"]


def read_all(place: Path) -> str:
    """What comes of opening and reading it: its code, or nothing."""
    try:
        source = open_source(place)
        not_finite(source.tensors)
        for tensor in source.tensors.values():
            array = tensor.numpy()
            assert array.shape == tensor.shape
    except UserError as error:
        return error.code if len(str(error)) < 3000 else str(error)
    size = place.stat().st_size if place.is_file() else sum(file.stat().st_size for file in place.iterdir())
    assert sum(tensor.nbytes for tensor in source.tensors.values()) <= 20 * size
    return ""


def codes_of(folder: Path, seeds: range, day: int) -> dict[str, int]:
    """How often each code came of so many damaged files; the seed stands in what fails."""
    found: dict[str, int] = {}
    for place in originals(folder):
        assert read_all(place) == ""
        files = [place] if place.is_file() else sorted(place.iterdir())
        whole = {file: file.read_bytes() for file in files}
        for seed in seeds:
            rng = random.Random(f"{day} {seed} {place.name}")
            file = rng.choice(files)
            file.write_bytes(damaged(whole[file], rng))
            begin = time.perf_counter()
            try:
                code = read_all(place)
            except BaseException as error:
                error.add_note(f"day {day}, seed {seed}, {file.name}")
                raise
            assert time.perf_counter() - begin < SLOWEST, f"day {day}, seed {seed}, {file.name}"
            found[code] = found.get(code, 0) + 1
            file.write_bytes(whole[file])
    return found


def test_damage(tmp_path: Path) -> None:
    found = codes_of(tmp_path, range(100), 0)
    print(found)
    assert sum(found.values()) == 300
    assert all(code == "" or len(code) == 6 for code in found)
    for code in ("FX1803", "FX1810", "FX1811", "FX1812", "FX1820", "FX1821", "FX1822", ""):
        assert code in found


@pytest.mark.slow
def test_damage_of_the_day(tmp_path: Path) -> None:
    found = codes_of(tmp_path, range(700), drawn_day())
    assert sum(found.values()) == 2100


def test_damage_does_change_something() -> None:
    data = bytes(range(256)) * 4
    assert sum(damaged(data, random.Random(seed)) != data for seed in range(100)) > 90
