"""``to_torch``: a program as an ``nn.Module`` whose parameters live at IR paths."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Self

import torch
from torch import Tensor, nn

from flexit.errors import UserError
from flexit.ir.analysis.cost import count_parameters
from flexit.ir.compile import States, compile_spec
from flexit.ir.dims import evaluate, symbols
from flexit.ir.misfits import misfit
from flexit.ir.program import Program, State, Value
from flexit.ir.spec import Spec
from flexit.ir.weights import require_fitting
from flexit.lower.torch.arguments import floating, placed, require_mapping, tensor_of, whole
from flexit.lower.torch.initialise import initial_values
from flexit.lower.torch.memory import require_memory
from flexit.lower.torch.recipe import Recipe
from flexit.lower.torch.regions import Compiled, RegionCompiler, RegionModule


class FlexitModule(RegionModule):
    """A model. Its parameters are at IR paths, so ``state_dict()`` keys are the names in every file flexit writes.

    Attributes:
        spec: what it was built from.
        program: what it computes.
        code: source of the outermost region's generated forward; each layer has its own.
    """

    spec: Spec
    program: Program
    _run: Callable[..., tuple[Tensor, ...]]

    def forward(
        self, *args: Tensor, cache: Sequence[Tensor] | None = None, aux: bool = False, **inputs: Tensor | None
    ) -> dict[str, Any]:
        """Run the model.

        Args:
            args: graph inputs in the order of the spec, as an alternative to their names.
            cache: the states of earlier steps in program order (:meth:`empty_cache` to start); the attention mask
                then covers the cached tokens too, ``[batch, past + seq]``.
            aux: also return side outputs.
            inputs: graph inputs by name: ids ``int64 [batch, seq]``; masks ``[batch, total]`` of 0 and 1 (default all
                ones); position ids ``[batch, seq]`` (default: unpadded tokens before each one); where rows are packed,
                ``document_ids [batch, seq]`` (default: one document); where a mask has a prefix, ``prefix_lengths
                [batch]`` (default: none).

        Returns:
            Graph outputs by name (``logits [batch, seq, vocab]``, ...); with a cache also ``cache``, the new states;
            with ``aux`` also ``aux``: name -> list of arrays in layer order.
        """
        given = self._bound(args, inputs, cache)
        states = self.program.states
        results = self._run(*given, *(cache if cache is not None else (None,) * len(states)))
        names, sides = tuple(self.program.outputs), self.program.root.side
        outputs: dict[str, Any] = dict(zip(names, results, strict=False))
        if cache is not None:
            outputs["cache"] = list(results[len(names) + len(sides) :])
        if aux:
            outputs["aux"] = grouped(dict(zip(sides, results[len(names) :], strict=False)))
        return outputs

    def _bound(
        self, args: Sequence[Tensor], inputs: Mapping[str, Tensor | None], cache: Sequence[Tensor] | None
    ) -> list[Tensor | None]:
        """The inputs in program order."""
        declared = self.program.inputs
        required = [entry.name for entry in declared if not entry.optional]
        given: dict[str, Tensor | None] = {**dict(zip(required, args, strict=False)), **inputs}
        missing = [name for name in required if given.get(name) is None]
        unknown = [name for name in given if name not in {entry.name for entry in declared}]
        twice = [name for name in required[: len(args)] if name in inputs]
        if missing or unknown or twice or len(args) > len(required):
            message, cure = "these are not the inputs of the model", "pass the graph inputs by name"
            if (missing or unknown) and not twice:
                message, cure = misfit(missing=missing, unknown=unknown, known=[entry.name for entry in declared])
            raise UserError.of(
                "FX2001", message,
                expected=", ".join(f"{e.name}{' (optional)' if e.optional else ''}" for e in declared),
                found=f"{twice[0]} twice" if twice else ", ".join(given) or "nothing", cure=cure,
            )  # fmt: skip
        if any(given.get(entry.name) is not None for entry in declared if entry.role == "document_ids"):
            _require_packed(self.program, cached=cache is not None)
        for entry in declared:
            ids = self._read_in(entry.group, given) if entry.role == "mask" else None
            if ids is not None:  # the encoder's are no input of a decoder on its own
                past = self._past(entry.group, cache)
                mask = given.get(entry.name)
                if mask is None and cache is not None:
                    shape = (ids.shape[0], (past or 0) + ids.shape[1])
                    given[entry.name] = torch.ones(shape, dtype=torch.int64, device=ids.device)
                elif mask is not None and past is not None and not torch.compiler.is_compiling():
                    _require_mask(entry.name, mask, ids, past=past)
        return [given.get(entry.name) for entry in declared]

    def _read_in(self, group: str, given: Mapping[str, Tensor | None]) -> Tensor | None:
        """The ids or values of a group, if it has any here."""
        names = (e.name for e in self.program.inputs if e.group == group and e.role in ("ids", "values"))
        return next((given[name] for name in names), None)

    def _past(self, group: str, cache: Sequence[Tensor] | None) -> int | None:
        """Tokens of a group that a cache holds; None where no state tells."""
        decoded = self.program.decoded
        if cache is None or decoded is None or decoded.name != group:
            return 0
        return next((t.shape[s.axis] for s, t in zip(self.program.states, cache, strict=True) if s.axis), None)

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        fixed = (vars(self).get(name) for name in ("program", "spec"))  # nothing changes them
        memo.update({id(part): part for part in fixed if part is not None})
        return super().__deepcopy__(memo)

    def empty_cache(self, batch: int) -> list[Tensor]:
        """States before the first token, for a model without static states.

        Raises:
            TaskError: the model cannot be decoded.
        """
        reference = next(self.parameters(), torch.empty(0))
        return [
            empty_state(state, batch, dtype=reference.dtype, device=reference.device) for state in self.program.states
        ]


def to_torch(
    spec: Spec, weights: Mapping[str, Any] | None = None, *, seed: int = 0, dtype: torch.dtype | None = None,
    device: torch.device | str | None = None, allow_memory: bool = False, states: States = "full",
    base: type[FlexitModule] = FlexitModule,
) -> FlexitModule:  # fmt: skip
    """Build a spec as a PyTorch module, constructed on the meta device and filled once.

    Args:
        spec: what to build.
        weights: parameters by path: tensors, arrays (bf16 too) or nested lists of real numbers; without them they are
            drawn as the spec's ``init`` says.
        seed: of the draw; each parameter depends on it and on its own path alone.
        dtype: of the parameters, fp32 by default.
        device: where they live, the CPU by default; on ``meta`` nothing is drawn or allocated.
        allow_memory: build although the memory for it is not there.
        states: what decoding keeps; ``compact`` is less per token and more work at each step, for the same result, in
            models that have such a form (latent attention).
        base: class that the module's generated class derives from.

    Raises:
        SpecError: the spec does not build.
        ResourceError: FX1703, the parameters need more memory than there is; nothing was allocated.
        UserError: FX2002, ``weights`` lacks parameters, has others, or shapes differ; FX2007, another argument cannot
            be used; FX1702, there is no such device.
    """
    program = compile_spec(spec, states=states)
    kept, place, seed = floating(dtype), placed(device), whole(seed)
    require_mapping(weights)
    drawn = weights is None and place.type != "meta"
    _require_room(program, kept, place, drawn=drawn, allow=allow_memory)
    module = build(program, base)
    module.spec = spec
    if drawn:
        weights = initial_values(spec, program, seed=seed)
    fill(module, dict(module.named_parameters()) if weights is None else weights, dtype=kept, device=place)
    return module


def _require_room(program: Program, dtype: torch.dtype, device: torch.device, *, drawn: bool, allow: bool) -> None:
    """Raise where the parameters do not fit; those that are drawn are on the CPU in fp32 first."""
    count = count_parameters(program)
    needed = count * dtype.itemsize
    on_cpu = 4 * count * drawn + needed * (device.type == "cpu")
    cure = "build a smaller model, or a narrower dtype"
    require_memory(on_cpu, what="building the model", cure=cure, allow=allow)
    if device.type == "cuda":
        require_memory(needed, what="building the model", cure=cure, device=device, allow=allow)


def build(program: Program, base: type[FlexitModule] = FlexitModule) -> FlexitModule:
    """The module of a program with its parameters on the meta device."""
    compiler = RegionCompiler()
    compiled = _outermost(compiler, program, base)
    module = compiled.cls()
    assert isinstance(module, FlexitModule)
    module.program = program
    compiler.fill(module, compiled)
    return module


def class_of_program(base: type[FlexitModule], program: Program) -> type[RegionModule]:
    """The class of a program's module, by itself."""
    return _outermost(RegionCompiler(), program, base).cls


