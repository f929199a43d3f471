"""``to_gguf``: a spec and its parameters as a file that llama.cpp runs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from flexit.convert.gguf.file import FORMATS, require_new, require_package, write_gguf
from flexit.convert.gguf.reading import BESIDE
from flexit.convert.gguf.saying import as_gguf
from flexit.convert.tokenizers.gguf_metadata import tokenizer_metadata
from flexit.errors import UserError
from flexit.files.safetensors import Progress
from flexit.ir.spec import Spec

ENDING = ".gguf"
CONTEXT = 2048
"""Longest row that is named where nothing says one."""


def to_gguf(
    spec: Spec, weights: Mapping[str, Any], path: str | Path, *, dtype: str = "f16", family: str | None = None,
    files: Mapping[str, bytes] | None = None, context: int | None = None, force: bool = False,
    progress: Progress | None = None,
) -> str:  # fmt: skip
    """Write a model as a GGUF file; at most one tensor is in memory.

    Args:
        spec: what it is.
        weights: its parameters by path: arrays, tensors of PyTorch, or lazy tensors.
        path: the file, whose name ends in ``.gguf``.
        dtype: number format of matrices: ``f16``, ``q8_0``, ``bf16`` or ``f32``; vectors and norms are fp32.
        family: the family to write it as; by default the first that can say it.
        files: what goes with it by name: of ``tokenizer.json``, ``special_tokens_map.json``,
            ``generation_config.json`` and ``chat_template.jinja`` the metadata are made.
        context: the longest row that it is for, unless its position table says it; by default 2048.
        force: replace a file that is there.
        progress: called with bytes written and bytes in all.

    Returns:
        The name of the architecture.

    Raises:
        SourceError: FX1872, no architecture of GGUF can say it; FX1873, a number is too large; FX1825, the package
            gguf is missing; FX1906, the tokenizer is none that GGUF can say.
        UserError: FX2004, no such number format, or a name that does not end in .gguf; FX1301, the file exists;
            FX2002, ``weights`` lacks parameters, has others, or shapes differ.
        ResourceError: FX1304, the operating system refused.
    """
    path = Path(path)
    if dtype not in FORMATS:
        raise UserError.of(
            "FX2004", "no such number format", path="dtype", expected=f"one of {', '.join(FORMATS)}", found=dtype,
            cure="write f16, or leave it out",
        )  # fmt: skip
    if path.suffix.lower() != ENDING:
        raise UserError.of(
            "FX2004", "no name of a GGUF file", path="out", expected=f"a name that ends in {ENDING}", found=str(path),
            cure=f"write {path.name}{ENDING}",
        )  # fmt: skip
    require_new(path, force=force)
    require_package()
    said = as_gguf(spec, weights, family)
    rows = said.metadata["vocab_size"]
    names = {**BESIDE, **{key: key for key in said.bare}}
    metadata: dict[str, Any] = {
        "general.type": "model", "general.name": spec.name, "general.file_type": FORMATS[dtype],
        **({"general.quantization_version": 2} if dtype == "q8_0" else {}),
        f"{said.architecture}.context_length": context or CONTEXT,
        **tokenizer_metadata(files or {}, rows=rows),
        **{names.get(key, f"{said.architecture}.{key}"): value for key, value in said.metadata.items()},
    }  # fmt: skip
    write_gguf(path, said.architecture, metadata=metadata, tensors=said.tensors, dtype=dtype, progress=progress)
    return said.architecture
