"""Random models of ``transformers`` by family: each function draws a configuration and gives a model of it.

A module of ``drawn`` belongs to one family; ``@drawn(head)`` says which of its models a function makes.
"""

import importlib
import pkgutil
from collections.abc import Callable
from random import Random
from typing import Any, NamedTuple

import torch

from flexit.convert.mapping.family import family_names

Draw = Callable[[Random], Any]


class Drawn(NamedTuple):
    """A way to draw models.

    Attributes:
        family, head: of the mapping file.
        draw: gives a model from a source of chance.
    """

    family: str
    head: str
    draw: Draw

    def __str__(self) -> str:
        return f"{self.family}-{self.head}-{self.draw.__name__}"


FOUND: list[Drawn] = []


def drawn(*heads: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Note a function ``(rng, head) -> model`` as that of some models of the family that its module is named after,
    with ``_`` for ``-``.
    """

    def note(function: Callable[..., Any]) -> Callable[..., Any]:
        named = function.__module__.rpartition(".")[2]
        family = named if named in family_names() else named.replace("_", "-")
        for head in heads:

            def draw(rng: Random, head: str = head) -> Any:
                return function(rng, head)

            draw.__name__ = function.__name__
            FOUND.append(Drawn(family, head, draw))
        return function

    return note


def all_drawn() -> list[Drawn]:
    """Every way to draw a model, by family, whichever of the families' modules others have imported before."""
    package = importlib.import_module("tests.convert.families.drawn")
    for module in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"{package.__name__}.{module.name}")
    return sorted(FOUND, key=lambda way: way.family)


def made(way: Drawn, seed: int) -> Any:
    """A model with weights on which faults show: gains not 1, biases not 0, softmax not flat."""
    rng = Random(f"{way} {seed}")
    torch.manual_seed(rng.randrange(2**31))
    model = way.draw(rng)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if not parameter.requires_grad:
                continue  # a table that is computed
            gain = parameter.dim() == 1 and name.endswith("weight")
            parameter.copy_(torch.randn(parameter.shape) * 0.15 + (1.0 if gain else 0.0))
        for name, buffer in model.named_buffers():
            if name.endswith(("final_logits_bias", "e_score_correction_bias")):
                buffer.copy_(torch.randn(buffer.shape) * 0.15)
        for module in model.modules():
            table = getattr(module, "decoder", None)
            if isinstance(table, torch.nn.Linear) and None not in (table.bias, getattr(module, "bias", None)):
                module.bias.copy_(table.bias)  # which nothing reads where the two are not tied
            shared = getattr(module, "shared", None)
            if shared is not None and model.config.is_encoder_decoder:
                shared.weight.copy_(module.encoder.embed_tokens.weight)  # likewise
    return model.eval()
