"""What the language reference says of every kind: traits, ports and fields. Written from the reference by hand, as the
one thing in these tests that knows kinds by name; nothing here is read off flexit's classes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

TEXT = """
tokens: Input
  like text inferred
sequence: Input
  width int>=1 required
  like text inferred
vector: Input
  width int>=1 required

embedding: Block | tokens=tokens token_types?=tokens > sequence
  vocab_size int>=1 inferred
  d_model int>=1 inferred
  projection Projection|null null
  multiplier float>0|sqrt_d_model 1.0
  position Position|null null
  token_types int>=1|null null
  norm Norm|null null
  norm_at token|sum|projected "sum"
  token_dropout TokenDropout|null null
  dropout float[0,1) 0.0
  tied_to text|null null
Projection:
  dim int>=1 required
  bias bool false
  at token|sum "sum"
TokenDropout:
  mask_id int>=0 required
  ratio float[0,1) 0.12
learned: Position
  max_len int>=1 required
  offset int>=0 0
  ids Ids "rank"
sinusoidal: Position
  style interleaved|concat|fairseq "interleaved"
  theta float>0 10000.0
  offset int>=0 0
  ids Ids "rank"
rank: Ids
slot: Ids
non_pad_cumsum: Ids
  pad_id int>=0 required
add_position: Block | x=sequence > sequence
  position Position required
stack: Block | x=sequence ... > sequence layers
  n_layers int>=1 required
  layer template required
  variants map(override) {}
  pattern list(text|list(text)) ["default"]
  layers map(text|list(text)) {}
  score_bias Bias|null null
  final_norm bool|Norm false
  share Share|null null
  drop_path_rate constant|linear "constant"
Share:
  groups int>=1 required
  order consecutive|cyclic "consecutive"
transformer_layer: Block | x=sequence memory?=sequence > sequence
  norm Norm|null required
  norm_placement pre|post|sandwich|reordered|set(input,output,residual) absent
  norm_on set(attention,cross_attention,feed_forward) inferred
  attention Mixer|null required
  cross_attention Mixer|null null
  feed_forward FeedForward|null required
  order list(attention|cross_attention|feed_forward) inferred
  residual Residual "sequential"
  dropout float[0,1) 0.0
  drop_path float[0,1) 0.0
sequential: Residual
  multiplier float>0|map(float>0) 1.0
  skip_multiplier float>0 1.0
  layer_scale float|null null
  skip_from input|normed "input"
parallel: Residual
  norms shared|separate "shared"
  multiplier float>0 1.0
  skip_multiplier float>0 1.0
  layer_scale float|null null
graph: Block | x=sequence/tokens/vector ... > same
  blocks map(Block) required
residual: Block | x=sequence ... > sequence
  body Block required
  norm Norm|null null
  norm_placement pre|post|sandwich|reordered|set(input,output,residual) absent
  multiplier float>0 1.0
  skip_multiplier float>0 1.0
  layer_scale float|null null
  dropout float[0,1) 0.0
  drop_path float[0,1) 0.0

multi_head: Block Mixer | x=sequence memory?=sequence > sequence
  n_heads int>=1 required
  n_kv_heads int>=1 inferred
  head_dim int>=1 inferred
  v_head_dim int>=1 inferred
  bias bool|AttentionBias false
  rotary Rotary|null null
  mask Mask inferred
  clip_qkv float>0|null null
  qk Qk {}
  scores Scores {}
  output Output {}
  dropout float[0,1) 0.0
AttentionBias:
  q bool false
  k bool false
  v bool false
  o bool false
Qk:
  norm Norm|null null
  over head|all "head"
  gain shared|per_head "shared"
  at before_rotary|after_rotary "before_rotary"
Scores:
  scale float>0|rsqrt_head_dim "rsqrt_head_dim"
  inverse_layer_scale bool false
  softcap float>0|null null
  bias Bias|null null
  sinks learned|zero|null null
  temperature Temperature|null null
