"""A large model in miniature: every kind, field and ratio kept, so that what runs of the small one says something about
the large one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product
from math import gcd
from typing import Any, cast

from flexit.ir.io.load import Checked, check_tree
from flexit.ir.language.layers import LayerPlan, Varied
from flexit.ir.language.written import Node
from flexit.ir.spec import Spec, walk_blocks

MODEL_WIDTHS = frozenset({"d_model", "d_ff", "d_out", "width", "dim", "q_lora_rank", "kv_lora_rank"})
HEAD_WIDTHS = frozenset({"head_dim", "v_head_dim", "qk_nope_head_dim", "qk_rope_head_dim"})
HEAD_COUNTS = frozenset({"n_heads", "n_kv_heads"})
TOKEN_IDS = frozenset({"pad_id", "mask_id"})
PER_PAIR = frozenset({"short_factor", "long_factor"})
SMALLEST = {"model": 16, "head": 8, "rotary": 4, "vocabulary": 97, "experts": 4}
"""What nothing is reduced below, unless it is smaller already."""

Edit = Callable[[str, str, Any], Any]
Data = dict[str, Any]


def shrink(spec: Spec) -> Spec:
    """The same architecture with smaller widths, fewer layers, tokens and experts.

    Head counts are divided by one number, the channels of heads by another and the widths of the model by their
    product, so that their ratios stay (but for rounding to even numbers). Depth is reduced as long as every stack
    has as many distinct layers as before. Everything else (windows, table lengths, kernels, numbers of labels,
    scales, patterns) stays as it is.

    Args:
        spec: a valid spec.

    Returns:
        A valid spec that warns of the same things; ``spec`` itself where nothing can be reduced.
    """
    data = cast("Data", json.loads(json.dumps(_data(spec))))
    if not _checked(data).valid:
        return spec
    for reduce in (_depth, _widths, _vocabulary, _experts):
        data = reduce(data)
    small = _checked(data).spec
    return spec if small is None else small


def _data(spec: Spec) -> Data:
    from flexit.ir.io.canonical import canonical

    return canonical(spec) if spec.node is None else spec.node.plain()


def _checked(data: Data) -> Checked:
    return check_tree(Node.of(data))


def _numbers(data: Any, key: str = "", parent: str = "") -> Iterator[tuple[str, str, int]]:
    """Every integer with the key it stands under and the key of the mapping around it."""
    if isinstance(data, dict):
        for name, value in cast("Data", data).items():
            yield from _numbers(value, name, key)
    elif isinstance(data, list):
        for value in cast("list[Any]", data):
            yield from _numbers(value, key, parent)
    elif isinstance(data, int) and not isinstance(data, bool):
        yield key, parent, data


def _edited(data: Any, edit: Edit, *, key: str = "", parent: str = "") -> Any:
    """A copy in which ``edit(key, parent, value)`` has been asked for every scalar and every list of factors."""
    if isinstance(data, dict):
        return {name: _edited(value, edit, key=name, parent=key) for name, value in cast("Data", data).items()}
    if isinstance(data, list) and key not in PER_PAIR:
        return [_edited(value, edit, key=key, parent=parent) for value in cast("list[Any]", data)]
    return edit(key, parent, data)


def _accepted(data: Data, before: Checked) -> bool:
    after = _checked(data)
    warned = {problem.code for problem in after.problems}
    return after.valid and warned == {problem.code for problem in before.problems}


# ---- depth


def _depth(data: Data) -> Data:
    """Fewest layers, for all stacks of one depth at once: they may be wired layer by layer."""
    before = _checked(data)
    for depth in sorted({number for key, _, number in _numbers(data) if key == "n_layers"}):
        for fewer in range(min(2, depth), depth):
            small = _edited(data, _replacing("n_layers", depth, fewer))
            if _accepted(small, before) and _shape_of_depth(small) == _shape_of_depth(data):
                data = small
                break
    return data


def _replacing(name: str, old: int, new: int) -> Edit:
    return lambda key, _parent, value: new if key == name and value == old else value


def _shape_of_depth(data: Data) -> list[object]:
    """What fewer layers must not change: the distinct layers and sets of each stack, and which layers are read."""
    spec = _checked(data).spec
    found: list[object] = []
    depths: dict[str, int] = {}
    for path, block in walk_blocks(spec.blocks) if spec else ():
        if isinstance(block, Varied):
            shared = getattr(block, "share", None)
            alone = shared is not None and shared.groups >= block.n_layers
            found.append((path, len(LayerPlan.of(block).blocks), alone))
            depths[path] = block.n_layers
    read = re.findall(r"([\w.]+)\.layers\[(-?\d+)\]", json.dumps(data))
    layers = {(name, int(index) % depths.get(name, 10**9)) for name, index in read}
    return [*found, len(layers)]


# ---- widths


@dataclass(frozen=True)
class Division:
    """What head counts, channels of heads and widths of the model are divided by."""

    heads: int
    channels: int

    def exact(self, key: str, parent: str, value: int) -> bool:
        """Whether a width is divided without a remainder."""
        role = _role(key, parent)
        return role is None or value % (self.channels * (self.heads if role == "model" else 1)) == 0

    def edit(self, key: str, parent: str, value: Any) -> Any:
        """``value`` as it is in the small model."""
        if key in PER_PAIR and isinstance(value, list):
            factors = cast("list[float]", value)
            return factors[:: self.channels][: max(1, len(factors) // self.channels)]
        if not isinstance(value, int) or isinstance(value, bool):
            return value
        if key in HEAD_COUNTS:
            return value // self.heads
        role = _role(key, parent)
        if role is None or value <= SMALLEST[role]:
            return value
        divisor = self.channels * (self.heads if role == "model" else 1)
        return value // divisor if value % divisor == 0 else 2 * round(value / divisor / 2)


def _widths(data: Data) -> Data:
    """The smallest valid widths; those that keep all ratios exactly, if they are not twice as large."""
    before = _checked(data)
    numbers = list(_numbers(data))
    heads = [number for key, _, number in numbers if key in HEAD_COUNTS]
    model = max((number for key, _, number in numbers if key in MODEL_WIDTHS), default=SMALLEST["model"])
    channels = range(1, model // SMALLEST["model"] + 1)
    divisions = [Division(*pair) for pair in product(_divisions(heads), channels)]
    divisions.sort(key=lambda division: (-division.heads * division.channels, -division.heads))
    found: Data | None = None
    for division in divisions:
        if found is None or _is_exact(division, numbers):
            small = _edited(data, division.edit)
            if _is_large_enough(division, numbers) and _accepted(small, before):
                if _is_exact(division, numbers):
                    return small if found is None or _width(small) < 2 * _width(found) else found
                found = found or small
    return found or data


def _divisions(heads: list[int]) -> list[int]:
    """Numbers that divide all head counts and leave at least two of each, where there were two."""
    common = gcd(*heads) if heads else 1
    small = min((count for count in heads if count > 1), default=1)
    return [n for n in range(1, common + 1) if common % n == 0 and (n == 1 or small // n >= 2)]


def _is_exact(division: Division, numbers: list[tuple[str, str, int]]) -> bool:
    return all(division.exact(key, parent, number) for key, parent, number in numbers)


def _is_large_enough(division: Division, numbers: list[tuple[str, str, int]]) -> bool:
    """Whether no width falls below the smallest, also of heads that are as wide as the model leaves them."""
    both = division.heads * division.channels
    for key, parent, number in numbers:
        role = _role(key, parent)
        divisor = both if role == "model" else division.channels
        if role is not None and number // divisor < min(number, SMALLEST[role]):
            return False
    widths = [number for key, _, number in numbers if key == "d_model"]
    heads = [number for key, _, number in numbers if key == "n_heads"]
    if not widths or not heads or any(key == "head_dim" for key, _, _ in numbers):
        return True
    return min(widths) // max(heads) // division.channels >= SMALLEST["head"]


def _role(key: str, parent: str) -> str | None:
    """What sort of width stands under a key, if one does."""
    if key == "dim" and parent == "rotary":
        return "rotary"
    return "head" if key in HEAD_WIDTHS else "model" if key in MODEL_WIDTHS else None


def _width(data: Data) -> int:
    return max((number for key, _, number in _numbers(data) if key in MODEL_WIDTHS), default=0)


# ---- vocabulary and experts


def _vocabulary(data: Data) -> Data:
    """Tables of about a hundred rows, different where they were, with a row for every id that is named."""
    numbers = list(_numbers(data))
    named = max((number + 1 for key, _, number in numbers if key in TOKEN_IDS), default=0)
    sizes = sorted({number for key, _, number in numbers if key == "vocab_size"})
    smaller = {size: min(size, max(SMALLEST["vocabulary"], named) + 4 * place) for place, size in enumerate(sizes)}
    return _edited(data, lambda key, _parent, value: smaller[value] if key == "vocab_size" else value)


def _experts(data: Data) -> Data:
    """Fewest experts of which as large a share is chosen, but two where several were."""
    before = _checked(data)
    most = max((number for key, _, number in _numbers(data) if key == "n_experts"), default=0)

    for fewer in range(SMALLEST["experts"], most):
        small = _edited(data, _share_of_experts(fewer, most))
        if _accepted(small, before):
            return small
    return data


def _share_of_experts(fewer: int, most: int) -> Edit:
    def divided(key: str, parent: str, value: Any) -> Any:
        if key == "n_experts" and isinstance(value, int):
            return max(min(value, SMALLEST["experts"]), value * fewer // most)
        if key == "top_k" and parent != "groups" and isinstance(value, int):
            return max(min(2, value), value * fewer // most)
        return value

    return divided
