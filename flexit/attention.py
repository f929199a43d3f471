"""Attention by class, as FlexiTransformers had it: ``attention(query, key, value, mask)``.

    attention = RotaryMultiHeadAttention(n_heads=8, d_model=512)
    y = attention(x, x, x, mask)

There is one implementation: each class writes the spec of one ``multi_head`` block and runs what it lowers to.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

from flexit.architectures import attention_spec, position_fields
from flexit.class_style import (
    agree,
    configured,
    described,
    lowered,
    refuse_unknown,
    refused,
    says_more,
    shape_of,
    visible,
)
from flexit.configs import ModelConfig, PeType
from flexit.ir.analysis.limits import limits_of
from flexit.ir.compile import compile_spec
from flexit.ir.spec import Spec
from flexit.lower.torch.module import build

__all__ = [
    "ALiBiMultiHeadAttention",
    "AbsoluteMultiHeadedAttention",
    "AbstractAttention",
    "MultiHeadedAttention",
    "RelativeBiasMultiHeadAttention",
    "RelativeGlobalAttention",
    "RelativeMultiHeadAttention",
    "RotaryMultiHeadAttention",
]


class AbstractAttention(nn.Module, ABC):
    """The projections of an attention; a class of your own says in ``forward`` what it does with them.

    Attributes:
        config: what it was built from.
        spec: a spec whose only block has these projections.
        q_proj, k_proj, v_proj, o_proj: linear maps of width ``d_model`` with biases, the parameters of that block.
    """

    config: ModelConfig
    spec: Spec
    q_proj: nn.Linear
    k_proj: nn.Linear
    v_proj: nn.Linear
    o_proj: nn.Linear

    pe_type: ClassVar[PeType] = "none"
    """What it knows of positions, in the words of :class:`~flexit.configs.ModelConfig`."""

    def __init__(self, n_heads: int, d_model: int, dropout: float = 0.1, **unknown: Any) -> None:
        """First weights follow ``torch.manual_seed``.

        Raises:
            UserError: a keyword is unknown or a value is wrong.
        """
        super().__init__()
        refuse_unknown(unknown, ("n_heads", "d_model", "dropout"))
        self._lower(n_heads=n_heads, d_model=d_model, dropout=dropout)

    def _lower(self, **fields: Any) -> None:
        """Take the parameters of the block that a config of these fields says."""
        config = configured({"max_len": "max_seq_len"}, pe_type=self.pe_type, **fields)
        within = lowered(attention_spec(config))
        self.config = config
        self.spec = within.spec
        for name, part in within.get_submodule("attention").named_children():
            self.add_module(name, part)
        self._longest = limits_of(within.program).tokens.get("attention_mask")
        self._forms = {"within": within}
        if not position_fields(config):
            self._forms["across"] = build(compile_spec(attention_spec(config, memory=True)))
        for part in self._blocks():
            vars(part)["_modules"] = self._modules  # so that what replaces a projection is used in every form

    def _blocks(self) -> list[nn.Module]:
        """The attention of each form. Forms are no children: their parameters are those of this module."""
        return [form.get_submodule("attention") for form in self._forms.values()]

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        super()._apply(fn, recurse)
        for part in (*self._forms.values(), *self._blocks()):
            for name, buffer in part._buffers.items():
                part._buffers[name] = None if buffer is None else fn(buffer)
        return self

    def train(self, mode: bool = True) -> Self:
        super().train(mode)
        for form in self._forms.values():
            form.train(mode)
        return self

    def _form(self, name: str) -> nn.Module | None:
        """A form of this attention, if it has it, in the mode of this module: whoever sets modes part by part misses
        the forms, which are no children.
        """
        form = self._forms.get(name)
        if form is not None and form.training != self.training:
            shared = set(self.modules())
            for part in form.modules():
                if part not in shared:
                    part.training = self.training
        return form

    @property
    def n_heads(self) -> int:
        """Heads."""
        return self.config.n_heads

    @property
    def d_model(self) -> int:
        """Width of the model."""
        return self.config.d_model

    @property
    def d_k(self) -> int:
        """Channels of a head."""
        return self.d_model // self.n_heads

    @property
    def dropout(self) -> float:
        """Probability that a weight of the attention is dropped in training."""
        return self.config.dropout

    @abstractmethod
    def forward(  # noqa: PLR0917 (the order of FlexiTransformers)
        self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None
    ) -> Tensor:
        """``query [batch, queries, d_model]`` over ``key`` and ``value [batch, keys, d_model]``, under a mask that is
        true where a query sees a key: ``[batch, queries, d_model]``.
        """

    def projected(self, query: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values by head: each ``[batch, n_heads, length, d_k]``."""
        pairs = ((self.q_proj, query), (self.k_proj, key), (self.v_proj, value))
        q, k, v = (project(rows).unflatten(-1, (self.n_heads, self.d_k)).transpose(1, 2) for project, rows in pairs)
        return q, k, v

    def joined(self, heads: Tensor) -> Tensor:
        """What the heads ``[batch, n_heads, length, d_k]`` found, together: ``[batch, length, d_model]``."""
        return self.o_proj(heads.transpose(1, 2).flatten(-2))


