"""``as_family``: a spec and its parameters as a configuration and tensors that ``transformers`` reads."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import numpy as np

from flexit.convert.accounting import known_numbers
from flexit.convert.importing import scope_of, template_of
from flexit.convert.mapping.family import Family, Head, depth_of, family_names, find_family
from flexit.convert.mapping.forms import Data, Found, Incomplete, Mismatch, same
from flexit.convert.mapping.keys import keys_read
from flexit.convert.mapping.layers import UNROLLED, unrolled
from flexit.convert.mapping.rules import copy_of
from flexit.convert.pairing import Pair, pairs_of, rules_of
from flexit.convert.readable import readable
from flexit.convert.sentence_transformers import bare_encoder, pooled_as, with_pool
from flexit.convert.sources.source import Source
from flexit.convert.tensors import DTYPES, Array, LazyTensor, combined
from flexit.errors import SourceError, UserError
from flexit.ir.analysis.structure import structure
from flexit.ir.compile import compile_spec
from flexit.ir.io.load import check_tree
from flexit.ir.language.written import Node
from flexit.ir.spec import Spec
from flexit.ir.weights import require_fitting
from flexit.ir.wording import shown

VARIATION = ("layer", "variants", "pattern", "layers")
"""Fields of a stack that say what its list of layers says."""


@dataclass(frozen=True, slots=True)
class Written:
    """A model as another library has it.

    Attributes:
        config: the configuration.
        tensors: every tensor by its name there; each is made when it is asked for.
        pool: the block that makes a vector of a bare encoder's states, which modules of sentence-transformers say.
    """

    config: Data
    tensors: Mapping[str, LazyTensor]
    pool: Data | None = None


def as_family(
    spec: Spec, weights: Mapping[str, Any], family: str | None = None, *, beside: Mapping[str, Any] | None = None
) -> Written:
    """A model in the words of a family that can say it.

    Args:
        spec: what it is.
        weights: its parameters by path: arrays, tensors of PyTorch, or :class:`LazyTensor`.
        family: which; by default, of those that fit, one that extends none, and then the one that needs fewest keys.
        beside: what else the configuration is to say, such as ``pad_token_id``: keys that change nothing of the model.

    Raises:
        SourceError: FX1870, no family fits; it names the block where the nearest one does not.
    """
    nearest: tuple[int, str, Mismatch] | None = None
    fits: list[tuple[Family, Head, Data]] = []
    data, pool = unrolled(spec), pooled_as(spec)
    for name in family_names() if family is None else (family,):
        known = find_family(name)
        for head in _heads(known, pool):
            found = Found(known.varying)
            try:
                config = config_from(spec, data, known, head=head, found=found)
            except Mismatch as error:
                if nearest is None or found.agreed > nearest[0]:
                    nearest = (found.agreed, name, error)
                continue
            fits.append((known, head, config))
    if fits:  # one that extends none, with fewest words
        known, head, config = fits[0] if len(fits) == 1 else min(fits, key=lambda fit: words(fit[0], fit[2]))
        tensors = tensors_from(spec, weights, known, head=head, config=config)
        return Written({**config, **(beside or {})}, tensors, pool)
    assert nearest is not None
    _, name, error = nearest
    path = ".".join(error.path).replace(UNROLLED, "layers")
    raise SourceError.of(
        "FX1870", "no family can say this model" if family is None else f"{family} cannot say this model",
        path=path, expected=f"{worded(error.expected)} ({name}, the nearest)", found=worded(error.found),
        cure="change the block, or keep the model as a checkpoint or a bundle",
    )  # fmt: skip


def _heads(family: Family, pool: Data | None) -> Iterable[Head]:
    """Models of a family; for a spec with a vector its bare encoder with this pool alone."""
    if pool is None:
        return family.heads.values()
    bare = bare_encoder(family)
    return () if bare is None else (with_pool(bare, template_of(family, bare)["blocks"], pool),)


def worded(value: object) -> str:
    """What stands at a place of a spec, or does not."""
    return "nothing there" if value is None else value if isinstance(value, str) else shown(value)


def words(family: Family, config: Data) -> tuple[bool, int, int]:
    """Whether a family extends another one, how many keys its configuration has, and how far it extends."""
    depth = depth_of(family.family)
    return depth > 0, len(config), depth


def config_from(spec: Spec, data: Data, family: Family, *, head: Head, found: Found) -> Data:
    """The configuration that gives a spec.

    Raises:
        Mismatch: none of this family does.
    """
    for _ in range(2):  # what is computed of two keys is read once one of them is known
        found.read(template_of(family, head), data)
    config = _settled(found, family, head)
    again = spec_from(config, family, head)
    if again is None:
        raise Mismatch(f"a configuration of {family.family}", "values that make none", ("blocks",))
    if not same_program(spec, again):
        raise first_difference(unrolled(again), data) or Mismatch("the same computation", "another", ("blocks",))
    return {"architectures": head.architectures[:1], "model_type": family.family, **config}


def first_difference(made: Any, found: Any, path: tuple[str, ...] = ()) -> Mismatch | None:
    """Where the spec that a configuration gives differs from the one that is asked for."""
    if isinstance(made, dict) and isinstance(found, dict):
        one, other = cast("Data", made), cast("Data", found)
        keys = [
            key
            for key in dict.fromkeys(("blocks", *other, *one))
            if key not in ("name", "description", "init", "dropout", *VARIATION)
        ]
        pairs = [(str(key), one.get(key), other.get(key)) for key in keys]
    elif isinstance(made, list) and isinstance(found, list) and len(cast("list[Any]", made)) == len(found):
        several = zip(cast("list[Any]", made), cast("list[Any]", found), strict=True)
        pairs = [(str(index), *both) for index, both in enumerate(several)]
    else:
        return None if same(made, found) else Mismatch(made, found, path)
    return next((at for key, *both in pairs if (at := first_difference(*both, path=(*path, key)))), None)


def _settled(found: Found, family: Family, head: Head) -> Data:
    """Keys of the configuration from what was read."""
    keys: Data = {}
    for key in found.keys:
        value = found.whole(key)
        if key in family.derived:
            below = Found(frozenset())
            below.read(family.derived[key], value)
            keys |= below.keys
        else:
            keys[key] = value
    labels = keys.pop("num_labels", None)
    if labels is not None:
        keys["id2label"] = {str(index): f"LABEL_{index}" for index in range(labels)}
        keys["label2id"] = {f"LABEL_{index}": index for index in range(labels)}
    read = keys_read(family)
    for key, value in {**family.keys, **head.keys}.items():
        if key in read and key not in keys.keys() | family.write.keys() and not _is_form(value):
            keys[key] = value
    return _nested({**family.write, **keys})


def _nested(keys: Data) -> Data:
    """Keys ``outer.inner`` as mappings."""
    found: Data = {}
    for key, value in keys.items():
        outer, _, inner = key.partition(".")
        found[outer] = (
            {**found.get(outer, {}), **({inner: value} if inner else value)} if inner or outer in found else value
        )
    return found


def _is_form(value: Any) -> bool:
    return isinstance(value, dict | list) or str(value).startswith("$")


def spec_from(config: Data, family: Family, head: Head) -> Spec | None:
    """The spec that a configuration gives, if it gives one."""
    scope = scope_of(Source(config, {}, None, ""), family, head, tied={})
    try:
        data = scope.fill(template_of(family, head))
    except Incomplete:
        return None
    checked = check_tree(Node.of({"flexit": 1, "name": family.family, **readable(data)}))
    return checked.spec if checked.valid else None


def same_program(one: Spec, other: Spec) -> bool:
    """Whether two specs compute the same of the same parameters, dropout aside."""
    programs = [compile_spec(spec) for spec in (one, other)]
    texts = [structure(program.root, training=False) for program in programs]
    outputs = [list(program.outputs) for program in programs]
    inputs = [[entry.name for entry in program.inputs] for program in programs]
    return texts[0] == texts[1] and outputs[0] == outputs[1] and inputs[0] == inputs[1]


# ---- the tensors


def tensors_from(
    spec: Spec, weights: Mapping[str, Any], family: Family, *, head: Head, config: Data
) -> dict[str, LazyTensor]:
    """Their tensors by name, each made of ours when it is asked for.

    Raises:
        SourceError: FX1852, a parameter that no rule of the family holds.
    """
    prefix = family.prefix if head.prefix is None else head.prefix
    scope = scope_of(Source(config, {}, None, ""), family, head, tied={})
    shapes = {param.path: param.shape for param in compile_spec(spec).params()}
    pairs = pairs_of(rules_of(family, head, prefix), shapes, scope)
    require_fitting(shapes, weights)
    ours = {path: as_lazy(weights[path], path) for path in shapes}
    found: dict[str, LazyTensor] = {}
    for pair in pairs:
        parts = [ours[path] for path in pair.ours]
        for index, name in enumerate(pair.theirs):
            found[name] = combined(parts, pair.shape, partial(_joined, pair, index))
    for known in known_numbers(family, prefix=prefix, paths=shapes):
        found[known.name] = known.like(ours[known.path])
    dead = {name: copy_of(written).of for name, written in family.copies.items() if copy_of(written).dead}
    for before in ("", prefix):
        found = {before + name: found[before + of] for name, of in dead.items() if before + of in found} | found
    return found


def _joined(pair: Pair, index: int, arrays: Sequence[Array]) -> Array:
    parts = [array[index] for array in arrays] if pair.stacked else arrays
    return np.ascontiguousarray(pair.layout.join(parts))


def as_lazy(value: Any, path: str = "weights") -> LazyTensor:
    """An array, or a tensor of PyTorch, as something that is read when it is asked for.

    Raises:
        UserError: FX2002, its number format is none that checkpoints have.
    """
    if isinstance(value, LazyTensor):
        return value
    if hasattr(value, "detach"):  # PyTorch's, which need not be imported for it
        name = _name_of(str(value.dtype), TORCH, path)
        return LazyTensor(tuple(value.shape), name, lambda: _of_torch(value))
    array = np.asarray(value)
    name = _name_of(array.dtype, {dtype: name for name, dtype in DTYPES.items()}, path)
    return LazyTensor(array.shape, name, lambda: array)


TORCH = {
    "torch.float64": "F64", "torch.float32": "F32", "torch.float16": "F16", "torch.bfloat16": "BF16",
    "torch.int64": "I64", "torch.int32": "I32", "torch.int16": "I16", "torch.int8": "I8", "torch.uint8": "U8",
    "torch.bool": "BOOL",
}  # fmt: skip
"""Number formats of PyTorch, and what checkpoints call them."""


def _name_of(dtype: Any, names: Mapping[Any, str], path: str) -> str:
    if dtype not in names:
        raise UserError.of(
            "FX2002", "is in a number format that checkpoints have not", path=path,
            expected=f"one of {', '.join(names.values())}", found=str(dtype), cure="convert it to one of these",
        )  # fmt: skip
    return names[dtype]


def _of_torch(tensor: Any) -> Array:
    import torch

    plain = tensor.detach().cpu().contiguous()
    if plain.dtype == torch.bfloat16:
        return plain.view(torch.int16).numpy().view(DTYPES["BF16"])
    return plain.numpy()
