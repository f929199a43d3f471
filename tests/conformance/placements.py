"""Every place where an example of a block kind may stand, as a minimal document. Nothing here knows what a kind does:
documents are made from its ports and traits, and those that the checker refuses are no place for it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
import torch

from flexit.ir import registry
from flexit.ir.block import Block, FeedForward, Mixer, Norm, Port
from flexit.ir.compile import compile_spec
from flexit.ir.io.load import check_text
from flexit.ir.program import Program
from flexit.ir.spec import Spec
from flexit.lower.onnx.model import Emitted, emit_models, save
from flexit.lower.torch.module import FlexitModule, build, fill, to_torch
from flexit.runtime.proof.grid import Case, inputs_for
from flexit.runtime.proof.stress import stress_weights
from flexit.runtime.sessions.ort_session import ModelFile, OrtSession
from flexit.runtime.sessions.session import Array
from flexit.runtime.sessions.torch_session import TorchSession, interface_of

Data = dict[str, Any]
WIDTH, VOCABULARY, TYPES = 16, 31, 2
EMBED: Data = {"kind": "embedding", "from": "input_ids", "vocab_size": VOCABULARY, "d_model": WIDTH}
HEAD: Data = {"kind": "lm_head", "vocab_size": VOCABULARY}
ATTENTION: Data = {"kind": "multi_head", "n_heads": 2, "rotary": {}, "mask": "causal"}
FORWARD: Data = {"kind": "mlp", "d_ff": 24}
LAYER: Data = {
    "kind": "transformer_layer", "norm": "rms_norm", "norm_placement": "pre", "attention": ATTENTION,
    "feed_forward": FORWARD,
}  # fmt: skip

SOURCES: dict[str, tuple[str, ...]] = {
    "tokens": ("input_ids",),
    "sequence": ("embed", "short", "context"),
    "vector": ("state",),
}
"""Edges that a port of each type is tried with: the same axis, a shorter one, that of another input."""


@dataclass(frozen=True)
class Placed:
    """An example in a document that the checker accepts.

    Attributes:
        place: ``alone``, ``slot`` (in a layer, where its trait belongs) or ``inside`` (in a composite).
        form: how it is wired or which field it is.
        data: the document.
    """

    kind: str
    index: int
    place: str
    form: str
    data: Data

    def __str__(self) -> str:
        return f"{self.kind}-{self.index}-{self.form}"

    @property
    def text(self) -> str:
        """The document as JSON."""
        return json.dumps(self.data)

    @cached_property
    def spec(self) -> Spec:
        """The spec of the document."""
        spec = check_text(self.text).spec
        assert spec is not None
        return spec

    @cached_property
    def weights(self) -> dict[str, Array]:
        """Stress weights."""
        return stress_weights(compile_spec(self.spec))

    @cached_property
    def module(self) -> FlexitModule:
        """The model on stress weights."""
        return to_torch(self.spec, self.weights).eval()

    @property
    def program(self) -> Program:
        """What it computes."""
        return self.module.program

    @cached_property
    def emitted(self) -> list[Emitted]:
        """Its ONNX models."""
        return emit_models(self.program, self.weights)

    def inputs(self, batch: int = 4, length: int = 9) -> dict[str, Array]:
        """Random inputs; later rows padded, in turn left and right."""
        return inputs_for(self.program, Case(batch, length, 0), np.random.default_rng(batch * 100 + length))

    def tensors(self, batch: int = 4, length: int = 9) -> dict[str, torch.Tensor]:
        """The same as tensors."""
        return {name: torch.from_numpy(array) for name, array in self.inputs(batch, length).items()}

    def part(self, program: Program) -> FlexitModule:
        """A rewriting of the program, on the same weights."""
        module = build(program)
        names = {name for name, _ in module.named_parameters()}
        fill(module, {n: self.weights[n] for n in names}, dtype=torch.float32, device=torch.device("cpu"))
        return module.eval()

    def torch_session(self) -> TorchSession:
        """A session on the module."""
        return TorchSession(self.module)

    def ort_session(self, *, optimise: bool) -> OrtSession:
        """A session on the emitted models."""
        with TemporaryDirectory() as folder:
            files = [
                ModelFile(save(one, Path(folder)), tuple((past, new) for _, past, new in one.states))
                for one in self.emitted
            ]
            return OrtSession(files, interface_of(self.program), optimise=optimise, threads=1)


def class_of(kind: str) -> type[Block]:
    """The class of a block kind, built in or a plugin's."""
    cls = registry.find(Block, kind)
    assert cls is not None and issubclass(cls, Block), kind
    return cls


def placements(kind: str) -> list[Placed]:
    """Every example of a kind in every place where it may stand."""
    cls = class_of(kind)
    return [
        Placed(kind, index, place, form, data)
        for index, example in enumerate(cls.examples)
        for place, form, data in _candidates(cls, dict(example))
        if check_text(json.dumps(data)).valid
    ]


