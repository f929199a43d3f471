"""How much work an update is, by the cost model, and how much of what the device can do that is."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from flexit.ir.analysis.measure import Measures
from flexit.ir.program import Program

if TYPE_CHECKING:
    import torch
    from torch import nn

    from flexit.runtime.train.update.step import Shapes

PEAKS: Mapping[str, Mapping[str, float]] = {
    "H200": {"bf16": 989.4e12, "fp16": 989.4e12, "fp32": 66.9e12},
    "H100 PCIe": {"bf16": 756e12, "fp16": 756e12, "fp32": 51e12},
    "H100 NVL": {"bf16": 835e12, "fp16": 835e12, "fp32": 60e12},
    "H100": {"bf16": 989.4e12, "fp16": 989.4e12, "fp32": 66.9e12},
    "A100": {"bf16": 312e12, "fp16": 312e12, "fp32": 19.5e12},
    "A40": {"bf16": 149.7e12, "fp16": 149.7e12, "fp32": 37.4e12},
    "L40S": {"bf16": 362e12, "fp16": 362e12, "fp32": 91.6e12},
    "L40": {"bf16": 181e12, "fp16": 181e12, "fp32": 90.5e12},
    "L4": {"bf16": 121e12, "fp16": 121e12, "fp32": 30.3e12},
    "V100-SXM2": {"fp16": 125e12, "fp32": 15.7e12},
    "V100-PCIE": {"fp16": 112e12, "fp32": 14e12},
    "T4": {"fp16": 65e12, "fp32": 8.1e12},
}
"""FLOP/s of dense matrix products at most, by words of the device's name: NVIDIA's data sheet of each, without
sparsity; fp32 is that of the CUDA cores, without TF32. The first that fits counts.
"""


class Work:
    """The matmul-class operations of updates, three forwards each, padding counted and what is computed again not.

    The backward of a product is two (Kaplan et al. 2020, appendix B; Chowdhery et al. 2022, appendix B).
    """

    def __init__(self) -> None:
        self._known: dict[tuple[tuple[str, int], ...], int] = {}

    def of(self, model: nn.Module, shapes: Sequence[Shapes]) -> int | None:
        """FLOPs of an update by the shapes of its batches; None of a module that has no program.

        Args:
            model: what is trained.
            shapes: of the entries of each batch, by name.
        """
        from flexit.runtime.train.logbook import FORWARDS

        program = getattr(model, "program", None)
        if not isinstance(program, Program):
            return None
        forwards = [self._forward(program, each) for each in shapes]
        return None if None in forwards else FORWARDS * sum(each for each in forwards if each is not None)

    def _forward(self, program: Program, shapes: Shapes) -> int | None:
        groups = {group.name: group for group in program.groups}
        lengths: dict[str, int] = {}
        for entry in program.inputs:
            shape = shapes.get(entry.name)
            if shape is None or entry.role not in ("ids", "values"):
                continue
            lengths["batch"] = shape[0]
            group = groups[entry.group]
            lengths[group.seq] = lengths[group.total] = shape[1]
        if {group.seq for group in program.groups} - lengths.keys():
            return None
        key = tuple(sorted(lengths.items()))
        if key not in self._known:
            decoded = None if program.decoded is None else (program.decoded.seq, program.decoded.total)
            self._known[key] = Measures(lengths, decoded).region(program.root).flops
        return self._known[key]


def known_peak(device: torch.device, precision: str) -> float | None:
    """FLOP/s that a device can do at most in a precision, where its data sheet is known."""
    import torch

    if device.type != "cuda" or (precision == "fp32" and torch.get_float32_matmul_precision() != "highest"):
        return None
    name = torch.cuda.get_device_name(device)
    return next((peaks.get(precision) for part, peaks in PEAKS.items() if re.search(rf"\b{part}\b", name)), None)
