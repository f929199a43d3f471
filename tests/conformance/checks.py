"""What holds of every block wherever it stands. Each check takes a placed example; ``CHECKS`` and ``ORT_CHECKS`` are
all of them, for built-in kinds and for those of plugins alike.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from jsonschema import Draft202012Validator

from flexit.cli.listing import explained
from flexit.ir.analysis.cost import cost
from flexit.ir.block import FeedForward, Mixer, Norm
from flexit.ir.dims import Dim, evaluate
from flexit.ir.io.canonical import canonical, program_hash, spec_hash
from flexit.ir.io.load import check_text, parse_spec
from flexit.ir.language.annotations import as_slot
from flexit.ir.language.kinds import field_docs
from flexit.ir.language.template import as_written
from flexit.ir.ops.dropout import Dropout
from flexit.ir.passes import cut
from flexit.ir.passes.inline import inline
from flexit.ir.program import Node, Region
from flexit.lower.torch.module import to_torch
from flexit.runtime.proof.compare import relative_error, whole
from flexit.runtime.sessions.session import Array, Session
from tests.conformance.placements import Placed, class_of, placements
from tests.docs.test_language import unexplained

SCHEMA = Path(__file__).parents[2] / "schemas" / "spec.schema.json"
SIZES = ((2, 5), (3, 8))
TOLERANCE = 1e-5
Check = Callable[[Placed], None]


# ---- of a kind


def check_documented(kind: str) -> None:
    """The kind and each field say what they are, and ``flexit kinds`` tells it."""
    cls = class_of(kind)
    assert cls.__doc__, kind
    page = "\n".join(explained(kind)).replace("`", "")
    for name, entry in as_slot(cls).items():
        meaning = " ".join(field_docs(cls).get(entry.attribute, "").replace("`", "").split())
        assert meaning and meaning in page and f"{name}: " in page, f"{kind}.{name} is not explained"


def check_placed(kind: str) -> None:
    """Each example stands alone and in the slot of its traits; each optional port is wired in some document."""
    cls = class_of(kind)
    found = placements(kind)
    wanted = {"alone", "slot"} if issubclass(cls, Mixer | FeedForward | Norm) else {"alone"}
    for index in range(len(cls.examples)):
        assert {one.place for one in found if one.index == index} >= wanted, f"{kind} {index} stands nowhere"
    for name, port in cls.inputs.items():
        if port.optional:
            assert any(f"{name}=" in one.form for one in found), f"no example of {kind} reads {name}"


# ---- of the language


def check_round_trip(placed: Placed) -> None:
    """What was chosen, the canonical form and the YAML all read back as the same spec."""
    spec = placed.spec
    written, canon = parse_spec(json.dumps(as_written(spec))), parse_spec(spec.to_json())
    assert written == parse_spec(spec.to_yaml()) == spec
    assert canonical(canon) == canonical(spec)
    assert {spec_hash(one) for one in (written, canon)} == {spec_hash(spec)}
    assert {program_hash(one) for one in (written, canon)} == {program_hash(spec)}


@cache
def _validator() -> Draft202012Validator:
    return Draft202012Validator(json.loads(SCHEMA.read_text(encoding="utf-8")))


def check_schema(placed: Placed) -> None:
    """The shipped JSON Schema accepts the document, as written and with every default."""
    for data in (placed.data, canonical(placed.spec)):
        assert [error.message for error in _validator().iter_errors(data)] == []


# ---- of the program


def check_shapes(placed: Placed) -> None:
    """Every value has the shape and dtype that were inferred for it, at two sizes."""
    flat = inline(placed.program)
    values = {str(i): v for i, v in enumerate(v for node in flat.root.nodes for v in node.outputs)}
    root = replace(flat.root, outputs=tuple(values.values()), side={})
    module = placed.part(replace(flat, root=root, outputs=values, decoded=None))
    dtypes = {"f32": torch.float32, "i64": torch.int64, "bool": torch.bool}
    for batch, length in SIZES:
        given = placed.tensors(batch, length)
        lengths = {str(d): n for e in flat.inputs if e.name in given
                   for d, n in zip(e.value.dims, given[e.name].shape, strict=True) if isinstance(d, Dim)}  # fmt: skip
        with torch.no_grad():
            found = module(**given)
        for name, value in values.items():
            assert tuple(found[name].shape) == tuple(evaluate(dim, lengths) for dim in value.dims), str(value)
            assert found[name].dtype == dtypes[value.dtype], str(value)


def check_cost(placed: Placed) -> None:
    """Predicted parameters are those of the module, in all and by block."""
    needs = cost(placed.spec, batch=2, seq=5)
    sizes = {name: parameter.numel() for name, parameter in placed.module.named_parameters()}
    assert needs.parameters == sum(sizes.values())
    for block in needs.blocks:
        assert block.count * block.parameters == sum(
            size for name, size in sizes.items() if name.startswith(f"{block.path}.")
        ), block.path
    assert 0 < needs.active <= needs.parameters or not sizes


def check_names(placed: Placed) -> None:
    """One name everywhere: program, ``state_dict``, ONNX initializers and the page of the language."""
    paths = [param.path for param in placed.program.params()]
    assert ":" in placed.kind or unexplained(paths, placed.spec) == set()
    assert set(placed.module.state_dict()) == set(paths)
    stored = {name for one in placed.emitted for name in one.model.graph.initializers}
    assert {name for name in stored if not name.startswith("constant_")} == set(paths)


# ---- of both backends


def check_gradients(placed: Placed) -> None:
    """Training reaches every parameter that a loss trains; a gradient of zero is one that nothing depends on."""
    module = to_torch(placed.spec, placed.weights).train()
    inputs = placed.tensors()
    outputs = module(**inputs, aux=True)
    sides = [value for values in outputs.pop("aux").values() for value in values]
    results = [*outputs.values(), *sides]
    torch.manual_seed(0)
    if any(parameter.requires_grad for parameter in module.parameters()):
        sum((torch.randn_like(result) * result).sum() for result in results).backward()
    for name, parameter in module.named_parameters():
        if not parameter.requires_grad:
            continue
        assert parameter.grad is not None, f"{name} is out of reach"
        assert torch.isfinite(parameter.grad).all(), name
        if not parameter.grad.abs().sum() > 0:
            moved = to_torch(placed.spec, placed.weights | {name: placed.weights[name] + 1}).eval()
            with torch.no_grad():
                pairs = [(placed.module(**inputs)[key], moved(**inputs)[key]) for key in outputs]
            assert all(torch.allclose(a, b, atol=1e-5) for a, b in pairs), f"{name} acts without a gradient"


def check_dropout(placed: Placed) -> None:
    """Evaluation repeats exactly; training differs from it if and only if something is dropped."""
    inputs = placed.tensors()
    module = to_torch(placed.spec, placed.weights)
    with torch.no_grad():
        first, again = module.eval()(**inputs), module(**inputs)
        torch.manual_seed(0)
        trained = module.train()(**inputs)
    drops = _drops(inline(placed.program).root)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert all(torch.equal(first[name], trained[name]) for name in first) != drops


def _drops(region: Region) -> bool:
    """Whether anything in a flat region, or in a region that one of its ops runs, is dropped in training."""
    ops = [node.op for node in region.nodes if isinstance(node, Node)]
    inner = [value for op in ops for _, value in op.attributes() if isinstance(value, Region)]
    return any(isinstance(op, Dropout) or getattr(op, "dropout", 0) for op in ops) or any(map(_drops, inner))


def check_padding(placed: Placed) -> None:
    """Padded positions are finite, so that nothing reaches the others by 0 * infinity."""
    for name, value in placed.torch_session().run(placed.inputs()).items():
        assert np.isfinite(value).all(), name


def worst(placed: Placed, sessions: tuple[Session, Session], inputs: dict[str, Array]) -> float:
    """The largest error of a row of any output, the first session beside the second."""
    found, expected = (session.run(inputs) for session in sessions)
    errors, _ = whole(placed.program, inputs, found=found, expected=expected)
    return float(errors.max())


def check_onnx(placed: Placed) -> None:
    """ONNX Runtime agrees with PyTorch on stress weights, padded, with graph optimisation off and on."""
    for optimise in (False, True):
        sessions = placed.ort_session(optimise=optimise), placed.torch_session()
        for batch, length in (*SIZES, (1, 1)):
            inputs = placed.inputs(batch, length)
            assert worst(placed, sessions, inputs) < TOLERANCE


# ---- of decoding


def check_states(placed: Placed) -> None:
    """Every state has its declared shape at every step, and what follows depends on what it holds."""
    program = placed.program
    if program.decoded is None:
        assert program.why_not_decoded and not program.states
        return
    given, decoder, fixed = placed.tensors(2, 7), placed.module, {}
    mask = placed.torch_session().interface.require_decoded()[1].name
    if cut.has_static_states(program):
        encoder, decoder = placed.part(cut.encode(program)), placed.part(cut.decode(program))
        with torch.no_grad():
            fixed = encoder(**{e.name: given[e.name] for e in encoder.program.inputs if e.name in given})
    own = {e.name: given[e.name] for e in decoder.program.inputs if e.name in given and e.name != mask}
    grown = {e.name for e in program.inputs if e.group == program.decoded.name}
    states = decoder.program.states
    assert {s.path for s in states} | set(fixed) == {s.path for s in program.states}

    def step(start: int, stop: int, cache: list[torch.Tensor]) -> dict[str, torch.Tensor]:
        taken = {name: value[:, start:stop] if name in grown else value for name, value in own.items()}
        with torch.no_grad():
            return decoder(cache=cache, **taken, **fixed)

    first = step(0, 5, decoder.empty_cache(2))["cache"]
    for state, value in zip(states, first, strict=True):
        lengths = {program.decoded.seq: 0, program.decoded.total: 5, "batch": 2}
        assert tuple(value.shape) == tuple(evaluate(dim, lengths) for dim in state.type.dims), state.path
    right = step(5, 7, first)["logits"]
    torch.manual_seed(0)
    for index, state in enumerate(states):
        spoilt = [spoiled(value) if i == index else value for i, value in enumerate(first)]
        assert not torch.allclose(step(5, 7, spoilt)["logits"], right, atol=1e-3), f"{state.path} is not read"


def spoiled(value: torch.Tensor) -> torch.Tensor:
    """Other numbers, or ids further along."""
    return value + (3 * torch.randn_like(value) if value.is_floating_point() else torch.randint_like(value, 1, 9))


def check_cached(placed: Placed) -> None:
    """Prefill of any length and chunks of any length give what one run gives, padded left and right."""
    _check_cached(placed, placed.torch_session())


def check_cached_onnx(placed: Placed) -> None:
    """The same in ONNX Runtime, against PyTorch."""
    if placed.program.decoded is not None:
        _check_cached(placed, placed.ort_session(optimise=True))


def _check_cached(placed: Placed, session: Session) -> None:
    if placed.program.decoded is None:
        return
    inputs, (ids, mask) = placed.inputs(), session.interface.require_decoded()
    full = placed.torch_session().run(inputs)["logits"]
    tokens, valid = inputs[ids.name], inputs[mask.name]
    for cuts in ((1, 2, 3, 9), (6, 7, 8, 9), (4, 9)):
        first = cuts[0]
        scores = [session.start({**inputs, ids.name: tokens[:, :first], mask.name: valid[:, :first]})[:, None]]
        scores += [session.step(tokens[:, start:stop], valid[:, start:stop]) for start, stop in pairwise(cuts)]
        at = np.arange(first - 1, 9)
        assert relative_error(np.concatenate(scores, axis=1), full[:, at], valid[:, at] != 0) < TOLERANCE, cuts


def check_valid(placed: Placed) -> None:
    """The checker has nothing but warnings for it."""
    checked = check_text(placed.text)
    assert checked.valid and all(problem.warning for problem in checked.problems)


CHECKS: tuple[Check, ...] = (
    check_valid, check_round_trip, check_schema, check_shapes, check_cost, check_names, check_gradients, check_dropout,
    check_padding, check_states, check_cached,
)  # fmt: skip
ORT_CHECKS: tuple[Check, ...] = (check_onnx, check_cached_onnx)