def _outermost(compiler: RegionCompiler, program: Program, base: type[FlexitModule]) -> Compiled:
    compiled = compiler.compile(program.root, base=base, masks=_masks(program))
    compiled.cls.forward = _with_signature(program, base)
    compiled.cls._recipe = Recipe(partial(class_of_program, base), program).made(compiled.cls)
    return compiled


def _masks(program: Program) -> dict[Value, Value]:
    """Masks of tokens, with the ids or values of the same tokens; an encoder's are no input of a decoder on its own."""
    read_in = {entry.group: entry.value for entry in reversed(program.inputs) if entry.role in ("ids", "values")}
    return {e.value: read_in[e.group] for e in program.inputs if e.role == "mask" and e.group in read_in}


def _with_signature(program: Program, base: type[FlexitModule]) -> Callable[..., dict[str, Any]]:
    """``forward`` that says its inputs by name, which ``help()`` shows and ``torch.export`` goes by.

    Static states of a decoder on its own are inputs too; what is a path in the program has no dots there.
    """
    arguments = _arguments(program)
    paths = {argument: name for name, argument in arguments.items()}

    def forward(self: FlexitModule, *args: Tensor, **inputs: Any) -> dict[str, Any]:
        return base.forward(self, *args, **{paths.get(name, name): value for name, value in inputs.items()})

    kind = inspect.Parameter
    names = sorted(program.inputs, key=lambda entry: entry.optional)
    parameters = [kind("self", kind.POSITIONAL_OR_KEYWORD)]
    parameters += [
        kind(arguments[entry.name], kind.POSITIONAL_OR_KEYWORD, default=None if entry.optional else kind.empty)
        for entry in names
    ]
    parameters += [kind("cache", kind.KEYWORD_ONLY, default=None), kind("aux", kind.KEYWORD_ONLY, default=False)]
    described: Any = forward  # no function type knows __signature__
    described.__signature__ = inspect.Signature(parameters)
    described.__doc__ = base.forward.__doc__
    return forward


