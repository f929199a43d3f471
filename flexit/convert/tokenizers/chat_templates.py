"""The chat templates of a folder, wherever it keeps them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from flexit.convert.sources.inside import has_file
from flexit.convert.tokenizers.contents import text_of
from flexit.convert.tokenizers.files import DEFAULT, TEMPLATE
from flexit.convert.tokenizers.refusal import unreadable
from flexit.convert.tokenizers.specials import CONFIG

FOLDER = "additional_chat_templates"


def chat_templates_of(folder: Path, config: Mapping[str, Any]) -> dict[str, str]:
    """Chat templates by name: ``chat_template.jinja`` and a folder of named ones, before ``tokenizer_config.json``.

    Raises:
        SourceError: FX1901, one is no text.
    """
    found = _listed(config.get("chat_template"))
    if has_file(folder, TEMPLATE):
        found[DEFAULT] = text_of(folder, TEMPLATE)
    if (folder / FOLDER).is_dir():
        files = sorted((folder / FOLDER).glob("*.jinja"))
        found |= {file.stem: text_of(folder, f"{FOLDER}/{file.name}") for file in files}
    return found


def _listed(given: object) -> dict[str, str]:
    """A template, or a list of ``{"name": ..., "template": ...}``."""
    if given is None:
        return {}
    if isinstance(given, str):
        return {DEFAULT: given}
    found: dict[str, str] = {}
    for each in cast("Sequence[object]", given) if isinstance(given, list) else [given]:
        data = cast("dict[str, object]", each) if isinstance(each, dict) else {}
        name, template = data.get("name"), data.get("template")
        if not isinstance(name, str) or not isinstance(template, str):
            raise unreadable(
                CONFIG, expected="in chat_template a text, or a list of names with templates", found=repr(each)
            )
        found[name] = template
    return found
