"""``arrays``: token ids that were made before."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from flexit.ir.language.kinds import INFERRED
from flexit.runtime.train.data.arrays import array_file
from flexit.runtime.train.data.files import Document, find_documents, require_file
from flexit.runtime.train.data.source import Source
from flexit.runtime.train.data.token_files import TokenFiles

DType = Literal["uint8", "uint16", "uint32", "uint64", "int32", "int64"]


class Arrays(Source, kind="arrays"):
    """Files of token ids, mapped into memory from where they are: in NumPy's format (one axis, or two, each row then a
    document), or bare numbers as nanoGPT, OLMo and Megatron write them.
    """

    examples: ClassVar = ({"files": ["train.bin"], "dtype": "uint16", "separator": 0},)
    encoded: ClassVar[bool] = True

    files: list[str]
    """Names or patterns, relative to the run config; each must match a file."""
    dtype: Annotated[DType | None, INFERRED] = None
    """Of bare numbers, little-endian; inferred: what a file in NumPy's format says."""
    separator: Annotated[int, Field(ge=0)] | None = None
    """The id that ends each document; null: each file is one, unless offsets says more."""
    offsets: str | None = None
    """Ending of the file beside each one that says where its documents begin, such as .offsets.npy."""
    skip: Annotated[int, Field(ge=0)] = 0
    """Bytes in front of bare numbers."""

    def open(self, base: Path) -> TokenFiles:
        """The files in the order of their hashes."""
        ending = self.offsets
        found = find_documents(self.files, base)
        if ending is not None:  # a pattern may match them too
            found = [each for each in found if not each.path.name.endswith(ending)]
        files = [array_file(each, dtype=self.dtype, skip=self.skip) for each in found]
        beside = [] if ending is None else [Document.of(_beside(each.path, ending)) for each in files]
        return TokenFiles(files, beside, self.separator)


def _beside(path: Path, ending: str) -> Path:
    """The file of offsets of a file."""
    found = path.with_name(path.name.removesuffix(path.suffix) + ending)
    require_file(found, path="offsets")
    return found