Temperature:
  scale float>0 required
  floor int>=1 required
  offset 0|1 0
Output:
  norm Norm|null null
  gate sigmoid|null null
mla: Block Mixer | x=sequence > sequence
  n_heads int>=1 required
  q_lora_rank int>=1|null null
  kv_lora_rank int>=1 required
  qk_nope_head_dim int>=1 required
  qk_rope_head_dim int>=1 required
  v_head_dim int>=1 required
  norm Norm "rms_norm"
  rotary Rotary required
  mask Mask required
  bias bool false
  scores Scores {}
  dropout float[0,1) 0.0
short_conv: Block Mixer | x=sequence > sequence
  kernel int>=2 required
  bias bool false
full: Mask
  window int>=1|null null
  chunk int>=1|null null
  keep_first int>=0 0
causal: Mask
  window int>=1|null null
  chunk int>=1|null null
  keep_first int>=0 0
prefix: Mask
  window int>=1|null null
Rotary:
  theta float>0 10000.0
  style half|interleaved "half"
  dim int>=2 inferred
  scaling Scaling|null null
Scaling.linear: Scaling
  factor float>0 required
dynamic: Scaling
  factor float>0 required
  original_max_len int>=1 required
ntk: Scaling
  alpha float>0 required
proportional: Scaling
  factor float>0 1.0
yarn: Scaling
  factor float>=1 required
  original_max_len int>=1 required
  beta_fast float>0 32.0
  beta_slow float>0 1.0
  truncate bool true
  attention_factor float>0 inferred
  mscale float>0|null null
  mscale_all_dim float>0|null null
llama3: Scaling
  factor float>0 required
  low_freq_factor float>0 required
  high_freq_factor float>0 required
  original_max_len int>=1 required
longrope: Scaling
  short_factor list(float>0) required
  long_factor list(float>0) required
  original_max_len int>=1 required
  factor float>=1 required
  attention_factor float>0 inferred
alibi: Bias
  bias_max float>0 8.0
  scaled bool false
  round bf16|null null
t5: Bias
  n_buckets int>=2 32
  max_distance int>=2 128
  two_sided bool inferred
distance: Bias
  max_distance int>=1 required
  per_head bool true
  two_sided bool inferred
relative: Bias
  max_distance int>=1 required
  per_head bool false
  scaled bool true
  values bool false
  two_sided bool inferred
relative_global: Bias
  max_len int>=1 required
  per_head bool true
  two_sided bool inferred
disentangled: Bias
  terms set(c2p,p2c) ["c2p","p2c"]
  n_buckets int>=2 required
  max_distance int>=2 required
  share_projections bool true
  norm Norm|null null

mlp: Block FeedForward | x=sequence > sequence
  d_ff int>=1 required
  activation relu|relu2|gelu|gelu_tanh|quick_gelu|silu|tanh|sigmoid|identity|xielu "gelu"
  bias bool|MlpBias false
  norm Norm|null null
  dropout float[0,1) 0.0
gated_mlp: Block FeedForward | x=sequence > sequence
  d_ff int>=1 required
  activation relu|relu2|gelu|gelu_tanh|quick_gelu|silu|tanh|sigmoid|identity|xielu "silu"
  bias bool|MlpBias false
  norm Norm|null null
  clamp Clamp|null null
  dropout float[0,1) 0.0
MlpBias:
  in bool false
  out bool false
Clamp:
  gate_max float>0 required
  up_abs float>0 required
  up_offset float 0.0
moe: Block FeedForward | x=sequence > sequence
  n_experts int>=1 required
  top_k int>=1 required
  expert FeedForward required
  router Router {}
  shared FeedForward|null null
  shared_gate bool false
Router:
  bias bool false
  score softmax|sigmoid|none "softmax"
  selection_bias bool false
  groups RouterGroups|null null
  after_top_k softmax|sigmoid|none "none"
  normalize bool false
  scale float>0 1.0
  weight_on output|input "output"
