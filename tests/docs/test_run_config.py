"""The tables of ``docs/run-config.md`` are the fields of the run config, their defaults and their ranges."""

import re
from pathlib import Path

from flexit.ir.io.load import load_spec
from flexit.runtime.train.config import RunConfig
from flexit.runtime.train.data.tokenizers.bpe import Bpe
from flexit.runtime.train.read import parse_config
from tests.docs.tables import require_the_same

PAGE = (Path(__file__).parents[2] / "docs" / "run-config.md").read_text(encoding="utf-8")


def test_every_field_is_there_with_its_type_and_default():
    require_the_same(PAGE, RunConfig)


def test_the_examples_of_the_page_are_valid():
    examples = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    assert examples
    for text in examples:
        chosen, _ = parse_config(text)
        spec = load_spec(chosen.model)
        rows = {table.rows for block in spec.blocks.values() if (table := block.token_table()) is not None}
        assert isinstance(chosen.data.tokenizer, Bpe)
        assert rows == {chosen.data.tokenizer.vocab_size}
