"""Which names blocks, inputs, outputs, ports and variants may have. The reserved words are frozen per version."""

from __future__ import annotations

import keyword
import re

from pydantic_core import PydanticCustomError

PATTERN = re.compile(r"[a-z][a-z0-9_]{0,63}")

RESERVED = frozenset(
    [
        "add_module",
        "apply",
        "aux",
        "bfloat16",
        "buffers",
        "cache",
        "call_super_init",
        "children",
        "compile",
        "cpu",
        "cuda",
        "double",
        "dump_patches",
        "empty_cache",
        "eval",
        "extra_repr",
        "float",
        "forward",
        "get_buffer",
        "get_extra_state",
        "get_parameter",
        "get_submodule",
        "half",
        "ipu",
        "load_state_dict",
        "modules",
        "mtia",
        "named_buffers",
        "named_children",
        "named_modules",
        "named_parameters",
        "parameters",
        "program",
        "register_backward_hook",
        "register_buffer",
        "register_forward_hook",
        "register_forward_pre_hook",
        "register_full_backward_hook",
        "register_full_backward_pre_hook",
        "register_load_state_dict_post_hook",
        "register_load_state_dict_pre_hook",
        "register_module",
        "register_parameter",
        "register_state_dict_post_hook",
        "register_state_dict_pre_hook",
        "requires_grad_",
        "self",
        "set_extra_state",
        "set_submodule",
        "share_memory",
        "spec",
        "state_dict",
        "to",
        "to_empty",
        "training",
        "train",
        "type",
        "xpu",
        "zero_grad",
    ]
)
"""What a PyTorch module has already, and what a model adds to it or takes beside its inputs, in language version 1."""


def check_name(name: str) -> str:
    """``name`` itself.

    Raises:
        PydanticCustomError: it does not match the pattern, or is a Python keyword or a reserved word.
    """
    if PATTERN.fullmatch(name) and not keyword.iskeyword(name) and name not in RESERVED:
        return name
    reason = "reserved" if PATTERN.fullmatch(name) else "pattern"
    raise PydanticCustomError("bad_name", "not a name", {"name": name, "reason": reason, "free": free_name(name)})


def free_name(name: str) -> str:
    """A legal name near ``name``."""
    text = re.sub(r"[^a-z0-9_]+", "_", name.lower()).strip("_")[:56] or "block"
    text = text if text[0].isalpha() else f"b_{text}"
    return f"{text}_block" if keyword.iskeyword(text) or text in RESERVED else text