RouterGroups:
  n_groups int>=1 required
  top_k int>=1 required
  score max|top2_sum "max"
layer_norm: Block Norm | x=sequence/vector > same
  eps float>0 1e-5
  gain bool|scalar true
  bias bool true
  gain_offset float 0.0
rms_norm: Block Norm | x=sequence/vector > same
  eps float>0 1e-6
  gain bool|scalar true
  gain_offset float 0.0
  fp32_gain bool false
std_norm: Block Norm | x=sequence/vector > same
  eps float>0 1e-6
add: Block | x*=sequence/vector > same
multiply: Block | x*=sequence/vector > same
concat: Block | x*=sequence/vector > same
  axis channels|length "channels"
slice: Block | x=sequence > sequence
  start int 0
  stop int|null null
learned_tokens: Block | like=sequence > sequence
  n_tokens int>=1 required
unpool: Block | x=vector > sequence
  n_tokens int>=1 required
  bias bool false
dot_product: Block | x*=vector > logits
weighted_sum: Block | x*=sequence/vector > same
  weights scalar|channel "scalar"
  softmax bool false
  initial list(float)|null null
linear: Block | x=sequence/vector > same
  d_out int>=1 required
  bias bool false
  activation relu|relu2|gelu|gelu_tanh|quick_gelu|silu|tanh|sigmoid|identity|xielu|null null
dropout: Block | x=sequence/vector > same
  p float(0,1) required
pool: Block | x=sequence > vector
  method first|last|mean|max required
  dense Dense|null null
  normalize bool false
Dense:
  dim int>=1 inferred
  activation relu|relu2|gelu|gelu_tanh|quick_gelu|silu|tanh|sigmoid|identity|xielu|null "tanh"
  norm Norm|null null
  bias bool false
downsample: Block | x=sequence > sequence
  factor int>=2 required
  method mean|max|first "mean"
upsample: Block | x=sequence like=sequence > sequence
  factor int>=2 required
lm_head: Block | x=sequence > logits
  vocab_size int>=1 inferred
  tied_to text|null null
  bias bool false
  projection HeadProjection|null null
  input_multiplier float>0|rsqrt_d_model 1.0
  multiplier float>0 1.0
  softcap float>0|null null
HeadProjection:
  dim int>=1 required
  bias bool false
mlm_head: Block | x=sequence > logits
  vocab_size int>=1 inferred
  tied_to text|null null
  bias bool true
  dense MlmDense|null {}
MlmDense:
  dim int>=1 inferred
  activation relu|relu2|gelu|gelu_tanh|quick_gelu|silu|tanh|sigmoid|identity|xielu|null "gelu"
  norm Norm|null "layer_norm"
  bias bool true
sequence_classifier: Block | x=sequence/vector > logits
  n_labels int>=1 required
  pool first|last|mean|max absent
  dense Dense|null null
  dropout float[0,1) 0.0
  bias bool true
regression: Block | x=sequence/vector > logits
  n_labels int>=1 required
  pool first|last|mean|max absent
  dense Dense|null null
  dropout float[0,1) 0.0
  bias bool true
token_classifier: Block | x=sequence > logits
  n_labels int>=1 required
  dense Dense|null null
  dropout float[0,1) 0.0
  bias bool true
span: Block | x=sequence > logits
  dropout float[0,1) 0.0
  bias bool true

normal: Init
  std float>0|rsqrt_d_model|rsqrt_fan_in|rsqrt_fan_in_head_dim 0.02
  depth_scaled bool false
truncated_normal: Init
  std float>0|rsqrt_d_model|rsqrt_fan_in|rsqrt_fan_in_head_dim 0.02
  depth_scaled bool false
xavier_uniform: Init
  gain float>0 1.0
  depth_scaled bool false
xavier_normal: Init
  gain float>0 1.0
  depth_scaled bool false
