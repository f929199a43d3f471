"""A case: a spec's text and how it is fed. What a case speaks for follows from what its definition reads."""

from dataclasses import dataclass, field

VOCAB, WIDTH, ROWS, LENGTH = 13, 8, 5, 7


@dataclass(frozen=True)
class Case:
    """One model to be compared.

    Attributes:
        passed: companions to pass beside the masks, such as ``position_ids``.
    """

    name: str
    spec: dict = field(hash=False)
    passed: tuple[str, ...] = ()

    def __str__(self):
        return self.name


def document(blocks, **more):
    """A spec of these blocks."""
    return {"flexit": 1, "name": "oracle", **more, "blocks": blocks}


TOKENS = {"kind": "embedding", "vocab_size": VOCAB, "d_model": WIDTH}
EMBEDS = {"inputs": {"inputs_embeds": {"kind": "sequence", "width": WIDTH}}}


def alone(name, block, **passed):
    """One block on float input."""
    return Case(name, document({"block": block}, **EMBEDS), **passed)


def layered(name, layer, **stack):
    """A stack of layers on float input."""
    return Case(name, document({"stack": {"kind": "stack", "n_layers": 2, "layer": layer, **stack}}, **EMBEDS))
