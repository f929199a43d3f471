"""Texts that a model in training generates: what metrics of texts read, and samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from flexit.runtime.generation.generate import generate
from flexit.runtime.metric import Texts
from flexit.runtime.sessions.torch_session import TorchSession, sharing
from flexit.runtime.tasks.text_model import TARGET_TOKENIZER as TARGET
from flexit.runtime.train.task import TOKENIZER
from flexit.runtime.train.update.labels import IGNORED

if TYPE_CHECKING:
    from flexit.lower.torch.module import FlexitModule
    from flexit.runtime.tokenizer import Tokenizer
    from flexit.runtime.train.evaluation.judge import Background
    from flexit.runtime.train.task import Setting


def session_of(model: Any) -> TorchSession:
    """A session on a module in training, whose parameters it shares and nothing else: neither mode, nor hooks, nor what
    was compiled.
    """
    module: FlexitModule = model
    return TorchSession(sharing(module, module.program))


def in_full(model: nn.Module) -> AbstractContextManager[Any]:
    """The precision of the weights, whatever the context of a training step is."""
    return torch.autocast(next(model.parameters()).device.type, enabled=False)


def target_tokenizer(setting: Setting) -> Tokenizer:
    """The tokenizer of what is generated."""
    return setting.tokenizers.get(TARGET, setting.tokenizers[TOKENIZER])


class Decoded:
    """Generates a text for each source of a batch, token by token the most probable, and keeps the right ones."""

    def __init__(self, model: nn.Module, background: Background) -> None:
        self._model, self._background = model, background
        self._session = session_of(model)
        self._tokenizer = target_tokenizer(background.setting)
        settings = background.task.generation(background.setting)
        assert settings is not None, "a task whose texts are generated says how they begin"
        self._start, self._end = settings["decoder_start_token_id"], settings["eos_token_id"]
        self._found: list[list[int]] = []
        self._wanted: list[list[int]] = []

    def see(self, outputs: Any, batch: Mapping[str, Any]) -> None:
        del outputs
        labels = batch["labels"].cpu()
        sources = {name: batch[name].cpu().numpy() for name in ("input_ids", "attention_mask")}
        with in_full(self._model):
            made = generate(
                self._session, [[self._start]] * len(labels), max_new_tokens=self._most, eos_id=self._end,
                pad_id=self._start, others=sources,
            )  # fmt: skip
        self._found += [self._without_end(row) for row in made]
        self._wanted += [self._without_end(row[row != IGNORED].tolist()) for row in labels]

    def evidence(self) -> Texts:
        texts = [[self._tokenizer.decode(row) for row in rows] for rows in (self._found, self._wanted)]
        return Texts(texts[0], texts[1], self._found, self._wanted)

    @property
    def _most(self) -> int:
        limit = self._session.interface.position_limit
        wanted = self._background.max_new_tokens
        return wanted if limit is None else min(wanted, limit)

    def _without_end(self, row: Sequence[int]) -> list[int]:
        return list(row[:-1] if row and row[-1] == self._end else row)
