"""``to_pretrained``: a spec and its parameters as a folder that ``transformers`` loads without remote code."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from flexit.convert.exporting import as_family
from flexit.convert.mapping.family import find_family
from flexit.convert.mapping.rotary import LONGEST
from flexit.convert.sentence_transformers import VECTOR, written_modules
from flexit.files.folder import PARTIAL, writing
from flexit.files.safetensors import Progress, write_sharded
from flexit.ir.analysis.limits import longest_row
from flexit.ir.compile import compile_spec
from flexit.ir.spec import Spec
from flexit.version import __version__

MARKER = "flexit.json"
BESIDE = ("bos_token_id", "eos_token_id", "pad_token_id", "decoder_start_token_id")
TOKENIZER, SPECIALS, TOKENIZER_CONFIG = "tokenizer.json", "special_tokens_map.json", "tokenizer_config.json"
TYPES = "token_type_ids"
READ = ("input_ids", TYPES, "attention_mask")
"""What a tokenizer of theirs makes of a text."""
NAMES = {"F32": "float32", "F16": "float16", "BF16": "bfloat16", "F64": "float64"}


def to_pretrained(
    spec: Spec, weights: Mapping[str, Any], out_dir: str | Path, *, family: str | None = None,
    files: Mapping[str, bytes] | None = None, context: int | None = None, force: bool = False,
    progress: Progress | None = None,
) -> str:  # fmt: skip
    """Write a model as a checkpoint of ``transformers``.

    Args:
        spec: what it is.
        weights: its parameters by path: arrays, tensors of PyTorch, or lazy tensors; their number format is kept.
        out_dir: where it goes: ``config.json``, ``model.safetensors`` or shards of 5 GB, ``files``, and for a model
            that makes vectors of texts what sentence-transformers asks for (``modules.json`` and more).
        family: the family to write it as; by default the first that can say it.
        files: further files by name, such as ``tokenizer.json`` and ``generation_config.json``; token ids of the
            latter go into the configuration too, ``labels.json`` becomes its ``id2label``.
        context: the longest row that it is for, unless its position table says it; by default that of the class.
        force: replace a folder that was written so.
        progress: called with bytes written and bytes in all.

    Returns:
        The name of the class that it is.

    Raises:
        SourceError: FX1870, no family can say it; the message names the block.
        UserError: the folder may not be written; FX2002, ``weights`` lacks parameters, has others, or shapes differ.
        ResourceError: FX1304, the operating system refused.
    """
    carried = dict(files or {})
    carried |= _tokenizer_config(spec, carried)
    written = as_family(spec, weights, family, beside=_beside(carried))
    unsaid: dict[str, Any] = dict.fromkeys(BESIDE[:3])  # their classes have ids of published vocabularies as defaults
    longest = {LONGEST: context} if context is not None and _takes(written.config) else {}
    config = {**unsaid, **longest, **written.config, **_labels(carried)}
    if written.pool is not None:
        carried = {**_modules(spec, written.pool, context), **carried}
    dtypes = {tensor.dtype for tensor in written.tensors.values()}
    if len(dtypes) == 1:
        config["dtype"] = NAMES.get(dtypes.pop(), "float32")
    with writing(out_dir, marker=MARKER, force=force) as folder:
        (folder / "config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")
        write_sharded(folder, written.tensors, metadata={"format": "pt"}, progress=progress)
        for name, content in carried.items():
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_bytes(content)
        names = (path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
        told = {"flexit": __version__, "files": sorted(name for name in names if name != PARTIAL)}
        (folder / MARKER).write_text(json.dumps(told), encoding="utf-8")
    return str(cast("list[str]", config["architectures"])[0])


def _modules(spec: Spec, pool: dict[str, Any], context: int | None) -> dict[str, bytes]:
    """What says how sentence-transformers makes vectors of the states."""
    program = compile_spec(spec)
    bounds = [bound for bound in (longest_row(program), context) if bound is not None]
    width = program.outputs[VECTOR].dims[-1]
    assert isinstance(width, int)
    return written_modules(pool, width=width, longest=min(bounds, default=None))


def _takes(config: Mapping[str, Any]) -> bool:
    """Whether a family's configurations name the longest row beside what the spec says."""
    return LONGEST in find_family(str(config["model_type"])).inert


def _tokenizer_config(spec: Spec, files: Mapping[str, bytes]) -> dict[str, bytes]:
    """What makes ``AutoTokenizer`` take ``tokenizer.json`` as it stands: without it the class that usually goes with a
    model builds one of its own from the vocabulary, which for a cased BERT writes every text small.
    """
    if TOKENIZER not in files or TOKENIZER_CONFIG in files:
        return {}
    program = compile_spec(spec)
    inputs = {entry.name for entry in program.inputs}
    longest = longest_row(program)
    told: dict[str, Any] = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "clean_up_tokenization_spaces": False,
        "model_input_names": [name for name in READ if name in inputs or name != TYPES],
    }
    if longest is not None:
        told["model_max_length"] = longest
    if SPECIALS in files:
        told |= json.loads(files[SPECIALS])
    return {TOKENIZER_CONFIG: json.dumps(told, indent=2, ensure_ascii=False).encode()}


def _beside(files: Mapping[str, bytes]) -> dict[str, Any]:
    """Token ids that the model's files name."""
    if "generation_config.json" not in files:
        return {}
    given = json.loads(files["generation_config.json"])
    return {key: given[key] for key in BESIDE if given.get(key) is not None}


def _labels(files: dict[str, bytes]) -> dict[str, Any]:
    """``labels.json``, which is ours, as their ``id2label``."""
    if "labels.json" not in files:
        return {}
    names = json.loads(files.pop("labels.json"))
    return {
        "id2label": {str(index): name for index, name in enumerate(names)},
        "label2id": {name: index for index, name in enumerate(names)},
    }
