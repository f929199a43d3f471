"""The tokenizer of an opened source, whose ids are all rows of the model's token table."""

from __future__ import annotations

from flexit.convert.sources.source import Source
from flexit.convert.tokenizers.files import TokenizerFiles
from flexit.convert.tokenizers.folder import find_tokenizer
from flexit.convert.tokenizers.gguf_vocabulary import gguf_tokenizer
from flexit.ir.spec import Spec


def tokenizer_of(source: Source, spec: Spec) -> TokenizerFiles | None:
    """The tokenizer of a folder or GGUF file; None where it has none.

    Raises:
        SourceError: FX1904, it has more ids than each token table of the spec has rows; as :func:`find_tokenizer` and
            :func:`gguf_tokenizer`.
    """
    if source.gguf is not None:
        found = gguf_tokenizer(source.gguf.metadata, file=source.place)
    else:
        found = None if source.folder is None else find_tokenizer(source.folder)
    tables = [getattr(block, "vocab_size", None) for block in spec.blocks.values()]
    rows = [size for size in tables if isinstance(size, int)]
    if found is not None and rows:
        found.require_rows(max(rows))
    return found
