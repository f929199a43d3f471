"""What the options of ``flexit generate`` and a model's own settings come to: a way to choose tokens."""

from __future__ import annotations

from dataclasses import dataclass, field, fields

from flexit.errors import UserError
from flexit.runtime.generation.beam import Beams
from flexit.runtime.generation.generation_config import GenerationConfig
from flexit.runtime.generation.sampling import Sampling

DRAWING = ("temperature", "top_k", "top_p", "min_p")
OF_BEAMS = ("length_penalty", "n_best")


@dataclass(frozen=True, slots=True, kw_only=True)
class Choosing:
    """Options as they were given; None for what was not said, where the model's settings hold.

    Attributes:
        stop: strings that end a text.
    """

    temperature: float | None = None
    top_k: int | None = None
    top_p: float | None = None
    min_p: float | None = None
    repetition_penalty: float | None = None
    seed: int = 0
    beams: int | None = None
    length_penalty: float | None = None
    n_best: int | None = None
    stop: tuple[str, ...] = field(default=())

    def resolved(self, config: GenerationConfig) -> Sampling | Beams:
        """The way to choose, from what was given and from what the model says.

        Raises:
            UserError: FX1109, options that exclude each other or change nothing; FX2003, one is out of its range.
        """
        self._require_ranges()
        drawing = self._given(DRAWING)
        if self.beams is not None and self.beams > 1 and drawing and self.temperature != 0:
            raise _senseless(
                f"{_option(drawing[0])} with --beams", expected="either a draw or a beam search, which draws nothing",
                found=f"{_option(drawing[0])} and --beams {self.beams}",
                cure=f"leave out --beams, or {' and '.join(map(_option, drawing))}",
            )  # fmt: skip
        beams = self._beams(config, drawn=bool(drawing))
        of_beams = self._given(OF_BEAMS)
        if beams is None and of_beams:
            raise _senseless(
                f"{_option(of_beams[0])} without --beams", expected="a beam search of 2 or more beams",
                found=f"no beam search, in which {_option(of_beams[0])} changes nothing",
                cure=f"add --beams 4, or leave {_option(of_beams[0])} out",
            )  # fmt: skip
        return beams or self._sampling(config)

    def _require_ranges(self) -> None:
        """What is out of its range is told first, whatever it stands beside."""
        Sampling(
            temperature=self.temperature or 1.0, top_k=self.top_k, top_p=self.top_p, min_p=self.min_p, seed=self.seed,
            repetition_penalty=1.0 if self.repetition_penalty is None else self.repetition_penalty,
        )  # fmt: skip

    def _given(self, names: tuple[str, ...]) -> list[str]:
        return [each.name for each in fields(self) if each.name in names and getattr(self, each.name) is not None]

    def _beams(self, config: GenerationConfig, *, drawn: bool) -> Beams | None:
        """The search, where one is asked for, or the model's where nothing else is."""
        known = config.beams
        n_beams = self.beams if self.beams is not None else known.n_beams if known and not drawn else 1
        if n_beams == 1:
            return None
        penalty = known.length_penalty if known else 1.0
        return Beams(
            n_beams=n_beams, length_penalty=penalty if self.length_penalty is None else self.length_penalty,
            n_best=1 if self.n_best is None else self.n_best,
            repetition_penalty=self._repetition_penalty(config),
        )  # fmt: skip

    def _sampling(self, config: GenerationConfig) -> Sampling:
        known, penalty = config.sampling, self._repetition_penalty(config)
        temperature = known.temperature if self.temperature is None else self.temperature
        limits = self._given(DRAWING[1:])
        if temperature == 0 and limits:
            raise _senseless(
                f"{_option(limits[0])} without --temperature", expected="a temperature above 0",
                found=f"0, which takes the best token, so that {_option(limits[0])} changes nothing",
                cure=f"add --temperature 0.8, or leave {_option(limits[0])} out",
            )  # fmt: skip
        if temperature == 0:
            return Sampling(repetition_penalty=penalty, seed=self.seed)
        return Sampling(
            temperature=temperature, repetition_penalty=penalty, seed=self.seed,
            top_k=known.top_k if self.top_k is None else self.top_k,
            top_p=known.top_p if self.top_p is None else self.top_p,
            min_p=known.min_p if self.min_p is None else self.min_p,
        )  # fmt: skip

    def _repetition_penalty(self, config: GenerationConfig) -> float:
        return config.sampling.repetition_penalty if self.repetition_penalty is None else self.repetition_penalty


def _option(name: str) -> str:
    return "--" + name.replace("_", "-")


def _senseless(what: str, *, expected: str, found: str, cure: str) -> UserError:
    return UserError.of("FX1109", f"{what} makes no sense", expected=expected, found=found, cure=cure)
