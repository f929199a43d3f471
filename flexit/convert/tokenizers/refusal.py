"""Errors about tokenizer files, and the library that reads one form of them."""

from __future__ import annotations

from typing import Any

from flexit.errors import SourceError


def unreadable(file: str, *, expected: str, found: str) -> SourceError:
    """FX1901: a tokenizer file is not what its name says."""
    return SourceError.of(
        "FX1901", f"{file} cannot be read", path=file, expected=expected, found=shortened(found),
        cure="take the file from the model again",
    )  # fmt: skip


def inconsistent(file: str, message: str, *, expected: str, found: str) -> SourceError:
    """FX1902: a vocabulary contradicts itself."""
    return SourceError.of(
        "FX1902", message, path=file, expected=expected, found=shortened(found),
        cure="take the tokenizer files from the model again, all of one version",
    )  # fmt: skip


def unknown(file: str, message: str, *, expected: str, found: str) -> SourceError:
    """FX1903: a tokenizer of a kind that is not converted."""
    return SourceError.of(
        "FX1903", message, path=file, expected=expected, found=shortened(found),
        cure="put the model's tokenizer.json beside its weights: the tokenizers library writes one",
    )  # fmt: skip


def shortened(text: object) -> str:
    """Its first 200 characters."""
    written = str(text)
    return written if len(written) <= 200 else f"{written[:200]}..."


def sentencepiece_messages() -> Any:
    """The messages that a SentencePiece file is made of.

    Raises:
        SourceError: FX1825, the library is not there.
    """
    try:
        from sentencepiece import sentencepiece_model_pb2
    except ImportError as error:
        raise SourceError.of(
            "FX1825", "SentencePiece files need one more library", expected="sentencepiece and protobuf",
            found=str(error), cure='install it: pip install "flexit-ml[hf]"',
        ) from error  # fmt: skip
    return sentencepiece_model_pb2
