"""``vocab.txt``: WordPiece (Wu et al. 2016) over words that are split as in BERT (Devlin et al. 2019)."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers

from flexit.convert.tokenizers.contents import flag_in
from flexit.convert.tokenizers.refusal import inconsistent
from flexit.convert.tokenizers.specials import CONFIG

CONTINUED = "##"


def word_piece(
    vocabulary: Mapping[str, int], config: Mapping[str, Any], *, unk: str, lower_case: bool, file: str
) -> Tokenizer:
    """The tokenizer of a vocabulary.

    Args:
        vocabulary: ids of tokens; ``##`` begins what continues a word.
        config: ``tokenizer_config.json``: ``do_lower_case``, ``strip_accents`` (by default as lower-casing),
            ``tokenize_chinese_chars``.
        unk: token of words that have no pieces.
        lower_case: whether texts are in lower case where the folder does not say it.
        file: the vocabulary file, which is blamed.

    Raises:
        SourceError: FX1902, the unknown token is not in the vocabulary; FX1901, a flag is none.
    """
    if unk not in vocabulary:
        raise inconsistent(file, "the vocabulary has no unknown token", expected=f"a line {unk}", found="none")
    said = flag_in(config, "do_lower_case", name=CONFIG)
    chinese = flag_in(config, "tokenize_chinese_chars", name=CONFIG)
    inner = Tokenizer(models.WordPiece(dict(vocabulary), unk_token=unk))
    parts: Any = inner  # the stub says that these cannot be set
    parts.normalizer = normalizers.BertNormalizer(
        clean_text=True, handle_chinese_chars=chinese is not False, lowercase=lower_case if said is None else said,
        strip_accents=flag_in(config, "strip_accents", name=CONFIG),
    )  # fmt: skip
    parts.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    parts.decoder = decoders.WordPiece(prefix=CONTINUED)
    return inner


def vocabulary_of(text: str, *, file: str) -> dict[str, int]:
    """The tokens of a ``vocab.txt``, a line each.

    Raises:
        SourceError: FX1902, a token stands on two lines, or there is none.
    """
    found: dict[str, int] = {}
    for number, line in enumerate(io.StringIO(text, newline=None)):
        token = line.rstrip("\n")
        if token in found:
            raise inconsistent(
                file, "a token stands in the vocabulary twice", expected="each token once",
                found=f"{token!r} on lines {found[token] + 1} and {number + 1}",
            )  # fmt: skip
        found[token] = number
    if not found:
        raise inconsistent(file, "the vocabulary is empty", expected="a token on each line", found="no line")
    return found
