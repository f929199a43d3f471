"""The run config as typed data: what a user may write about training, field by field (``docs/run-config.md``)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field, ValidationError

from flexit.ir.language.kinds import INFERRED, Group, InferredInt, PositiveFloat, PositiveInt
from flexit.runtime.adapters.lora import Lora
from flexit.runtime.metric import LOSS, Metric
from flexit.runtime.train.data.source import Source
from flexit.runtime.train.data.vocabulary import Tokenizer
from flexit.runtime.train.fields import NotNegativeFloat, NotNegativeInt, Share
from flexit.runtime.train.non_finite import NonFinite
from flexit.runtime.train.optimisation.optimizer import Optimizer
from flexit.runtime.train.optimisation.schedule import Schedule
from flexit.runtime.train.optimisation.selection import Selection
from flexit.runtime.train.optimizers.adamw import AdamW
from flexit.runtime.train.policies.stop import Stop
from flexit.runtime.train.schedules.constant import Constant
from flexit.runtime.train.task import Task
from flexit.runtime.train.tracker import Tracker
from flexit.runtime.transfer.options import WeightsFrom

Precision = Literal["fp32", "bf16", "fp16"]
Compile = Literal["whole", "regional"]
Device = Literal["auto", "cpu", "cuda", "mps"]


class Validation(Group):
    """Held-out data: a share of the training data, or a source of its own."""

    split: Share | None = None
    """Share that is held out, of the tokens or of the examples."""
    source: Source | None = None
    """Other data to judge by."""


class Data(Group):
    """What is learned from."""

    examples: ClassVar = ({"seq_len": 128},)
    proposed: ClassVar = ("tokenizer",)
    train: Source
    """The records."""
    validation: Validation | None = None
    """Held-out data."""
    columns: dict[str, str] = Field(default_factory=dict[str, str])
    """Columns that the data has under other names than the task."""
    seq_len: Annotated[int, Field(ge=2)]
    """Tokens per row; of tasks with a row per text, at most."""
    tokenizer: Tokenizer | None = None
    """Text to token ids; null: all data are token ids already."""
    bucket: NotNegativeInt = 0
    """Batches' worth of texts that are sorted by length together, so that little is padded; 0: none."""
    workers: Annotated[int, Field(ge=0, le=256)] = 0
    """Processes that make batches ahead; 0: each is made when it is needed."""


class Batch(Group):
    """How many rows make an update."""

    size: PositiveInt = 16
    """Rows per forward."""
    accumulate: Annotated[int, Field(ge=1, le=65_536)] = 1
    """Forwards per update; the gradient is that of the mean over all their tokens."""


class Losses(Group):
    """Weights of the terms beside the cross-entropy."""

    router_balance: NotNegativeFloat = 0.0
    """Times the load-balancing loss of the routers (Fedus et al. 2021)."""
    router_z: NotNegativeFloat = 0.0
    """Times the z-loss of the routers, which keeps their logits small (Zoph et al. 2022)."""
    z_loss: NotNegativeFloat = 0.0
    """Times the z-loss of the logits (Chowdhery et al. 2022)."""
    chunk: PositiveInt | None = None
    """Tokens of which the cross-entropy is computed at once, where it is not compiled; as many as are fast, if null."""


class Ema(Group):
    """A moving mean of the weights."""

    decay: Share = 0.999
    """Share of the mean that stays in an update; the rest is of the new weights."""
    evaluate: bool = False
    """Whether the held-out text is looked at with the mean in place of the weights."""


class Evaluate(Group):
    """When the held-out text is looked at."""

    every: PositiveInt
    """Steps; the last step always evaluates."""
    max_batches: PositiveInt | None = None
    """Only the first so many batches."""
    metrics: Annotated[list[Metric] | None, INFERRED] = None
    """What is told beside the loss; inferred: what is usual for the task."""
    max_new_tokens: InferredInt = None
    """Most tokens of a text that a metric generates; inferred: data.seq_len."""


class Checkpoint(Group):
    """When the run is saved, and what is kept."""

    every: PositiveInt = 200
    """Steps; the last step always saves."""
    keep_last: PositiveInt = 2
    """Newest ones kept."""
    keep_best: NotNegativeInt = 0
    """Ones with the best held-out score kept besides."""
    best: str = LOSS
    """What the best has the best of: ``loss``, or the name of a metric."""
    keep_every: PositiveInt | None = None
    """Steps whose multiples keep their checkpoints for good."""


class EarlyStopping(Group):
    """When a run that does not get better is done."""

    patience: PositiveInt = 5
    """Evaluations in a row without a better one."""
    min_delta: NotNegativeFloat = 0.0
    """By how much it must be better."""
    metric: str = LOSS
    """What must get better: ``loss``, or the name of a metric."""


class Limit(Group):
    """When a run stops, to go on another time."""

    minutes: PositiveFloat
    """Of training in one call."""


class Log(Group):
    """When a line of metrics is written."""

    every: PositiveInt = 10
    """Steps; the last step always writes one."""
    peak_flops: Annotated[PositiveFloat | None, INFERRED] = None
    """FLOP/s that the device can do at most; inferred: from its data sheet, if it is known."""


class Sample(Group):
    """Texts that the model makes while it learns."""

    every: PositiveInt
    """Steps; the last step always makes some."""
    prompts: Annotated[list[str], Field(min_length=1)]
    """Texts that it goes on from; sources, where the task has any."""
    max_new_tokens: PositiveInt = 64
    """Most tokens of each."""
    temperature: NotNegativeFloat = 0.0
    """Of the draws; 0 takes the best token each time."""


