"""Metadata of GGUF files with one thing wrong: a file is read as another model, or refused with a code."""

from dataclasses import replace
from random import Random

import pytest

from flexit.convert.gguf.reading import as_checkpoint
from flexit.convert.gguf.writing import to_gguf
from flexit.convert.importing import read_source
from flexit.convert.pretrained import from_pretrained
from flexit.convert.sources.source import open_source
from flexit.errors import FlexitError
from tests.convert.gguf.models import CHANGES, family_and_section, model_for, saved
from tests.fuzz.day import drawn_day

pytestmark = pytest.mark.slow

VALUES = [None, 0, -1, 1, 3, 2**31, 1.5, float("nan"), float("inf"), "", "linear", "yarn", True, [], [1, 2], ["a"]]
MORE = ["rope.scaling.type", "rope.scaling.factor", "rope.scaling.original_context_length", "rope.scaling.attn_factor",
        "expert_count", "expert_used_count", "attention.sliding_window", "rope.freq_base_swa"]  # fmt: skip


FAMILIES = sorted(Random(drawn_day()).sample(sorted(CHANGES), 20))
"""Of the day."""


@pytest.mark.parametrize("family", FAMILIES)
def test_one_thing_wrong(tmp_path, family):
    rng = Random(f"{family} {drawn_day()}")
    model = model_for(family, drawn_day())
    saved(model, tmp_path / "theirs", drawn_day(), name=family)
    pretrained = from_pretrained(tmp_path / "theirs")
    known = family_and_section(family)[0].family
    to_gguf(pretrained.spec, pretrained.weights, tmp_path / "x.gguf", family=known)
    opened = open_source(tmp_path / "x.gguf")
    file = opened.gguf
    architecture = file.metadata["general.architecture"]
    keys = [*file.metadata, *(f"{architecture}.{key}" for key in MORE)]
    refused = 0
    for key in keys:
        for value in rng.sample(VALUES, 2):
            metadata = {**file.metadata, key: value}
            if value is None:
                metadata.pop(key)
            refused += is_refused(opened, replace(file, metadata=metadata))
    assert refused > len(keys) // 3
    for name in rng.sample(sorted(file.tensors), 6):
        tensors = {each: tensor for each, tensor in file.tensors.items() if each != name}
        assert is_refused(opened, replace(file, tensors=tensors)) or may_be_left_out(name), name


def may_be_left_out(name):
    """Tables that are tied, scalings, and the bias table of a second layer, without which a UMT5 of two is a T5."""
    return name.startswith(("output.", "rope_")) or name == "enc.blk.1.attn_rel_b.weight"


def is_refused(opened, file):
    """Whether a file is; anything but an error with a code fails."""
    changed = replace(opened, gguf=file)
    try:
        read_source(*as_checkpoint(changed, file, None))
    except FlexitError:
        return True
    return False
