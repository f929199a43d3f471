"""The spec: what the user chose. A frozen document that holds choices only; everything derived is computed from it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Annotated, ClassVar, Literal, cast

from pydantic import AfterValidator, Field, PrivateAttr
from pydantic_core import PydanticCustomError

from flexit.ir.block import Block
from flexit.ir.expansion.scope import BlockMap, Name
from flexit.ir.language.initialisation import FOLLOWS, Init, Normal
from flexit.ir.language.inputs import Input, Tokens
from flexit.ir.language.kinds import INFERRED, Group
from flexit.ir.language.written import Node
from flexit.ir.program import Role


def _model_name(name: str) -> str:
    if not re.fullmatch(r"[a-z0-9][a-z0-9._-]*", name):
        free = re.sub(r"[^a-z0-9._-]+", "-", name.lower()).strip("._-") or "model"
        raise PydanticCustomError("bad_name", "not a name", {"name": name, "reason": "model", "free": free})
    return name


def _one_line(text: str) -> str:
    if "\n" in text:
        raise PydanticCustomError("one_line", "more than one line", {})
    return text


class Spec(Group):
    """One model, written down once."""

    examples: ClassVar = ({"name": "tiny"},)
    flexit: Literal[1]
    """Language version; defaults are frozen per version."""
    name: Annotated[str, AfterValidator(_model_name)]
    """Name of the model, never looked up anywhere."""
    description: Annotated[str, AfterValidator(_one_line)] | None = None
    """One line, carried into bundles."""
    inputs: dict[Name, Input] = Field(default_factory=lambda: {"input_ids": Tokens()})
    """Graph inputs: name to edge type."""
    outputs: Annotated[dict[Name, str] | None, INFERRED] = None
    """Graph outputs: name to edge; inferred: the main port of the last block, under its name."""
    init: dict[str, Init] = Field(default_factory=lambda: {"default": Normal()})
    """Initialisation by parameter role."""
    blocks: BlockMap
    """The graph; keys are block names."""

    _node: Node | None = PrivateAttr(default=None)

    @property
    def node(self) -> Node | None:
        """The document it was read from."""
        return self._node

    @classmethod
    def of(cls, root: Node) -> Spec:
        """The spec that a document says.

        Raises:
            ValidationError: its fields or kinds are wrong.
        """
        spec = cls.model_validate(root.plain(), by_alias=True, by_name=False)
        spec._node = root
        return spec

    def to_yaml(self) -> str:
        """What was chosen, as YAML; reading it gives an equal spec."""
        from flexit.ir.io.emit import to_yaml

        return to_yaml(self)

    def to_json(self) -> str:
        """The canonical form as JSON: every default, every edge and the outputs written."""
        from flexit.ir.io.canonical import to_json

        return to_json(self)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Spec):
            return NotImplemented
        return all(getattr(self, name) == getattr(other, name) for name in Spec.model_fields)

    def __hash__(self) -> int:
        return hash((self.name, *self.blocks))

    def __repr__(self) -> str:
        return f"Spec({self.name!r}, blocks=[{', '.join(self.blocks)}])"

    __str__ = __repr__

    def init_of(self, path: str, role: Role) -> Init | None:
        """How a parameter is drawn: the innermost entry for its role, or for a role it follows; None where none says.

        Args:
            path: absolute path of the parameter.
            role: its role.
        """
        scopes = [self.init, *(block.init for block in self.locate(path)[0])]
        wanted = (role, *_followed(role))
        for scope in reversed(scopes):
            for name in wanted:
                if name in scope:
                    return scope[name]
        return None

    def locate(self, path: str) -> tuple[tuple[Block, ...], tuple[str, ...]]:
        """The blocks that a parameter path passes through, outermost first, and what is left of it in the last one."""
        rest = tuple(path.split("."))
        block, rest = self.blocks.get(rest[0]), rest[1:]
        found: list[Block] = []
        while block is not None:
            found.append(block)
            step = block.child(rest) if rest else None
            if step is None:
                break
            block, rest = step
        return tuple(found), rest


def _followed(role: str) -> tuple[str, ...]:
    if role in ("gain", "bias", "sink"):
        return ()
    follows = FOLLOWS.get(role)
    return (follows, "default") if follows else ("default",)


def walk_blocks(blocks: Mapping[str, Block], prefix: str = "") -> Iterator[tuple[str, Block]]:
    """Every block of a scope and of the scopes inside its composites, with its dotted path; layers not entered."""
    for name, block in blocks.items():
        path = f"{prefix}{name}"
        yield path, block
        nested = getattr(block, "blocks", None)
        if isinstance(nested, dict):
            yield from walk_blocks(cast("dict[str, Block]", nested), f"{path}.")
