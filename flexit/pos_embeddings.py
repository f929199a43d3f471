"""Positions by class, as FlexiTransformers had them: tables that are added, rotations, and terms of attention scores.

There is one implementation: each class lowers what the spec language says of such positions.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, cast

import torch
from torch import Tensor, nn

from flexit.architectures import attention_spec, position_spec
from flexit.class_style import configured, described, lowered, refuse_unknown, refused, shape_of
from flexit.configs import ModelConfig, PeType
from flexit.ir.analysis.limits import limits_of
from flexit.ir.dims import symbol
from flexit.ir.expansion.edges import Axis
from flexit.ir.expansion.expander import Expander
from flexit.ir.expansion.formula import formula
from flexit.ir.language.masks import Full
from flexit.ir.language.rotary import Rotary
from flexit.ir.program import Value
from flexit.ir.score_bias.base import Heads, Reader
from flexit.ir.score_bias.shared import read
from flexit.ir.spec import Spec
from flexit.lower.torch.module import FlexitModule, build, fill

__all__ = [
    "ALiBiPositionalEncoding",
    "AbsolutePositionalEncoding",
    "LearnedPositionalEncoding",
    "PositionalEncoding",
    "RelativeBiasPositionalEncoding",
    "RelativeGlobalPositionalEncoding",
    "RelativePositionalEncoding",
    "RotaryPositionalEncoding",
]


class PositionalEncoding(nn.Module, ABC):
    """What tells a model where its tokens stand."""

    @abstractmethod
    def forward(self, x: Any, /) -> Tensor:
        """What the positions make of ``x``."""


class AbsolutePositionalEncoding(PositionalEncoding):
    """A row for each position, added: sines and cosines (Vaswani et al. 2017), or what a subclass puts in ``pe``.

    Attributes:
        pe: ``[1, max_len, d_model]``, a buffer; a subclass may replace it, by a parameter too.
        dropout: on the sum.
    """

    pe: Tensor | nn.Parameter

    def __init__(self, d_model: int, dropout: float = 0.1, max_len: int | None = None, **unknown: Any) -> None:
        """A table of sines and cosines.

        Args:
            d_model: width of the rows, even.
            dropout: probability that a number of the sum is dropped. A whole number of 1 or more in its place is
                ``max_len``, since FlexiTransformers' documentation leaves the probability out.
            max_len: rows, 5000 by default.
            unknown: other keywords, which are refused.

        Raises:
            UserError: a keyword is unknown or a value is wrong.
        """
        super().__init__()
        config = _sized("absolute", unknown, d_model=d_model, dropout=dropout, max_len=max_len)
        self.dropout = nn.Dropout(config.dropout)
        self.register_buffer("pe", _rows(config))

    def forward(self, x: Tensor) -> Tensor:
        """``x [batch, seq, d_model]`` plus the first ``seq`` rows.

        Raises:
            UserError: FX2001, it has another width, or is longer than the table.
        """
        _, rows, width = self.pe.shape
        if shape_of(x, 3) is None or x.shape[-1] != width or x.shape[1] > rows:
            raise refused(
                "x", "x does not fit", expected=f"[batch, at most {rows}, {width}]", found=described(x),
                cure="make the table longer with max_len, or correct d_model",
            )  # fmt: skip
        return self.dropout(x + self.pe[:, : x.shape[1]].to(x.dtype))


class LearnedPositionalEncoding(AbsolutePositionalEncoding):
    """A trained row for each position, added."""

    def __init__(self, d_model: int, dropout: float = 0.1, max_len: int | None = None, **unknown: Any) -> None:
        """The same arguments; first rows follow ``torch.manual_seed``.

        Raises:
            UserError: a keyword is unknown or a value is wrong.
        """
        PositionalEncoding.__init__(self)
        config = _sized("learned", unknown, d_model=d_model, dropout=dropout, max_len=max_len)
        self.dropout = nn.Dropout(config.dropout)
        self.pe = nn.Parameter(_rows(config))


class RotaryPositionalEncoding(PositionalEncoding):
    """Channels of queries and keys that turn with the position, in pairs (i, i + d_features / 2) (Su et al. 2021)."""

    def __init__(self, d_features: int, base: float = 10000.0, **unknown: Any) -> None:
        """A rotation.

        Args:
            d_features: how many channels of each head turn, the first ones; even.
            base: of the frequencies, over 1.
            unknown: other keywords, which are refused.

        Raises:
            UserError: a keyword is unknown or a value is wrong.
        """
        super().__init__()
        refuse_unknown(unknown, ("d_features", "base"))
        if isinstance(cast("object", d_features), int) and d_features % 2:
            raise refused(
                "d_features", "an odd number of channels would turn", expected="an even number", found=str(d_features),
                cure="change d_features",
            )  # fmt: skip
        config = configured({"d_features": "d_model", "base": "rope_base"}, d_features=d_features, base=base, n_heads=1)
        rotary: Rotary = _attention(attention_spec(config)).rotary

        def write(e: Expander, axis: Axis, heads: Value) -> Value:
            return rotary.rotation(e, axis, d_features, causal=False).turned(e, heads)

        self.d_features = d_features
        self.lowered = build(formula("rotary", write, n_heads=symbol("heads"), width=symbol("width")))

    def forward(self, x: Tensor) -> Tensor:
        """``x [batch, heads, seq, channels]`` turned by the positions 0, 1, ...; channels beyond d_features stay.

        Raises:
            UserError: FX2001, it has other dims or fewer channels.
        """
        if shape_of(x, 4) is None or x.shape[-1] < self.d_features:
            raise refused(
                "x", "x does not fit", expected=f"[batch, heads, seq, at least {self.d_features}]",
                found=described(x), cure="give the heads of queries or keys, or correct d_features",
            )  # fmt: skip
        return _run(self.lowered, x)


class _Term(PositionalEncoding):
    """A term of attention scores, with the parameters that the attention of the same positions has."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        attention = lowered(attention_spec(config))
        block = _attention(attention.spec)
        width = config.d_model // config.n_heads
        known = Heads(
            n_heads=config.n_heads, n_kv_heads=config.n_heads, head_dim=width, v_head_dim=width,
            width=config.d_model, key_width=config.d_model, mask=Full(), sinks=False,
        )  # fmt: skip

        def write(e: Expander, axis: Axis, heads: Value) -> Value:
            reader = Reader(
                heads=known, axis=axis, q=heads, k=heads, scale=1.0, project_q=lambda rows: rows,
                project_k=lambda rows: rows, biased=(False, False),
            )  # fmt: skip
            terms = read(e, block, block.scores.bias, reader=reader)
            term = terms.inner or terms.outer
            assert term is not None
            return term

        self.lowered = build(formula(config.pe_type, write, n_heads=config.n_heads, width=width))
        self._longest = limits_of(self.lowered.program).tokens.get("attention_mask")
        own = {name.removeprefix("attention."): value for name, value in attention.named_parameters()}
        needed = dict(self.lowered.named_parameters())
        fill(self.lowered, {name: own[name] for name in needed}, dtype=torch.float32, device=torch.device("cpu"))