class MultiHeadedAttention(AbstractAttention):
    """Softmax attention as the spec language defines it, lowered; the base of all classes here that compute."""

    def forward(  # noqa: PLR0917 (the order of FlexiTransformers)
        self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None
    ) -> Tensor:
        """Attention of a sequence to itself (one tensor, given three times), or without positions to another.

        Args:
            query: ``[batch, queries, d_model]``.
            key: ``query`` itself, or ``[batch, keys, d_model]``.
            value: the same tensor as ``key``.
            mask: true, or not 0 (of floats 1), where a query sees a key: ``[batch, keys]`` or ``[batch, 1, keys]`` for
                padding, ``[batch or 1, queries, keys]`` of a sequence to itself also for causality, or causality after
                a prefix; without one a query sees all keys.

        Returns:
            ``[batch, queries, d_model]``.

        Raises:
            UserError: FX2001, a shape does not fit; keys and values differ; a mask hides other pairs; or keys are of
                another sequence, to which this class has no positions; or a sequence is longer than its tables.
        """
        self._require(query, key, value)
        if query is key:
            shown, prefixes = _within(mask, query)
            given: dict[str, Tensor] = {"attention_mask": shown, "prefix_lengths": prefixes}
            self._require_reached(shown)
            within = self._form("within")
            assert within is not None
            return within(hidden_states=query, **given)["last_hidden_state"]
        across = self._form("across")
        if across is None:
            raise refused(
                "key", f"{type(self).__name__} compares positions of one sequence",
                expected="the query itself, as key and value", found="another tensor",
                cure="pass one tensor three times; over another sequence use AbsoluteMultiHeadedAttention",
            )  # fmt: skip
        given = {"memory": key, "memory_attention_mask": _across(mask, query, key)}
        return across(hidden_states=query, **given)["last_hidden_state"]

    def _require(self, query: Tensor, key: Tensor, value: Tensor) -> None:
        for name, rows in (("query", query), ("key", key), ("value", value)):
            shape = shape_of(rows, 3)
            if shape is None or shape[-1] != self.d_model or shape[0] != query.shape[0]:
                batch = "batch" if rows is query else query.shape[0]
                raise refused(
                    name, f"{name} does not fit", expected=f"[{batch}, length, {self.d_model}]",
                    found=described(rows), cure="correct its shape, or d_model",
                )  # fmt: skip
        if key is not value:
            raise refused(
                "value", "keys and values are of different rows", expected="key and value to be one tensor",
                found="two tensors", cure="pass the same tensor as key and value",
            )  # fmt: skip

    def _require_reached(self, shown: Tensor) -> None:
        longest = self._longest
        if longest is None or shown.shape[1] <= longest or int(shown.sum(-1).max()) <= longest:
            return
        raise refused(
            "query", "query is longer than the table of distances", expected=f"at most {longest} rows, padding apart",
            found=str(int(shown.sum(-1).max())), cure="make max_len larger, or the sequence shorter",
        )  # fmt: skip


class AbsoluteMultiHeadedAttention(MultiHeadedAttention):
    """Attention that knows no positions (Vaswani et al. 2017); tables added to its input may tell them."""


