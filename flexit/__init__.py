"""flexit: one spec, one model, proven. A transformer written once, as data; trained in PyTorch, run in ONNX Runtime."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from flexit.version import __version__

if TYPE_CHECKING:
    from flexit.convert.gguf.writing import to_gguf
    from flexit.convert.pretrained import Pretrained, from_pretrained
    from flexit.convert.to_pretrained import to_pretrained
    from flexit.ir.analysis.cost import cost
    from flexit.ir.builder import Graph
    from flexit.ir.io.load import load_spec
    from flexit.ir.shrink import shrink
    from flexit.ir.spec import Spec
    from flexit.lower.onnx.model import to_onnx
    from flexit.lower.torch.module import to_torch
    from flexit.runtime.adapters.modules import add_lora, merge_lora
    from flexit.runtime.bundles.bundle import open_bundle
    from flexit.runtime.bundles.export import export
    from flexit.runtime.bundles.verify import verify
    from flexit.runtime.generation.beam import Beams, beam_search
    from flexit.runtime.generation.chat_template import ChatTemplate
    from flexit.runtime.generation.generate import generate
    from flexit.runtime.generation.generation_config import GenerationConfig
    from flexit.runtime.generation.sampling import Sampling
    from flexit.runtime.generation.text_stream import TextStream
    from flexit.runtime.saved import load_checkpoint
    from flexit.runtime.sessions.torch_session import TorchSession
    from flexit.runtime.tasks.classify import classify
    from flexit.runtime.tasks.embed import embed, hidden_states
    from flexit.runtime.tasks.perplexity import Perplexity, perplexity
    from flexit.runtime.tasks.text_model import Reading, TextModel
    from flexit.runtime.tokenizer import Tokenizer
    from flexit.runtime.train.config import TrainingConfig
    from flexit.runtime.train.optimisation.freezing import freeze
    from flexit.runtime.train.trainer import Trainer
    from flexit.runtime.transfer.transfer import transfer


__all__ = [
    "Beams",
    "ChatTemplate",
    "GenerationConfig",
    "Graph",
    "Perplexity",
    "Pretrained",
    "Reading",
    "Sampling",
    "Spec",
    "TextModel",
    "TextStream",
    "Tokenizer",
    "TorchSession",
    "Trainer",
    "TrainingConfig",
    "__version__",
    "add_lora",
    "beam_search",
    "classify",
    "cost",
    "embed",
    "export",
    "freeze",
    "from_pretrained",
    "generate",
    "hidden_states",
    "load_checkpoint",
    "load_spec",
    "merge_lora",
    "open_bundle",
    "perplexity",
    "shrink",
    "to_gguf",
    "to_onnx",
    "to_pretrained",
    "to_torch",
    "transfer",
    "verify",
]

_HOMES = {
    "from_pretrained": "flexit.convert.pretrained",
    "Pretrained": "flexit.convert.pretrained",
    "to_gguf": "flexit.convert.gguf.writing",
    "to_pretrained": "flexit.convert.to_pretrained",
    "load_spec": "flexit.ir.io.load",
    "Spec": "flexit.ir.spec",
    "Graph": "flexit.ir.builder",
    "cost": "flexit.ir.analysis.cost",
    "shrink": "flexit.ir.shrink",
    "to_torch": "flexit.lower.torch.module",
    "load_checkpoint": "flexit.runtime.saved",
    "to_onnx": "flexit.lower.onnx.model",
    "export": "flexit.runtime.bundles.export",
    "open_bundle": "flexit.runtime.bundles.bundle",
    "Trainer": "flexit.runtime.train.trainer",
    "add_lora": "flexit.runtime.adapters.modules",
    "merge_lora": "flexit.runtime.adapters.modules",
    "transfer": "flexit.runtime.transfer.transfer",
    "freeze": "flexit.runtime.train.optimisation.freezing",
    "TrainingConfig": "flexit.runtime.train.config",
    "TorchSession": "flexit.runtime.sessions.torch_session",
    "generate": "flexit.runtime.generation.generate",
    "Sampling": "flexit.runtime.generation.sampling",
    "beam_search": "flexit.runtime.generation.beam",
    "Beams": "flexit.runtime.generation.beam",
    "ChatTemplate": "flexit.runtime.generation.chat_template",
    "verify": "flexit.runtime.bundles.verify",
    "Tokenizer": "flexit.runtime.tokenizer",
    "TextStream": "flexit.runtime.generation.text_stream",
    "TextModel": "flexit.runtime.tasks.text_model",
    "Reading": "flexit.runtime.tasks.text_model",
    "embed": "flexit.runtime.tasks.embed",
    "perplexity": "flexit.runtime.tasks.perplexity",
    "Perplexity": "flexit.runtime.tasks.perplexity",
    "hidden_states": "flexit.runtime.tasks.embed",
    "classify": "flexit.runtime.tasks.classify",
    "GenerationConfig": "flexit.runtime.generation.generation_config",
}
"""Public name -> the module that defines it, imported when the name is first used."""


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'flexit' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value
