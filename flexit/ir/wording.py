"""How messages word things: values as written, lists of names, the nearest name."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Sequence
from math import isqrt
from typing import Any, cast

LONGEST = 60


def shown(value: Any) -> str:
    """A value as it would be written, on one line and not too long."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        plain = value.isprintable() and value != "" and value == value.strip()
        return cut(value if plain else json.dumps(value))
    if isinstance(value, dict):
        entries = list(cast("dict[Any, Any]", value).items())
        inside = ", ".join(f"{shown(key)}: {shown(entry)}" for key, entry in entries[:4])
        return cut(f"{{{inside}{', ...' if len(entries) > 4 else ''}}}")
    if isinstance(value, list):
        items = cast("list[Any]", value)
        return cut(f"[{', '.join(shown(entry) for entry in items[:6])}{', ...' if len(items) > 6 else ''}]")
    return cut(str(value))


def typed(value: Any) -> str:
    """A value with what it is: ``the text "8000" (quoted)``."""
    if isinstance(value, str):
        return f"the text {cut(json.dumps(value, ensure_ascii=False))}"
    if value is None:
        return "null"
    if isinstance(value, bool):
        return f"the truth value {shown(value)}"
    if isinstance(value, dict):
        return f"the mapping {shown(value)}"
    if isinstance(value, list):
        return f"the list {shown(value)}"
    return f"the {'integer' if isinstance(value, int) else 'number'} {shown(value)}"


def cut(text: str) -> str:
    """``text`` on one line, its end left out where it is long."""
    text = text.replace("\n", "\\n")
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."


def either(words: Iterable[str]) -> str:
    """``a, b or c``."""
    words = list(words)
    return " or ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def divisors(number: int) -> list[int]:
    """All divisors, in order: what messages offer."""
    small = [n for n in range(1, isqrt(number) + 1) if number % n == 0]
    return sorted({*small, *(number // n for n in small)})


def several(words: Iterable[str]) -> str:
    """``a, b and c``."""
    words = list(words)
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


OTHER_NAMES: dict[str, tuple[str, ...]] = {
    "n_heads": ("num_heads", "heads", "nhead", "num_attention_heads"),
    "n_kv_heads": ("kv_heads", "num_kv_heads", "num_key_value_heads", "n_groups"),
    "head_dim": ("d_head", "head_size", "d_k", "d_kv"),
    "v_head_dim": ("d_v",),
    "d_ff": ("intermediate_size", "ffn_dim", "hidden_dim", "hidden_size", "d_hidden", "d_inner", "n_inner"),
    "d_model": ("hidden_size", "hidden_dim", "embed_dim", "embedding_dim", "n_embd", "model_dim", "dim", "width"),
    "d_out": ("out_features", "output_dim", "dim", "width"),
    "n_layers": ("num_layers", "num_hidden_layers", "depth"),
    "vocab_size": ("n_vocab", "num_embeddings"),
    "max_len": ("max_position_embeddings", "max_positions", "n_positions", "n_ctx", "max_seq_len", "context_length"),
    "rotary": ("rope", "rotary_emb", "rotary_embedding"),
    "theta": ("rope_theta", "base"),
    "attention": ("attn", "self_attn", "self_attention", "mixer"),
    "cross_attention": ("cross_attn", "encoder_attn"),
    "feed_forward": ("ffn", "ff", "feedforward"),
    "norm_placement": ("norm_first", "pre_norm", "post_norm", "norm_position"),
    "final_norm": ("norm_f", "ln_f", "last_norm"),
    "norm": ("normalization", "normalisation", "norm_type"),
    "eps": ("epsilon", "layer_norm_eps", "rms_norm_eps", "norm_eps"),
    "activation": ("act", "act_fn", "hidden_act", "activation_function"),
    "dropout": ("attention_dropout", "attn_dropout", "hidden_dropout"),
    "tied_to": ("tied", "tie", "tie_weights", "tie_embeddings", "tie_word_embeddings"),
    "n_experts": ("num_experts", "num_local_experts", "n_routed_experts"),
    "top_k": ("num_experts_per_tok", "experts_per_token"),
    "expert": ("experts",),
    "window": ("sliding_window", "window_size"),
    "softcap": ("logit_softcap", "attn_logit_softcapping"),
    "n_labels": ("num_labels", "num_classes", "n_classes"),
    "token_types": ("type_vocab_size", "n_token_types"),
    "position": ("positional_encoding", "position_encoding", "position_embedding", "pos_encoding", "pos_embedding"),
    "kernel": ("kernel_size",),
    "pattern": ("layer_pattern", "layer_types"),
    "lr": ("learning_rate",),
    "steps": ("max_steps", "max_iters", "iterations", "total_steps"),
    "seq_len": ("block_size", "sequence_length", "context_length", "max_seq_len", "max_length"),
    "accumulate": ("gradient_accumulation_steps", "grad_accum", "accumulation"),
    "warmup": ("warmup_steps",),
    "out": ("out_dir", "output_dir"),
    "files": ("paths", "path", "file"),
}
"""Field -> names that other libraries have for it. One name may stand for several, of which a class has one."""

_FIELDS = {other: [field for field, names in OTHER_NAMES.items() if other in names]
           for names in OTHER_NAMES.values() for other in names}  # fmt: skip


def plain(word: str) -> str:
    """A name as they are written here: in lower case, its parts joined by underscores."""
    return word.strip().lower().replace("-", "_").replace(" ", "_")


def same(word: str, known: Iterable[str]) -> str | None:
    """The known name that another library calls ``word``, or that differs from it only in how it is spelt."""
    spelt = {plain(name): name for name in known}
    return next((spelt[name] for name in (plain(word), *_FIELDS.get(plain(word), ())) if name in spelt), None)


def nearest(word: str, known: Sequence[str]) -> str | None:
    """The known word that means ``word``, else the one most like it, if any is like it."""
    meant = same(word, known)
    if meant is not None:
        return meant
    spelt = {plain(name): name for name in known}
    near = difflib.get_close_matches(plain(word)[:LONGEST], list(spelt), 1, 0.6)
    longer = [name for name in known if len(word) > 2 and name.startswith(word)]
    return spelt[near[0]] if near else longer[0] if len(longer) == 1 else None


def article(noun: str) -> str:
    """``noun`` with its indefinite article."""
    return f"{'an' if noun[:1].lower() in 'aeiou' else 'a'} {noun}"
