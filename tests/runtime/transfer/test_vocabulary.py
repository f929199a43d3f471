"""Another vocabulary: rows go with their tokens, whatever their numbers are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file
from tokenizers import Tokenizer, models

from flexit.errors import UserError
from flexit.lower.torch.module import to_torch
from flexit.runtime.transfer.transfer import transfer
from tests.runtime.transfer.models import checkpoint, small

OLD = [f"t{number}" for number in range(36)]
NEW = ["t3", "fresh", "t35", *(f"t{number}" for number in range(10, 20)), "other"]


def tokenizer(tokens: list[str]) -> bytes:
    vocabulary = {token: number for number, token in enumerate(tokens)}
    return Tokenizer(models.WordLevel(vocabulary, unk_token=tokens[0])).to_str().encode()


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A model of 40 rows, of which the last four have no token."""
    folder = tmp_path / "old"
    checkpoint(folder, small(head="{kind: lm_head, vocab_size: 40, bias: true}"))
    (folder / "tokenizer.json").write_bytes(tokenizer(OLD))
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": 35, "pad_token_id": 1, "top_k": 5}))
    return folder


def test_rows_go_with_their_tokens_and_new_ones_are_the_mean(old: Path):
    vocabulary = tokenizer(NEW)
    new = small(vocab=16, head="{kind: lm_head, vocab_size: 16, bias: true}")
    result = transfer(old, new, tokenizer=vocabulary)
    before = load_file(old / "model.safetensors")
    for path in ("embed.tokens.weight", "head.table.weight", "head.bias"):
        given, found = before[path], result.weights[path].numpy()
        for row, token in enumerate(NEW):
            wanted = given[OLD.index(token)] if token in OLD else given.astype(np.float64).mean(0)
            np.testing.assert_allclose(found[row], wanted, rtol=1e-6, atol=1e-8, err_msg=f"{path} {token}")
        assert len(found) == 16
    assert "tokens by token: 12 kept, 4 new, 28 left out" in result.summary
    assert result.compared is not None and result.compared.same
    assert json.loads(result.files["generation_config.json"]) == {"eos_token_id": 2, "top_k": 5}
    assert [problem.path for problem in result.warnings] == ["generation_config.json: pad_token_id"]
    assert result.files["tokenizer.json"] == vocabulary


def test_a_tied_table_is_one_table(old: Path, tmp_path: Path):
    checkpoint(tmp_path / "tied", small())
    (tmp_path / "tied" / "tokenizer.json").write_bytes(tokenizer(OLD))
    result = transfer(tmp_path / "tied", small(vocab=50), tokenizer=tokenizer([*OLD, "more", "and more"]))
    assert result.compared is not None and result.compared.same
    rows = result.plan.rows
    assert rows is not None and rows.index[:36].tolist() == [*range(36)] and rows.index[36:38].tolist() == [-1, -1]
    assert rows.index[38:40].tolist() == [38, 39] and (rows.index[40:] == -1).all()  # without a token in both
    assert [step.path for step in result.plan.steps if step.what == "rows"] == ["embed.tokens.weight"]


def test_without_a_tokenizer_rows_keep_their_numbers(old: Path):
    head = "{kind: lm_head, vocab_size: 44, bias: true}"
    result = transfer(old, small(vocab=44, head=head), options={"new_tokens": "draw"})
    first = to_torch(small(vocab=44, head=head), seed=0)
    found = result.weights["embed.tokens.weight"].numpy()
    np.testing.assert_array_equal(found[40:], first.get_parameter("embed.tokens.weight").detach().numpy()[40:])
    assert "tokens by id: 40 kept, 4 new, 0 left out" in result.summary
    assert result.compared is not None and result.compared.same


@pytest.mark.parametrize(
    ("vocab", "content", "text"),
    [
        (10, tokenizer(NEW), "more ids than the model has rows"),
        (40, b"{}", "is no tokenizer"),
        (40, "nowhere.json", "cannot be read"),
    ],
)
def test_tokenizers_that_cannot_be_used(old: Path, vocab: int, content: Any, text: str):
    with pytest.raises(UserError, match=f"FX2203.*{text}"):
        transfer(old, small(vocab=vocab), tokenizer=content)


def test_an_old_vocabulary_that_nobody_knows(old: Path):
    (old / "tokenizer.json").unlink()
    with pytest.raises(UserError, match=r"FX2203.*the old vocabulary is not known"):
        transfer(old, small(), tokenizer=tokenizer(OLD[:-1]))
