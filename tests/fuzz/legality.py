"""Is a document legal, and if not, which codes may be reported? Written from the language reference (its section 11),
with nothing of flexit imported: the second opinion that the checks of flexit are held against.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from math import prod

from tests.fuzz.blocks import Data, table_of
from tests.fuzz.edges import Edge, Param, Place, Table, inputs_of, is_plain
from tests.fuzz.fields import filled, good_name, group_faults
from tests.fuzz.rulebook import GROUPS
from tests.fuzz.scopes import EDGE, ScopeRules

ROLES = (
    "default", "embedding", "position", "token_type", "learned_tokens", "projection", "query_projection",
    "residual_projection", "gate", "conv", "router", "score_bias", "head", "gain", "bias", "sink",
)  # fmt: skip
MERGED = {"FX0601", "FX0602", "FX0603", "FX0604", "FX0607"}
FLAT = ("gain", "bias", "sink")
FOR_FLAT = ("normal", "truncated_normal", "uniform", "constant", "zeros", "ones")


@dataclass(frozen=True)
class Verdict:
    """What the reference says of a document.

    Attributes:
        codes: what may be reported; empty if it is legal.
        doubtful: codes about which the reference can be read either way.
        parameters: trained numbers of a legal one, shared ones counted once.
        unread: those of them in norms after stacks, which a graph that reads only the layers does not have.
    """

    codes: frozenset[str]
    doubtful: frozenset[str] = frozenset()
    parameters: int = 0
    unread: int = 0

    def allows(self, reported: set[str]) -> bool:
        """Whether refusing with these codes, or accepting (none), agrees with it."""
        if not reported:
            return not self.codes
        return reported <= self.codes | self.doubtful


def judge(document: Data) -> Verdict:
    """The verdict on a document."""
    rules = Rules()
    if document.get("flexit") != 1 or isinstance(document["flexit"], bool):
        return Verdict(frozenset({"FX0107", "FX0108"}))
    document = rules.written_out_everywhere(document)
    lent = rules.found.graph & {"FX0701", "FX0703"}
    wrong = set(group_faults(GROUPS["Document"], document)) | rules.found.schema
    if isinstance(document.get("outputs"), dict) and not all(good_name(name) for name in document["outputs"]):
        wrong.add("FX0209")
    if wrong or lent:
        blocks = document.get("blocks")
        for block in blocks.values() if isinstance(blocks, dict) else ():
            rules.block_as_far_as_right(block)
        merged = rules.found.graph & MERGED  # by what is right of a stack, whatever is wrong beside it
        return Verdict(frozenset(wrong | lent | rules.found.schema), frozenset(merged))
    rules.document(document)
    found = rules.found
    sizes = {path: prod(param.shape) for path, param in found.params.items()}
    unread = (
        sum(size for path, size in sizes.items() if ".final_norm." in path)
        if re.search(r"\.layers|'each'", str(document))
        else 0
    )
    if "learned_tokens" in str(document):  # what only a port like reads is no part of the model
        unread = sum(sizes.values())
        found.doubtful.add("FX0510")
    return Verdict(frozenset(found.schema or found.graph), frozenset(found.doubtful), sum(sizes.values()), unread)


class Rules(ScopeRules):
    """Rules of the document as a whole, and of ``init``."""

    def document(self, written: Data) -> None:
        document = filled(GROUPS["Document"], written)
        inputs, blocks = document["inputs"], dict(document["blocks"])
        self.found.tables = dict(owned_tables(blocks))
        edges = self.inputs(inputs, blocks)
        chain = next(iter(inputs)) if len(inputs) == 1 else None
        outputs = document["outputs"] or {"": next(reversed(blocks))}
        named = {EDGE.fullmatch(edge)[1] for edge in outputs.values() if EDGE.fullmatch(edge)}
        results = self.scope(blocks, edges, Place(), chain=chain, read=named, inputs_too=True)
        ends: dict[str, Edge] = {}
        for name, edge in outputs.items():
            for index, end in enumerate(self.sources(edge, blocks, {}, results=results, variadic=True)):
                if isinstance(end, Edge):
                    ends[f"{name}.{index}"] = end
        self.decoded(ends)
        self.init(document["init"] if "init" in written else {}, self.found.params)

    def inputs(self, inputs: Data, blocks: Data) -> dict[str, Edge]:
        likes = {name: one["like"] for name, one in inputs.items() if one.get("like") is not None}
        sized = [name for name, one in inputs.items() if "like" in one]
        for name, like in likes.items():
            self.say("FX0301", when=like not in inputs or like == name)
            self.say("FX0305", when=like in likes or like == name or (like in inputs and like not in sized))
        for name in [name for name in sized if name not in likes]:
            partners = set(token_types_of(name, blocks))
            lengths = {likes.get(partner, partner) for partner in partners}
            if len(partners) == 1 and None not in partners and partners <= set(inputs) and name not in lengths:
                likes[name] = lengths.pop()
        brought: dict[str, str] = {}
        for name in [name for name in sized if name not in likes]:
            for companion in companions(name):
                self.say("FX0309", when=brought.setdefault(companion, name) != name)
        self.say("FX0309", when=set(brought) & set(inputs))
        return {
            name: Edge(one["kind"], one.get("width", 0), () if one["kind"] == "vector" else (likes.get(name, name),))
            for name, one in inputs.items()
        }

    def decoded(self, ends: dict[str, Edge]) -> None:
        """Only one input may reach logits through what is cached."""
        scores = [end for name, end in ends.items() if name.startswith("logits.")]
        lengths = {name for end in scores if end.axis for name in inputs_of(end.axis)}
        if any(end.axis and not is_plain(end.axis) for end in scores):
            self.found.doubtful.add("FX0801")
        self.say("FX0801", when=len(lengths & self.found.stateful) > 1)

    def init(self, init: Data, params: dict[str, Param] | None) -> None:
        """Entries of ``init``; what they reach is left out where it is not known whose parameters there are."""
        for role, way in init.items():
            if role not in ROLES:
                self.say("FX0510")
                continue
            self.say("FX0511", when=role in FLAT and way["kind"] not in FOR_FLAT)
            std = way.get("std")
            self.say("FX0511", when=std == "rsqrt_fan_in_head_dim" and role != "query_projection")
            if params is None:
                continue
            reached = [param for param in params.values() if follows(param.role, role)]
            self.say("FX0510", when=not reached)
            self.say("FX0510", when=way.get("depth_scaled") and not any(param.layered for param in reached))


def companions(name: str) -> tuple[str, ...]:
    for ending in ("input_ids", "inputs_embeds", "hidden_states"):
        if name == ending or name.endswith(f"_{ending}"):
            start = name[: -len(ending)]
            return tuple(f"{start}{one}" for one in ("attention_mask", "position_ids", "document_ids"))
    return (f"{name}_attention_mask", f"{name}_position_ids", f"{name}_document_ids")


def token_types_of(name: str, blocks: Data) -> Iterator[str | None]:
    """For each use of an input: the tokens beside it where it is token types, else None."""
    for block in blocks.values():
        written = block.get("from") if isinstance(block, dict) else None
        wired = written if isinstance(written, dict) else {"": written}
        for port, edge in wired.items():
            if edge == name or (isinstance(edge, list) and name in edge):
                yield wired.get("tokens") if port == "token_types" else None


def owned_tables(blocks: Data, prefix: str = "") -> Iterator[tuple[str, Table]]:
    """Token tables of the document and of the graphs in it."""
    for name, block in blocks.items():
        b = block if isinstance(block, dict) else {"kind": block}
        owns = b["kind"] == "embedding" and not b.get("tied_to") and not b.get("shares")
        table = table_of(b) if owns else None
        if table is not None:
            yield f"{prefix}{name}", table
        if b["kind"] == "graph":
            yield from owned_tables(b["blocks"], f"{prefix}{name}.")


def follows(role: str, entry: str) -> bool:
    """Whether a parameter of a role is drawn by an entry, if none is closer."""
    if not role:
        return False
    if entry == "default":
        return role not in FLAT
    return role == entry or (entry == "projection" and role in ("query_projection", "residual_projection"))
