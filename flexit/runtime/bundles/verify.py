"""``verify``: replays the inputs stored in a bundle on the machine where it will run. Needs neither torch nor onnx."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file

from flexit.errors import BundleError, UserError
from flexit.runtime.bundles.bundle import Bundle, read_bundle, session_on
from flexit.runtime.bundles.manifest import refused
from flexit.runtime.sessions.session import Array

PROBE = "probe.safetensors"


@dataclass(frozen=True, slots=True)
class Verdict:
    """Largest relative error of the replay, and what the bundle allows."""

    error: float
    tolerance: float

    @property
    def holds(self) -> bool:
        """Whether the bundle computes here what it computed when it was proven."""
        return self.error <= self.tolerance


def verify(folder: str | Path) -> Verdict:
    """Replay a bundle's probe in ONNX Runtime and compare with the outputs PyTorch gave at export.

    Raises:
        BundleError: the folder is no sound bundle, or its probe does not fit it.
    """
    from flexit.runtime.proof.compare import relative_error

    bundle = read_bundle(folder)
    session = session_on(bundle)
    inputs, expected, valid = _probe(bundle.folder / PROBE)
    try:
        found = session.run(inputs)
    except UserError as error:
        raise _unfit(bundle, "inputs that the model takes", error.problems[0].found) from error
    shapes = [{name: array.shape for name, array in each.items()} for each in (found, expected)]
    if shapes[0] != shapes[1]:
        raise _unfit(bundle, f"outputs {shapes[0]}", str(shapes[1]))
    for name, flags in valid.items():
        if flags.dtype != np.bool_ or flags.shape != shapes[0].get(name, ())[: flags.ndim]:
            raise _unfit(bundle, "a flag per position of an output", f"{flags.dtype} {flags.shape} for {name}")
    errors = [relative_error(found[name], expected[name], valid.get(name)) for name in found]
    return Verdict(max(errors), bundle.manifest["evidence"]["tolerance"])


def _probe(file: Path) -> tuple[dict[str, Array], ...]:
    """The inputs and outputs that were stored, and which positions of outputs are no padding.

    Raises:
        BundleError: FX1402, there are none.
    """
    try:
        arrays = load_file(file)
    except (OSError, SafetensorError) as error:
        raise refused("FX1402", "the probe cannot be read", expected="arrays in the safetensors format",
                      found=str(error), place=file) from error  # fmt: skip
    return tuple(
        {name.removeprefix(kind): array for name, array in arrays.items() if name.startswith(kind)}
        for kind in ("input.", "output.", "valid.")
    )


def _unfit(bundle: Bundle, expected: str, found: str) -> BundleError:
    return refused(
        "FX1402", "the probe is not one of this model", expected=expected, found=found, place=bundle.folder / PROBE
    )