def _require_packed(program: Program, *, cached: bool) -> None:
    """Refuse documents where they would be mixed, or where rows go on.

    Raises:
        UserError: FX0512, a block mixes them; FX2001, there is a cache.
    """
    if program.why_not_packed:
        raise UserError.of(
            "FX0512", "the model would mix packed documents", path="document_ids",
            expected="blocks that keep the documents of a row apart", found=program.why_not_packed,
            cure="leave document_ids out, and give each document a row of its own",
        )  # fmt: skip
    if cached:
        raise UserError.of(
            "FX2001", "packed rows are not decoded", path="document_ids", expected="one document a row with a cache",
            found="document_ids and a cache", cure="leave document_ids out",
        )  # fmt: skip


def _require_mask(name: str, mask: Tensor, ids: Tensor, *, past: int) -> None:
    expected = (ids.shape[0], past + ids.shape[1])
    if tuple(mask.shape) != expected:
        raise UserError.of(
            "FX2001", f"{name} does not fit", path=name, found=str(list(mask.shape)),
            expected=f"{list(expected)}: cached and new tokens of each row",
            cure="give a mask over all tokens so far, or none",
        )  # fmt: skip


def _arguments(program: Program) -> dict[str, str]:
    """An identifier for each input. Paths of states may differ in their dots alone; then the later one is numbered."""
    names: dict[str, str] = {}
    for entry in program.inputs:
        name = plain = entry.name.replace(".", "_")
        number = 1
        while name in names.values():
            number += 1
            name = f"{plain}_{number}"
        names[entry.name] = name
    return names


def fill(module: FlexitModule, values: Mapping[str, Any], *, dtype: torch.dtype, device: torch.device) -> None:
    """Give every parameter its value; buffers stay in fp32.

    Raises:
        UserError: a parameter is missing, unexpected or mis-shaped; all of them are listed.
    """
    names = dict(module.named_parameters())
    require_fitting({name: tuple(parameter.shape) for name, parameter in names.items()}, values)
    for name, parameter in names.items():
        owner, _, last = name.rpartition(".")
        given = values[name]
        on_meta = device.type == "meta" and isinstance(given, Tensor) and given.is_meta
        value = (given if on_meta else tensor_of(name, given)).detach().to(device=device, dtype=dtype, copy=True)
        module.get_submodule(owner).register_parameter(last, nn.Parameter(value, requires_grad=parameter.requires_grad))
    for child in module.modules():
        for name, buffer in child._buffers.items():
            child._buffers[name] = None if buffer is None else buffer.to(device)


def empty_state(state: State, batch: int, *, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Zeros of a state's shape with a past of length 0; ``dtype`` is that of its numbers, if they are no ids."""
    dtype = dtype if state.type.dtype == "f32" else torch.int64
    lengths = {name: 0 for dim in state.type.dims for name in symbols(dim)} | {"batch": batch}
    return torch.zeros([evaluate(dim, lengths) for dim in state.type.dims], dtype=dtype, device=device)


def grouped(sides: Mapping[str, Tensor]) -> dict[str, list[Tensor]]:
    """Side outputs by name, one per layer in order: ``decoder.layers.3.feed_forward.x`` belongs to ``decoder.x``."""
    found: dict[str, list[Tensor]] = {}
    for path, value in sides.items():
        found.setdefault(side_name(path), []).append(value)
    return found


def side_name(path: str) -> str:
    """The name under which the side output at a path is given."""
    block, _, _ = path.partition(".layers.")
    return path if block == path else f"{block}.{path.rpartition('.')[2]}"
