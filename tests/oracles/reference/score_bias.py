"""Score biases, pair by pair: what is added to the score of one query and one key, and to the value it brings."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from tests.oracles.reference.numbers import linear, normed


@dataclass
class Reader:
    """An attention that reads a bias.

    Attributes:
        path: of the attention's own parameters.
        q, k: ``[row, slot, head, channel]`` as they meet; ``k`` has ``groups`` heads.
        causal: whether no key comes after its query.
        scale: the factor on q.k.
        biased: which of its projections have a bias.
    """

    path: str
    q: np.ndarray
    k: np.ndarray
    rank: np.ndarray
    width: int
    v_dim: int
    causal: bool
    scale: float
    biased: dict[str, bool]

    @property
    def n_heads(self):
        return self.q.shape[2]

    @property
    def head_dim(self):
        return self.q.shape[3]

    def key_head(self, head):
        return head // (self.n_heads // self.k.shape[2])


class Nothing:
    """No bias; each bias says what differs. ``d`` is key - query in ranks, ``pair`` is row, query, key."""

    divisor = 1.0

    def inner(self, head: int, d: int, pair: Any) -> float:
        """Added to q.k, before scale and softcap."""
        return 0.0

    def outer(self, head: int, d: int, pair: Any) -> float:
        """Added after both."""
        return 0.0

    def value(self, head: int, d: int) -> Any:
        """Added to the value."""
        return 0.0


def read(run, bias, path, reader):
    """The bias of an attention, its own parameters below ``path``."""
    return Nothing() if bias is None else KINDS[bias.kind](run, bias, path, reader)


def two_sides(bias, reader):
    return bias.get("two_sided", not reader.causal)


def row_of(d, reach, sides):
    """In a table whose first row is that of -reach."""
    return min(max(d, -reach), reach if sides else 0) + reach


def rows_of(reach, sides):
    return 2 * reach + 1 if sides else reach + 1


class T5(Nothing):
    """A learned scalar per log-spaced bucket."""

    def __init__(self, run, bias, path, reader):
        self.n_buckets, self.max_distance = bias.get("n_buckets", 32), bias.get("max_distance", 128)
        self.sides = two_sides(bias, reader)
        self.weight = run.weight(f"{path}.weight", (self.n_buckets, reader.n_heads))

    def outer(self, head, d, pair):
        n = self.n_buckets // 2 if self.sides else self.n_buckets
        exact = n // 2
        a = abs(d) if self.sides else max(-d, 0)
        if a < exact:
            found = a
        else:
            steps = math.log(a / exact) / math.log(self.max_distance / exact) * (n - exact)
            found = min(n - 1, exact + math.floor(steps))
        return self.weight[found + n if self.sides and d > 0 else found, head]


class Alibi(Nothing):
    """-slope * |d|; rounded, slope * rank of the key."""

    def __init__(self, run, bias, path, reader):
        self.bias_max, self.rounded = bias.get("bias_max", 8.0), bias.get("round", None) is not None
        self.factor = reader.scale if bias.get("scaled", False) else 1.0
        self.n_heads, self.rank = reader.n_heads, reader.rank

    def slope(self, head):
        power = 2 ** math.floor(math.log2(self.n_heads))
        if head < power:
            return 2.0 ** (-self.bias_max * (head + 1) / power)
        return 2.0 ** (-self.bias_max * (2 * (head - power) + 1) / (2 * power))

    def outer(self, head, d, pair):
        if not self.rounded:
            return -self.slope(head) * abs(d) * self.factor
        row, _, key = pair
        return bf16(bf16(self.slope(head)) * bf16(int(self.rank[row, key]))) * self.factor


def bf16(number):
    """The nearest number with 8 significant bits, of two equally near ones the one that ends in 0."""
    if number == 0:
        return 0.0
    unit = 2.0 ** (math.floor(math.log2(abs(number))) - 7)
    return round(number / unit) * unit


class Distance(Nothing):
    """A learned scalar per distance."""

    def __init__(self, run, bias, path, reader):
        self.reach, self.sides = bias.get("max_distance"), two_sides(bias, reader)
        self.per_head = bias.get("per_head", True)
        columns = reader.n_heads if self.per_head else 1
        self.weight = run.weight(f"{path}.weight", (rows_of(self.reach, self.sides), columns))

    def outer(self, head, d, pair):
        return self.weight[row_of(d, self.reach, self.sides), head if self.per_head else 0]


class Relative(Nothing):
    """q . r_d, and r'_d added to the values (Shaw et al. 2018)."""

    def __init__(self, run, bias, path, reader):
        self.reader, self.reach, self.sides = reader, bias.get("max_distance"), two_sides(bias, reader)
        self.per_head, self.scaled = bias.get("per_head", False), bias.get("scaled", True)
        heads = (reader.n_heads,) if self.per_head else ()
        rows = rows_of(self.reach, self.sides)
        self.keys = run.weight(f"{path}.keys", (*heads, rows, reader.head_dim))
        added = bias.get("values", False)
        self.values = run.weight(f"{path}.values", (*heads, rows, reader.v_dim)) if added else None

    def vector(self, table, head, d):
        return (table[head] if self.per_head else table)[row_of(d, self.reach, self.sides)]

    def term(self, head, d, pair):
        row, query, _ = pair
        return float(self.reader.q[row, query, head] @ self.vector(self.keys, head, d))

    def inner(self, head, d, pair):
        return self.term(head, d, pair) if self.scaled else 0.0

    def outer(self, head, d, pair):
        return 0.0 if self.scaled else self.term(head, d, pair)

    def value(self, head, d):
        return 0.0 if self.values is None else self.vector(self.values, head, d)


