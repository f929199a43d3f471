"""``verify``: replays the inputs stored in a bundle on the machine where it will run. Needs neither torch nor onnx."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from safetensors.numpy import load_file

from flexit.errors import BundleError
from flexit.runtime.bundle import open_bundle, read_bundle
from flexit.runtime.session import Array


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
    arrays = load_file(bundle.folder / "probe.safetensors")
    inputs = {name.removeprefix("input."): array for name, array in arrays.items() if name.startswith("input.")}
    expected = {name.removeprefix("output."): array for name, array in arrays.items() if name.startswith("output.")}
    found = open_bundle(folder).run(inputs)
    if set(found) != set(expected):
        raise BundleError.of(
            "FX1402", f"{folder}: the probe is not one of this model", expected=", ".join(found),
            found=", ".join(expected), cure="export the bundle again",
        )  # fmt: skip
    errors = [
        relative_error(found[name], expected[name], _valid(bundle.manifest["outputs"][name], inputs)) for name in found
    ]
    return Verdict(max(errors), bundle.manifest["evidence"]["tolerance"])


def _valid(mask: str | None, inputs: dict[str, Array]) -> Array | None:
    """Positions of an output that are no padding, by the mask input the manifest names for it."""
    return None if mask is None else inputs[mask] != 0
