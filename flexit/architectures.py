"""From a :class:`~flexit.configs.ModelConfig` to the spec that says the same, one function per topology."""

from __future__ import annotations

from typing import Any, Literal

from flexit import blocks
from flexit.configs import ModelConfig
from flexit.ir.builder import Graph, Part, Ref
from flexit.ir.spec import Spec

GATED = {"geglu": "gelu", "swiglu": "silu"}
INITS = {"xavier": "xavier_uniform", "kaiming": "kaiming_uniform", "scaled": "normal"}


def spec_of(config: ModelConfig) -> Spec:
    """The spec of a config.

    Embeddings are multiplied by the square root of the width (Vaswani et al. 2017); attention that looks at itself has
    the positions, attention to an encoder has none.

    Raises:
        UserError: it lacks a vocabulary.
        SpecError: its numbers do not fit together.
    """
    return {
        "decoder-only": _decoder_only,
        "encoder-only": _encoder_only,
        "encoder-decoder": _encoder_decoder,
    }[config.topology](config)


def _decoder_only(config: ModelConfig) -> Spec:
    graph = _graph("decoder-only", config)
    rows = _embedding(graph, config, "tgt", name="embed")
    hidden = _stack(graph, rows, config=config, side="tgt", causal=True)
    return _scored(graph, hidden, config, table="embed")


def _encoder_only(config: ModelConfig) -> Spec:
    graph = _graph("encoder-only", config)
    rows = _embedding(graph, config, "src", name="embed")
    hidden = _stack(graph, rows, config=config, side="src", causal=False)
    if config.num_classes is not None:
        pool = "first" if config.pooling == "cls" else config.pooling
        dense = {"activation": "tanh", "bias": True}
        logits = graph.sequence_classifier(
            hidden, name="head", n_labels=config.num_classes, pool=pool, dense=dense, dropout=config.dropout
        )
        graph.output("logits", logits)
    graph.output("last_hidden_state", hidden)
    return graph.spec()


def _encoder_decoder(config: ModelConfig) -> Spec:
    graph = _graph("encoder-decoder", config)
    source, target = graph.input("input_ids"), graph.input("decoder_input_ids")
    read = _embedding(graph, config, "src", source, name="source")
    memory = _stack(graph, read, config=config, side="src", causal=False)
    written = _embedding(graph, config, "tgt", target, name="target")
    hidden = _stack(graph, written, config=config, side="tgt", causal=True, memory=memory)
    return _scored(graph, hidden, config, table="target")


def _graph(name: str, config: ModelConfig) -> Graph:
    kind = INITS.get(config.init_method, config.init_method)
    drawn: dict[str, Any] = {"kind": kind, **({"std": config.init_std} if kind == "normal" else {})}
    init = {"default": drawn}
    if config.init_method == "scaled":
        init["residual_projection"] = {**drawn, "depth_scaled": True}
    return Graph(name, init=init)


def _embedding(graph: Graph, config: ModelConfig, side: Literal["src", "tgt"], *edges: Ref, name: str) -> Ref:
    position = _table(config)
    return graph.embedding(
        *edges, name=name, vocab_size=config.vocabulary(side), d_model=config.d_model, multiplier="sqrt_d_model",
        position=position, dropout=config.dropout if position is not None else 0.0,
    )  # fmt: skip


def _table(config: ModelConfig) -> Part | None:
    """Positions that are added to rows."""
    if config.pe_type == "absolute":
        return blocks.Sinusoidal()
    return blocks.Learned(max_len=config.max_seq_len) if config.pe_type == "learned" else None


def _stack(
    graph: Graph, x: Ref, *, config: ModelConfig, side: Literal["src", "tgt"], causal: bool, memory: Ref | None = None
) -> Ref:
    cross = None if memory is None else blocks.MultiHead(**attention_fields(config))
    layer = blocks.TransformerLayer(
        norm=_norm(config), norm_placement="pre" if config.pre_norm else "post", dropout=config.dropout,
        attention=blocks.MultiHead(
            **attention_fields(config), **position_fields(config), mask=blocks.Causal() if causal else blocks.Full()
        ),
        cross_attention=cross, feed_forward=_feed_forward(config),
    )  # fmt: skip
    ports = {} if memory is None else {"memory": memory}
    name = "encoder" if side == "src" else "decoder"
    return graph.stack(
        x, name=name, **ports, n_layers=config.depth(side), layer=layer, final_norm=config.pre_norm
    )  # fmt: skip


def _scored(graph: Graph, hidden: Ref, config: ModelConfig, *, table: str) -> Spec:
    own = {"tied_to": table} if config.tie_word_embeddings else {"vocab_size": config.vocabulary("tgt")}
    graph.output("logits", graph.lm_head(hidden, name="head", **own))
    graph.output("last_hidden_state", hidden)
    return graph.spec()


def _norm(config: ModelConfig) -> Part:
    make = blocks.LayerNorm if config.norm_type == "layernorm" else blocks.RmsNorm
    return make(eps=config.norm_eps)


def attention_spec(config: ModelConfig, *, memory: bool = False) -> Spec:
    """The spec of one attention over given rows: ``hidden_states [batch, seq, d_model]`` among themselves, under a mask
    that is full, causal or between the two by ``prefix_lengths``; or, with positions of neither, over ``memory``.

    Raises:
        SpecError: the numbers of the config do not fit together.
    """
    graph = _graph("attention", config)
    rows = graph.input("hidden_states", "sequence", width=config.d_model)
    fields = attention_fields(config)
    if memory:
        other = graph.input("memory", "sequence", width=config.d_model)
        graph.multi_head(rows, memory=other, name="attention", **fields)
    else:
        graph.multi_head(rows, name="attention", **fields, **position_fields(config), mask=blocks.Prefix())
    return graph.spec()


def position_spec(config: ModelConfig) -> Spec:
    """The spec of adding the positions of a config to given rows ``hidden_states [batch, seq, d_model]``.

    Raises:
        SpecError: the width does not fit.
    """
    graph = _graph("positions", config)
    rows = graph.input("hidden_states", "sequence", width=config.d_model)
    graph.add_position(rows, name="positions", position=_table(config))
    return graph.spec()


def attention_fields(config: ModelConfig) -> dict[str, Any]:
    """What every attention of a model says."""
    dropped = config.dropout if config.attention_dropout is None else config.attention_dropout
    return {"n_heads": config.n_heads, "bias": config.attention_bias, "dropout": dropped}


def position_fields(config: ModelConfig) -> dict[str, Any]:
    """What self-attention knows of positions."""
    furthest = max(1, config.max_seq_len - 1)
    if config.pe_type == "rotary":
        dim = int(config.d_model // config.n_heads * config.rope_percentage)
        return {"rotary": {"theta": config.rope_base, "dim": dim}}
    biases = {
        "alibi": blocks.Alibi,
        "relative": lambda: blocks.Relative(max_distance=furthest, scaled=False),
        "relative_global": lambda: blocks.RelativeGlobal(max_len=config.max_seq_len),
        "relative_bias": lambda: blocks.Distance(max_distance=furthest, per_head=False),
    }
    return {"scores": {"bias": biases[config.pe_type]()}} if config.pe_type in biases else {}


def _feed_forward(config: ModelConfig) -> Part:
    dropped = config.dropout if config.ff_dropout is None else config.ff_dropout
    gate = GATED.get(config.ff_activation)
    make = blocks.Mlp if gate is None else blocks.GatedMlp
    return make(d_ff=config.d_ff, activation=gate or config.ff_activation, bias=config.ff_bias, dropout=dropped)