kaiming_uniform: Init
  gain float>0 1.4142135623730951
  fan in|out "in"
kaiming_normal: Init
  gain float>0 1.4142135623730951
  fan in|out "in"
uniform: Init
  limit float>0 required
orthogonal: Init
  gain float>0 1.0
constant: Init
  value float required
zeros: Init
ones: Init
"""

EVERY_BLOCK = """
  from edges inferred
  shares text|null null
  init map(Init) {}
"""

DOCUMENT = """
Document:
  flexit 1 required
  name text required
  description text|null null
  inputs map(Input) {"input_ids": "tokens"}
  outputs map(text) inferred
  init map(Init) {"default": {"kind": "normal", "std": 0.02}}
  blocks map(Block) required
"""


@dataclass(frozen=True)
class Field:
    """A row of the reference: the alternatives of its type, and its default or what stands in the place of one."""

    types: tuple[str, ...]
    default: Any
    required: bool = False
    inferred: bool = False

    @property
    def nullable(self) -> bool:
        return "null" in self.types


@dataclass(frozen=True)
class Port:
    types: tuple[str, ...]
    optional: bool = False
    variadic: bool = False


@dataclass(frozen=True)
class Entry:
    """A kind or a group: its traits (a group has none), ports and fields."""

    name: str
    traits: tuple[str, ...]
    fields: dict[str, Field]
    ports: dict[str, Port]
    takes_others: bool = False
    output: str = ""
    layers: bool = False

    @cached_property
    def required(self) -> list[str]:
        return [name for name, field in self.fields.items() if field.required]

    @property
    def main(self) -> str:
        return next(iter(self.ports))


def _alternatives(text: str) -> tuple[str, ...]:
    """``a|list(b|c)`` -> ``a``, ``list(b|c)``."""
    return tuple(re.findall(r"(?:[^|()\[\]]|\[0,1\)|\(0,1\)|\((?:[^()]|\([^()]*\))*\))+", text))


def _field(line: str) -> tuple[str, Field]:
    import json

    name, types, default = line.split(None, 2)
    if default in ("required", "inferred", "absent"):
        return name, Field(_alternatives(types), None, default == "required", default != "required")
    return name, Field(_alternatives(types), json.loads(default))


def _entry(chunk: str) -> Entry:
    head, *lines = chunk.strip().split("\n")
    name, _, rest = head.partition(":")
    traits, _, wiring = rest.partition("|")
    fields = dict(_field(line) for line in lines)
    ports_text, _, output = wiring.partition(">")
    outputs = output.split()
    ports = {}
    for text in ports_text.replace("...", "").split():
        port, _, types = text.partition("=")
        ports[port.rstrip("?*")] = Port(tuple(types.split("/")), port.endswith("?"), port.endswith("*"))
    if ports:
        fields |= dict(_field(line) for line in EVERY_BLOCK.strip().split("\n"))
    return Entry(
        name, tuple(traits.split()), fields, ports, "..." in wiring, outputs[0] if outputs else "", "layers" in outputs
    )


ENTRIES = {
    entry.name: entry for entry in (_entry(chunk) for chunk in re.split(r"\n(?=[\w.]+:)", (TEXT + DOCUMENT).strip()))
}
KINDS = {name: entry for name, entry in ENTRIES.items() if entry.traits}
GROUPS = {name: entry for name, entry in ENTRIES.items() if not entry.traits}
TRAITS = {trait for entry in KINDS.values() for trait in entry.traits}


@cache
def kinds_of(trait: str) -> list[str]:
    """Kinds that have a trait; not to be changed."""
    return [name.rpartition(".")[2] for name, entry in KINDS.items() if trait in entry.traits]


def entry_of(trait: str, kind: str) -> Entry:
    """A kind that has a trait; where two families have a kind of one name, the later is listed below its own."""
    return KINDS.get(f"{trait}.{kind}") or KINDS[kind]