class RelativeGlobal(Nothing):
    """q . e_d for every distance there may be (Huang et al. 2019)."""

    def __init__(self, run, bias, path, reader):
        self.reader, self.reach, self.sides = reader, bias.get("max_len") - 1, two_sides(bias, reader)
        self.per_head = bias.get("per_head", True)
        heads = (reader.n_heads,) if self.per_head else ()
        self.keys = run.weight(f"{path}.keys", (*heads, rows_of(self.reach, self.sides), reader.head_dim))

    def inner(self, head, d, pair):
        assert -self.reach <= d
        row, query, _ = pair
        table = self.keys[head] if self.per_head else self.keys
        return float(self.reader.q[row, query, head] @ table[d + self.reach if self.sides else min(d, 0) + self.reach])


class Disentangled(Nothing):
    """Content to position, q . k_row, and position to content, k . q_row (He et al. 2021)."""

    def __init__(self, run, bias, path, reader):
        self.reader, self.terms = reader, bias.get("terms", ["c2p", "p2c"])
        self.n_buckets, self.max_distance = bias.get("n_buckets"), bias.get("max_distance")
        self.divisor = math.sqrt(1 + len(self.terms))
        table = run.weight(f"{path}.table", (2 * self.n_buckets, reader.width))
        norm, shared = bias.one("norm", "Block", None), bias.get("share_projections", True)
        table = table if norm is None else normed(run, norm, f"{path}.norm", table)

        def projected(letter, heads):
            name = f"{letter}_proj" if shared else f"pos_{letter}_proj"
            d_out = heads * reader.head_dim
            rows = linear(run, f"{reader.path}.{name}", table, d_out=d_out, bias=reader.biased[letter])
            return rows.reshape(len(table), heads, reader.head_dim)

        self.keys = projected("k", reader.k.shape[2]) if "c2p" in self.terms else None
        self.queries = projected("q", reader.n_heads) if "p2c" in self.terms else None

    def row(self, r):
        m = self.n_buckets // 2
        b = r
        if abs(r) > m:
            share = math.log(abs(r) / m) / math.log((self.max_distance - 1) / m)
            b = (1 if r > 0 else -1) * (m + math.ceil(share * (m - 1) - 1e-9))
        return min(max(b + self.n_buckets, 0), 2 * self.n_buckets - 1)

    def inner(self, head, d, pair):
        row, query, key = pair
        group, at, total = self.reader.key_head(head), self.row(-d), 0.0
        if self.keys is not None:
            total += float(self.reader.q[row, query, head] @ self.keys[at, group])
        if self.queries is not None:
            total += float(self.reader.k[row, key, group] @ self.queries[at, head])
        return total


KINDS = {
    "t5": T5, "alibi": Alibi, "distance": Distance, "relative": Relative, "relative_global": RelativeGlobal,
    "disentangled": Disentangled,
}  # fmt: skip
