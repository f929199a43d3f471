"""The samples that a run config asks for, held against its model."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from flexit.errors import RunConfigError
from flexit.ir.block import Fault
from flexit.ir.language.written import Node
from flexit.runtime.generation.sampling import Sampling
from flexit.runtime.sessions.torch_session import interface_of
from flexit.runtime.train.callbacks.samples import Request, Samples
from flexit.runtime.train.config import RunConfig, Sample
from flexit.runtime.train.evaluation.decoding import target_tokenizer
from flexit.runtime.train.read import placed_fault
from flexit.runtime.train.task import Setting


def samples_of(config: RunConfig, root: Node, setting: Setting, *, out: Path) -> list[Samples]:
    """The callback that makes samples, if the run config asks for it.

    Args:
        config: the run config.
        root: the tree it came from.
        setting: of its task.
        out: the run folder.

    Raises:
        RunConfigError: FX1532, a prompt has no token or no room.
    """
    sample = config.sample
    if sample is None:
        return []
    request = _request(config, sample, setting)
    problems = [placed_fault(root, path, each) for path, each in _faults(request, setting)]
    if problems:
        raise RunConfigError(problems)
    return [Samples(out, request, every=sample.every)]


def _request(config: RunConfig, sample: Sample, setting: Setting) -> Request:
    settings = config.task.generation(setting) or {}
    start = settings.get("decoder_start_token_id")
    prompts, sources = sample.prompts, {}
    rows = [setting.tokenizer.encode(text) for text in prompts]
    if start is not None:
        ids = [each.ids for each in setting.tokenizer.read(prompts)]
        width = max(map(len, ids))
        padded = [[*row, *[start] * (width - len(row))] for row in ids]
        masks = [[1] * len(row) + [0] * (width - len(row)) for row in ids]
        sources = {"input_ids": np.array(padded, np.int64), "attention_mask": np.array(masks, np.int64)}
        rows = [[start]] * len(prompts)
    elif "bos_token_id" in settings:  # a prompt of nothing begins as a document does
        rows = [row or [settings["bos_token_id"]] for row in rows]
    end = settings.get("eos_token_id")
    return Request(
        prompts=prompts, rows=rows, sources=sources, tokenizer=target_tokenizer(setting), end=end,
        pad=settings.get("pad_token_id", 0), max_new_tokens=sample.max_new_tokens,
        sampling=Sampling(temperature=sample.temperature, seed=config.seed),
    )  # fmt: skip


def _faults(request: Request, setting: Setting) -> Iterator[tuple[str, Fault]]:
    interface = interface_of(setting.program)
    limit = interface.position_limit
    source = next((interface.longest(each.group) for each in interface.inputs if each.name == "input_ids"), None)
    for index, row in enumerate(request.rows):
        read = int(request.sources["attention_mask"][index].sum()) if request.sources else len(row)
        if not read:
            yield f"sample.prompts.{index}", Fault(
                code="FX1532", field="", message="nothing to go on from", expected="a text of at least one token",
                found="none", cure="write a text",
            )  # fmt: skip
        elif request.sources and source is not None and read > source:
            yield f"sample.prompts.{index}", Fault(
                code="FX1532", field="", message="longer than the model has positions",
                expected=f"at most {source} tokens", found=str(read), cure="shorten it",
            )  # fmt: skip
        elif limit is not None and len(row) + request.max_new_tokens - 1 > limit:
            yield "sample", Fault(
                code="FX1532", field="max_new_tokens", message="longer than the model has positions",
                expected=f"at most {max(1, limit + 1 - len(row))} after the prompt {index}",
                found=str(request.max_new_tokens), cure="lower max_new_tokens, or shorten the prompt",
            )  # fmt: skip