class Statistics(Group):
    """How large activations, gradients and updates are."""

    every: PositiveInt
    """Steps."""


class RunConfig(Group):
    """How a model is trained."""

    examples: ClassVar = ({"model": "tiny.yaml", "out": "runs/first"},)
    flexit: Literal[1]
    """Version of the run config language; defaults are frozen per version."""
    model: str
    """A spec file, the name of a preset, or a checkpoint folder."""
    set: list[str] = Field(default_factory=list[str])
    """Overrides of the spec, as on the command line."""
    weights_from: WeightsFrom | None = None
    """Another model, with whose weights it begins."""
    task: Task
    """What is learned."""
    data: Data
    """What is learned from."""
    batch: Batch = Field(default_factory=Batch)
    """How many rows make an update."""
    optimizer: Optimizer = Field(default_factory=AdamW)
    """How gradients become updates."""
    freeze: list[Selection] = Field(default_factory=list[Selection])
    """Parameters that stay as they are: no gradient, no decay, no state of the optimizer."""
    lora: Lora | None = None
    """Branches of low rank that learn in the place of the weights."""
    schedule: Schedule = Field(default_factory=Constant)
    """Factor on the learning rate, by step."""
    clip_norm: PositiveFloat | None = 1.0
    """Largest Euclidean norm of all gradients together."""
    clip_value: PositiveFloat | None = None
    """Largest magnitude of each number of the gradients."""
    ema: Ema | None = None
    """A moving mean of the weights."""
    non_finite: NonFinite = Field(default_factory=Stop)
    """What happens at a loss or gradient that is not finite."""
    losses: Losses = Field(default_factory=Losses)
    """Weights of the terms beside the cross-entropy."""
    steps: PositiveInt
    """Updates of the weights."""
    precision: Precision = "fp32"
    """Of the arithmetic in forward and backward."""
    compile: Compile | None = None
    """What ``torch.compile`` makes one piece of: the whole model with its loss, or each layer of its stacks, and the
    loss.
    """
    recompute: bool = False
    """Whether backward computes each layer again, of which then only the inputs are kept."""
    device: Device = "auto"
    """Where it runs; ``auto`` takes cuda, else mps, else cpu."""
    threads: Annotated[Annotated[int, Field(ge=1, le=1024)] | None, INFERRED] = None
    """CPU threads; inferred: what PyTorch takes."""
    evaluate: Evaluate | None = None
    """When the held-out text is looked at."""
    early_stopping: EarlyStopping | None = None
    """When a run that does not get better is done."""
    limit: Limit | None = None
    """When a run stops, to go on another time."""
    checkpoint: Checkpoint = Field(default_factory=Checkpoint)
    """When the run is saved, and what is kept."""
    log: Log = Field(default_factory=Log)
    """When a line of metrics is written."""
    track: list[Tracker] = Field(default_factory=list[Tracker])
    """Where the lines of the run go beside its own files."""
    sample: Sample | None = None
    """Texts that the model makes while it learns."""
    statistics: Statistics | None = None
    """How large activations, gradients and updates are."""
    seed: NotNegativeInt = 0
    """Of first weights, order of the data and dropout."""
    out: str
    """The run folder."""


class TrainingConfig(Group):
    """What the trainer itself needs; the fields mean what they mean in a run config."""

    accumulate: PositiveInt = 1
    """Batches per update."""
    schedule: Schedule = Field(default_factory=Constant)
    """Factor on the optimizer's learning rates, by step."""
    clip_norm: PositiveFloat | None = 1.0
    """Largest Euclidean norm of all gradients together."""
    clip_value: PositiveFloat | None = None
    """Largest magnitude of each number of the gradients."""
    ema: Ema | None = None
    """A moving mean of the weights."""
    non_finite: NonFinite = Field(default_factory=Stop)
    """What happens at a loss or gradient that is not finite."""
    precision: Precision = "fp32"
    """Of the arithmetic in forward and backward."""
    compile: Compile | None = None
    """What ``torch.compile`` makes one piece of: the whole model with its loss, or each layer of its stacks, and the
    loss.
    """
    recompute: bool = False
    """Whether backward computes each layer again, of which then only the inputs are kept."""
    device: Device = "auto"
    """Where it runs; the model is moved there."""
    evaluate: Evaluate | None = None
    """When ``val_dataloader`` is looked at."""
    early_stopping: EarlyStopping | None = None
    """When a run that does not get better is done."""
    limit: Limit | None = None
    """When a run stops, to go on another time."""
    checkpoint: Checkpoint = Field(default_factory=Checkpoint)
    """When the run is saved, and what is kept; nothing is saved without ``out``."""
    log: Log = Field(default_factory=Log)
    """When a line of metrics is written."""
    track: list[Tracker] = Field(default_factory=list[Tracker])
    """Where the lines of the run go beside its own files."""
    statistics: Statistics | None = None
    """How large activations, gradients and updates are."""
    seed: NotNegativeInt = 0
    """Of dropout."""
    out: str | None = None
    """The run folder."""
    progress: bool = True
    """Show a progress bar, or a line now and then where there is no terminal."""

    if not TYPE_CHECKING:  # editors are to see the fields

        def __init__(self, **settings):
            """The settings by name; what is wrong with them is a UserError with every problem."""
            from flexit.runtime.train.wrong_fields import explained

            try:
                super().__init__(**settings)
            except ValidationError as error:
                raise explained(TrainingConfig, settings, error) from None