class RotaryMultiHeadAttention(MultiHeadedAttention):
    """Attention whose queries and keys are turned by their positions (Su et al. 2021)."""

    pe_type = "rotary"

    def __init__(  # noqa: PLR0917 (the order of FlexiTransformers)
        self, n_heads: int, d_model: int, rope_percentage: float = 0.5, dropout: float = 0.1, *,
        rope_base: float = 10000.0, **unknown: Any,
    ) -> None:  # fmt: skip
        """Attention that turns ``rope_percentage`` of the channels of each head, with frequencies of ``rope_base``."""
        nn.Module.__init__(self)
        refuse_unknown(unknown, ("n_heads", "d_model", "rope_percentage", "dropout", "rope_base"))
        self._lower(
            n_heads=n_heads, d_model=d_model, rope_percentage=rope_percentage, dropout=dropout, rope_base=rope_base
        )  # fmt: skip


class ALiBiMultiHeadAttention(MultiHeadedAttention):
    """Attention with a penalty that grows with the distance (Press et al. 2022)."""

    pe_type = "alibi"


class _Relative(MultiHeadedAttention):
    """Attention with something learned for each distance."""

    def __init__(  # noqa: PLR0917 (the order of FlexiTransformers)
        self, n_heads: int, d_model: int, max_len: int = 1024, dropout: float = 0.1, **unknown: Any
    ) -> None:
        """Attention with tables for sequences of up to ``max_len`` rows."""
        nn.Module.__init__(self)
        refuse_unknown(unknown, ("n_heads", "d_model", "max_len", "dropout"))
        self._lower(n_heads=n_heads, d_model=d_model, max_len=max_len, dropout=dropout)


class RelativeMultiHeadAttention(_Relative):
    """Attention with a vector per distance (Shaw et al. 2018), added after the scale and clipped at ``max_len - 1``."""

    pe_type = "relative"


class RelativeBiasMultiHeadAttention(_Relative):
    """Attention with a number per distance for all heads, clipped at ``max_len - 1``."""

    pe_type = "relative_bias"


class RelativeGlobalAttention(_Relative):
    """Attention with a vector per head and distance (Huang et al. 2019), of sequences of up to ``max_len`` rows."""

    pe_type = "relative_global"


def _within(mask: Tensor | None, rows: Tensor) -> tuple[Tensor, Tensor]:
    """What a mask says of a sequence that looks at itself: ``int64 [batch, length]``, 1 where a row is no padding, and
    ``int64 [batch]``, how many unpadded rows see each other whatever their order; later ones see what is before them.
    """
    batch, length, _ = rows.shape
    whole = torch.full((batch,), length, device=rows.device)
    if mask is None:
        return torch.ones(batch, length, dtype=torch.int64, device=rows.device), whole
    shown = visible(mask, "mask", batch=batch, queries=length, keys=length).to(rows.device)
    keys = shown.any(1)
    if shown.shape[1] == 1:
        return keys.long(), whole
    first = keys.long().argmax(-1)  # of the rows that are no padding
    lengths = shown[torch.arange(batch, device=rows.device), first].sum(-1)
    ahead = (keys.cumsum(-1) - keys.long()) < lengths[:, None]
    order = torch.ones(length, length, dtype=torch.bool, device=rows.device).tril()
    if not agree(shown, keys[:, None, :] & (order | (ahead[:, :, None] & ahead[:, None, :])), keys):
        raise says_more(
            "mask", "padding, causality and a prefix",
            "say windows and the like in a spec, as the mask of its multi_head, or derive from AbstractAttention",
        )  # fmt: skip
    return keys.long(), lengths


def _across(mask: Tensor | None, query: Tensor, key: Tensor) -> Tensor:
    """``int64 [batch, keys]``: the padding of another sequence."""
    batch, length, _ = key.shape
    if mask is None:
        return torch.ones(batch, length, dtype=torch.int64, device=key.device)
    shown = visible(mask, "mask", batch=batch, queries=query.shape[1], keys=length).to(key.device)
    if not torch.equal(shown[:, :1].expand_as(shown), shown):
        raise says_more(
            "mask", "padding, and the keys are not the query",
            "pass a mask that is the same for all queries; a sequence that looks at itself is one tensor, three times",
        )  # fmt: skip
    return shown[:, 0].long()