def _candidates(cls: type[Block], example: Data) -> Iterator[tuple[str, str, Data]]:
    for type_ in _main(cls).types:
        yield from (("alone", form, data) for form, data in _alone(cls, example, type_))
    yield from (("slot", form, data) for form, data in _in_slots(cls, example))
    body = {"kind": "residual", "norm": "rms_norm", "norm_placement": "sandwich", "body": example}
    yield "inside", "body", _model({"stack": {"kind": "stack", "n_layers": 2, "layer": body, "from": "embed"}})
    yield "inside", "layer", _model({"stack": {"kind": "stack", "n_layers": 2, "layer": example, "from": "embed"}})


def _main(cls: type[Block]) -> Port:
    return next(iter(cls.inputs.values()))


def _alone(cls: type[Block], example: Data, type_: str) -> Iterator[tuple[str, Data]]:
    """The block in the outermost scope, its main port of one type, its other ports wired in every way."""
    main, *others = cls.inputs
    wires = [[{main: edge} for edge in _edges(cls.inputs[main], type_)]]
    for name in others:
        port = cls.inputs[name]
        edges = [edge for kind in port.types for edge in _edges(port, kind, companion=True)]
        wires.append([*([{}] if port.optional else []), *({name: edge} for edge in edges)])
    output = type_ if cls.output == "same" else cls.output
    for choice in product(*wires):
        wired = {name: edge for one in choice for name, edge in one.items()}
        form = ",".join(f"{name}={'+'.join(_listed(edge))}" for name, edge in wired.items())
        blocks = {"block": {**example, "from": wired}}
        yield form, _document(_with_sources(wired) | blocks, "block", output, cls.more_outputs)


def _listed(edge: str | list[str]) -> list[str]:
    return edge if isinstance(edge, list) else [edge]


def _edges(port: Port, type_: str, *, companion: bool = False) -> list[Any]:
    if type_ == "tokens" and companion:
        return ["type_ids"]
    if port.variadic:
        return [["embed", "wide"]] if type_ == "sequence" else [["state", "other"]]
    return list(SOURCES[type_])


def _with_sources(wired: Mapping[str, Any]) -> Data:
    """The blocks that make the edges."""
    named = {name for edge in wired.values() for name in _listed(edge)}
    makers: Data = {
        "embed": EMBED,
        "short": {"kind": "downsample", "factor": 2, "from": "embed"},
        "wide": {"kind": "linear", "d_out": WIDTH, "from": "embed"},
        "other": {"kind": "linear", "d_out": WIDTH, "from": "state"},
    }
    needed = named | ({"embed"} if named & {"short", "wide"} else set())
    return {name: maker for name, maker in makers.items() if name in needed}


def _document(blocks: Data, last: str, output: str, more: tuple[str, ...]) -> Data:
    outputs = {"logits": last} if output == "logits" else {"result": last}
    outputs |= {port: f"{last}.{port}" for port in more}
    if output == "sequence":
        blocks |= {"head": {**HEAD, "from": last}}
        outputs |= {"logits": "head"}
    read = json.dumps(blocks)
    declared: Data = {
        "input_ids": "tokens",
        "type_ids": {"kind": "tokens", "like": "input_ids"},
        "context": {"kind": "sequence", "width": 12},
        "state": {"kind": "vector", "width": WIDTH},
    }
    inputs = {name: input_ for name, input_ in declared.items() if f'"{name}"' in read}
    return {"flexit": 1, "name": "conformance", "inputs": inputs, "blocks": blocks, "outputs": outputs}


def _model(blocks: Data) -> Data:
    return _document({"embed": EMBED, **blocks}, next(reversed(blocks)), "sequence", ())


def _in_slots(cls: type[Block], example: Data) -> Iterator[tuple[str, Data]]:
    """A layer, twice, with the example in each field that its traits allow."""
    fields: dict[str, Data] = {}
    if issubclass(cls, Mixer):
        fields["attention"] = {"attention": example}
        fields["cross_attention"] = {"cross_attention": example}
    if issubclass(cls, FeedForward):
        fields["feed_forward"] = {"feed_forward": example}
        fields["expert"] = {"feed_forward": {"kind": "moe", "n_experts": 3, "top_k": 2, "expert": example}}
    if issubclass(cls, Norm):
        fields["norm"] = {"norm": example, "norm_placement": "sandwich"}
        fields["qk_norm"] = {"attention": {**ATTENTION, "qk": {"norm": example}}}
    for field, over in fields.items():
        wired = {"x": "embed", "memory": "context"} if field == "cross_attention" else "embed"
        yield field, _model({"stack": {"kind": "stack", "n_layers": 2, "from": wired, "layer": {**LAYER, **over}}})


def in_tiers(every: Sequence[Placed]) -> list[Any]:
    """As parameters of a test: one of each kind is quick, the first; the others are slow."""
    first: dict[str, Placed] = {}
    for placed in every:
        first.setdefault(placed.kind, placed)
    return [
        pytest.param(placed, id=str(placed), marks=() if placed is first[placed.kind] else pytest.mark.slow)
        for placed in every
    ]
