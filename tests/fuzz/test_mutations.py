"""Presets damaged in their text: each is a valid spec, or a clear error with a code and a place, and never else."""

import random
import re
from importlib import resources

import pytest

from flexit.errors import UserError
from flexit.ir.io.load import check_text, parse_spec, presets
from flexit.ir.spec import Spec
from tests.fuzz.sample import COUNT, SEED

LINES = {name: (resources.files("flexit.presets") / f"{name}.yaml").read_text(encoding="utf-8") for name in presets()}
WORDS = (
    "null", "true", "no", "-1", "0", "1e400", "0x10", "1_000", ".inf", "1.5", "''", "[]", "{}", "[1, 2]", "{kind: add}",
    "causal", "multi_head", "rms_norm", "stack", "acme:thing", "!!str x", "*anchor", "&a 1", "<<", "2147483648",
    "encoder.layers[99]", "{each: down}", "default*0", "\u202e", "\x1b[31m", "[/x]", "x" * 300,
)  # fmt: skip


def mutate(text, rng):
    """One change, of a character, of a word, or of lines."""
    return rng.choice((_word, _word, _word, _line, _line, _bytes, _swapped))(text, rng)


def _word(text, rng):
    """A value or a key becomes another one."""
    found = list(re.finditer(r"[A-Za-z0-9_.*+-]+", text))
    match = rng.choice(found)
    new = rng.choice((rng.choice(WORDS), rng.choice(found)[0], match[0][:-1], match[0] * 2, ""))
    return text[: match.start()] + new + text[match.end() :]


def _line(text, rng):
    """A line is lost, said twice, or moved to another depth."""
    lines = text.split("\n")
    at = rng.randrange(len(lines))
    change = rng.randrange(4)
    if change == 0:
        del lines[at]
    elif change == 1:
        lines.insert(at, lines[at])
    elif change == 2:
        lines[at] = f"{' ' * rng.randint(1, 4)}{lines[at]}"
    else:
        lines[at] = lines[at].removeprefix("  ")
    return "\n".join(lines)


def _bytes(text, rng):
    data = bytearray(text.encode("utf-8", "surrogateescape"))
    for _ in range(rng.randint(1, 3)):
        data[rng.randrange(len(data))] = rng.choice((rng.randrange(256), *b"{}[]:,#'\"|>&*!%@`-? \n\t"))
    return data.decode("utf-8", "surrogateescape")


def _swapped(text, rng):
    one, two = sorted(rng.sample(range(len(text)), 2))
    return text[:one] + text[two : two + 12] + text[one + 12 : two] + text[one : one + 12] + text[two + 12 :]


def survives(seed):
    rng = random.Random(seed)
    name = rng.choice(list(LINES))
    text = LINES[name]
    for _ in range(rng.choice((1, 1, 2, 4))):
        text = mutate(text, rng)
    data = text.encode("utf-8", "surrogateescape")
    try:
        found = check_text(data, "mutated.yaml")
        if found.valid:
            assert isinstance(parse_spec(data), Spec)
            return True
        with pytest.raises(UserError) as caught:
            parse_spec(data, "mutated.yaml")
        problems = caught.value.problems
        assert problems
        for problem in problems:
            assert problem.code.startswith("FX0")
            assert problem.file == "mutated.yaml"
            assert problem.line is not None and problem.column is not None
            assert problem.message and problem.expected and problem.found and problem.cure
            assert all(char.isprintable() or char == "\n" for char in str(problem))
    except Exception as error:
        pytest.fail(f"seed {seed}, {type(error).__name__} {error}\n{data!r}", pytrace=False)
    return False


def test_some_damaged_presets_are_read_or_refused():
    results = [survives(seed) for seed in range(SEED, SEED + 60)]
    assert 0 < sum(results) < len(results)


@pytest.mark.slow
def test_many_damaged_presets_are_read_or_refused():
    for seed in range(SEED, SEED + COUNT):
        survives(seed)