class _OfDistance(_Term):
    """A term that depends on distances alone."""

    def forward(self, seq_len: int, device: torch.device | str | None = None) -> Tensor:
        """For each pair of query and key of ``seq_len`` positions: ``[n_heads or 1, seq_len, seq_len]``.

        Raises:
            UserError: FX2001, the sequence is longer than ``max_len``.
        """
        longest = self.config.max_seq_len
        if not isinstance(cast("object", seq_len), int) or isinstance(seq_len, bool) or not 1 <= seq_len <= longest:
            raise refused(
                "seq_len", "seq_len is out of range", expected=f"from 1 to max_len, which is {longest}",
                found=described(seq_len), cure="give another length, or make max_len larger",
            )  # fmt: skip
        parts = (*self.lowered.parameters(), *self.lowered.buffers())
        like = parts[0]
        heads = torch.zeros(1, self.config.n_heads, seq_len, self.config.d_model // self.config.n_heads)
        return _run(self.lowered, heads.to(like)).squeeze(0).to(device or like.device)


class ALiBiPositionalEncoding(_OfDistance):
    """A penalty that grows with the distance, by one slope for each head (Press et al. 2022)."""

    def __init__(self, num_heads: int, max_len: int = 5000, **unknown: Any) -> None:
        """The penalties of ``num_heads`` heads for up to ``max_len`` positions.

        Raises:
            UserError: a keyword is unknown or a value is wrong.
        """
        refuse_unknown(unknown, ("num_heads", "max_len"))
        _require_size(num_heads=num_heads)
        names = {"num_heads": "n_heads", "max_len": "max_seq_len"}
        super().__init__(
            configured(names, pe_type="alibi", num_heads=num_heads, d_model=num_heads, max_len=max_len)
        )  # fmt: skip


class RelativeBiasPositionalEncoding(_OfDistance):
    """A trained number for each distance, the same for all heads."""

    def __init__(self, max_len: int = 1024, **unknown: Any) -> None:
        """The numbers of up to ``max_len`` positions.

        Raises:
            UserError: a keyword is unknown or a value is wrong.
        """
        refuse_unknown(unknown, ("max_len",))
        names = {"max_len": "max_seq_len"}
        super().__init__(configured(names, pe_type="relative_bias", n_heads=1, d_model=1, max_len=max_len))


class _OfQueries(_Term):
    """A term that depends on the queries, too."""

    def forward(self, query: Tensor) -> Tensor:
        """Of ``query [batch, n_heads, seq, d_k]``: ``[batch, n_heads, seq, seq]``.

        Raises:
            UserError: FX2001, it has other dims, or is longer than the table.
        """
        expected = (self.config.n_heads, self.config.d_model // self.config.n_heads)
        if shape_of(query, 4) is None or (query.shape[1], query.shape[3]) != expected:
            raise refused(
                "query", "query does not fit", expected=f"[batch, {expected[0]}, seq, {expected[1]}]",
                found=described(query), cure="give queries by head",
            )  # fmt: skip
        longest = self._longest
        if longest is not None and query.shape[2] > longest:
            raise refused(
                "query", "query is longer than the table of distances", expected=f"at most {longest}, which is max_len",
                found=str(query.shape[2]), cure="make max_len larger, or the sequence shorter",
            )  # fmt: skip
        return _run(self.lowered, query)


class RelativePositionalEncoding(_OfQueries):
    """Products of queries with a trained vector for each distance (Shaw et al. 2018), which are not scaled."""

    def __init__(self, n_heads: int, d_k: int, max_len: int = 1024, **unknown: Any) -> None:
        """One vector of ``d_k`` numbers for each distance, clipped at ``max_len - 1``.

        Raises:
            UserError: a keyword is unknown or a value is wrong.
        """
        refuse_unknown(unknown, ("n_heads", "d_k", "max_len"))
        super().__init__(_by_head("relative", n_heads=n_heads, d_k=d_k, max_len=max_len))


class RelativeGlobalPositionalEncoding(_OfQueries):
    """Products of queries with a trained vector for each head and distance (Huang et al. 2019), before the scale."""

    def __init__(self, n_heads: int, d_k: int, max_len: int = 1024, **unknown: Any) -> None:
        """One vector of ``d_k`` numbers for each head and distance, of sequences of up to ``max_len``.

        Raises:
            UserError: a keyword is unknown or a value is wrong.
        """
        refuse_unknown(unknown, ("n_heads", "d_k", "max_len"))
        super().__init__(_by_head("relative_global", n_heads=n_heads, d_k=d_k, max_len=max_len))


def _sized(
    pe_type: PeType, unknown: Mapping[str, Any], *, d_model: int, dropout: float, max_len: int | None
) -> ModelConfig:
    """The config of a table; see :class:`AbsolutePositionalEncoding` on the second argument."""
    refuse_unknown(unknown, ("d_model", "dropout", "max_len"))
    if max_len is None:
        is_length = isinstance(dropout, int) and dropout >= 1 and not isinstance(dropout, bool)
        dropout, max_len = (0.1, int(dropout)) if is_length else (dropout, 5000)
    names = {"max_len": "max_seq_len"}
    return configured(names, pe_type=pe_type, d_model=d_model, n_heads=1, dropout=dropout, max_len=max_len)


def _rows(config: ModelConfig) -> Tensor:
    """The table of a config, ``[1, max_seq_len, d_model]``: what is added to rows of zeros."""
    nothing = torch.zeros(1, config.max_seq_len, config.d_model)
    with torch.no_grad():
        return lowered(position_spec(config))(hidden_states=nothing)["last_hidden_state"]


def _by_head(pe_type: PeType, *, n_heads: int, d_k: int, max_len: int) -> ModelConfig:
    """The config of positions that queries of ``n_heads`` heads of ``d_k`` channels meet."""
    _require_size(n_heads=n_heads)
    _require_size(d_k=d_k)
    names = {"max_len": "max_seq_len"}
    return configured(names, pe_type=pe_type, n_heads=n_heads, d_model=n_heads * d_k, max_len=max_len)


def _require_size(**argument: int) -> None:
    """Raise, at the place of an argument, unless it is what the config calls a size."""
    (name,) = argument
    configured({name: "d_ff"}, **argument)


def _attention(spec: Spec) -> Any:
    """The only block of an attention's spec, of the kind that :func:`attention_spec` says."""
    (block,) = spec.blocks.values()
    return block


def _run(module: FlexitModule, heads: Tensor) -> Tensor:
    """A formula on heads without padding."""
    mask = torch.ones(heads.shape[0], heads.shape[2], dtype=torch.int64, device=heads.device)
    return module(heads=heads, attention_mask=mask)["result"]
