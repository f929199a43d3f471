"""``generation_config.json``: token ids and defaults of generation that go with a model, by Hugging Face's names."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flexit.errors import TaskError, UserError
from flexit.runtime.generation.beam import Beams
from flexit.runtime.generation.sampling import LIMITS, Sampling

IDS = ("decoder_start_token_id", "bos_token_id", "eos_token_id", "pad_token_id")
PENALTY = "repetition_penalty"


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationConfig:
    """What a model's folder says of generation. What it does not say does not apply.

    Attributes:
        start: token that a text begins with where there is no prompt.
        eos: tokens that end a text.
        pad: token written where a row is padded.
        sampling: how tokens are chosen: drawn where ``do_sample`` is true, as there; else the best are taken.
        beams: a beam search, where ``num_beams`` is above 1.
    """

    start: int = 0
    eos: tuple[int, ...] = ()
    pad: int = 0
    sampling: Sampling = field(default_factory=Sampling)
    beams: Beams | None = None

    @classmethod
    def read(cls, file: Path) -> GenerationConfig:
        """The settings of a folder; the defaults where it has no such file.

        Raises:
            UserError: FX1109, the file is no JSON object, or a setting in it cannot be used.
        """
        try:
            data = json.loads(file.read_bytes()) if file.is_file() else {}
        except (ValueError, RecursionError) as error:
            raise _unusable(file, expected="a JSON object", found=str(error)) from None
        if not isinstance(data, dict):
            raise _unusable(file, expected="a JSON object", found=str(data)[:60])
        given = {name: value for name, value in data.items() if value is not None}
        wrong = [name for name in IDS if name in given and not _is_id(given[name], many=name == "eos_token_id")]
        if wrong:
            raise _unusable(
                file, expected=f"a JSON object in which {', '.join(IDS)} are token ids",
                found=f"{wrong[0]}: {str(given[wrong[0]])[:60]}",
            )  # fmt: skip
        try:
            return cls._of(given)
        except TaskError as error:
            problem = error.problems[0]
            raise _unusable(
                file, expected=f"for {problem.path}, {problem.expected}", found=problem.found
            ) from None  # fmt: skip

    @classmethod
    def _of(cls, given: Mapping[str, Any]) -> GenerationConfig:
        penalty = given.get(PENALTY, 1.0)
        drawn = {"temperature": given.get("temperature", 1.0), **{n: given[n] for n in LIMITS if n in given}}
        if drawn.get("top_k") == 0:  # none, as there
            del drawn["top_k"]
        warm = Sampling(**drawn, repetition_penalty=penalty) if drawn["temperature"] != 0 else None
        n_beams = given.get("num_beams", 1)
        beams = Beams(n_beams=n_beams, length_penalty=given.get("length_penalty", 1.0), repetition_penalty=penalty)
        eos = given.get("eos_token_id", ())
        return cls(
            start=given.get("decoder_start_token_id", given.get("bos_token_id", 0)),
            eos=(eos,) if isinstance(eos, int) else tuple(eos), pad=given.get("pad_token_id", 0),
            sampling=warm if warm and given.get("do_sample") is True else Sampling(repetition_penalty=penalty),
            beams=beams if n_beams > 1 else None,
        )  # fmt: skip


def _is_id(value: object, *, many: bool) -> bool:
    if many and isinstance(value, list):
        return bool(value) and all(_is_id(each, many=False) for each in value)
    return type(value) is int and value >= 0


def _unusable(file: Path, *, expected: str, found: str) -> UserError:
    return UserError.of(
        "FX1109", f"{file} cannot be used", expected=expected, found=found,
        cure="correct it, or take the file of the model",
    )  # fmt: skip
