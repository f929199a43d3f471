"""GGUF files as the gguf package writes them are read as it reads them, and damaged ones are refused at once."""

from __future__ import annotations

import struct
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType, GGUFReader, GGUFWriter
from gguf.quants import dequantize, quantize

from flexit.convert.sources import gguf as ours
from flexit.convert.sources.gguf import open_gguf
from flexit.convert.sources.source import open_source
from flexit.errors import SourceError
from tests.convert.sources.test_opening import code_of

Array = np.ndarray[Any, Any]
QUANTISED = ["Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "TQ1_0", "TQ2_0", "MXFP4",
             "IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ3_XXS", "IQ3_S", "IQ1_S", "IQ1_M", "IQ4_NL", "IQ4_XS"]  # fmt: skip
METADATA: dict[str, Any] = {
    "tokenizer.ggml.tokens": ["<s>", "a\u00e9\U0001f600", "", "b" * 1000],
    "tokenizer.ggml.scores": [0.5, -1.0, 2.0, 0.0],
    "tokenizer.ggml.token_type": [1, 2, -3, 4],
    "tokenizer.chat_template": "{{ messages }}",
    "llama.context_length": 2048,
    "llama.rope.freq_base": 10000.0,
    "general.quantized": True,
}


def stored(kind: str, shape: tuple[int, ...], seed: int = 0) -> Array:
    """Bytes of a tensor in a quantised format: any bytes, but usual numbers as scales."""
    rng = np.random.default_rng(seed)
    n_elements, n_bytes = GGML_QUANT_SIZES[GGMLQuantizationType[kind]]
    raw = rng.integers(0, 256, (*shape[:-1], shape[-1] // n_elements, n_bytes), dtype=np.uint8)
    places = {"Q2_K": (80, 82), "Q3_K": (108,), "Q6_K": (208,), "TQ1_0": (52,), "TQ2_0": (64,), "Q4_1": (0, 2),
              "Q5_1": (0, 2), "Q4_K": (0, 2), "Q5_K": (0, 2), "MXFP4": (), "IQ1_M": ()}  # fmt: skip
    for at in places.get(kind, (0,)):
        scales = rng.uniform(0.01, 0.1, raw.shape[:-1]).astype(np.float16)
        raw[..., at : at + 2] = scales[..., None].view(np.uint8)
    return raw.reshape(*shape[:-1], -1)


def write(path: Path, tensors: dict[str, Array | tuple[str, Array]], metadata: dict[str, Any] | None = None) -> Path:
    """A GGUF file; a tensor is an array, or the name of a format and bytes."""
    writer = GGUFWriter(path, "llama")
    for key, value in (METADATA if metadata is None else metadata).items():
        add: Callable[[str, Any], None] = {
            str: writer.add_string, bool: writer.add_bool, int: writer.add_uint32, float: writer.add_float32,
            list: writer.add_array,
        }[type(value)]  # fmt: skip
        add(key, value)
    for name, tensor in tensors.items():
        if isinstance(tensor, tuple):
            writer.add_tensor(name, tensor[1], raw_dtype=GGMLQuantizationType[tensor[0]])
        else:
            writer.add_tensor(name, tensor)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def plain() -> dict[str, Array | tuple[str, Array]]:
    rng = np.random.default_rng(3)
    numbers = rng.normal(size=(3, 64)).astype(np.float32)
    bf16 = GGMLQuantizationType.BF16
    return {
        "token_embd.weight": numbers, "half": numbers.astype(np.float16), "double": numbers.astype(np.float64),
        "bf16": ("BF16", quantize(numbers, bf16)), "i8": np.arange(5, dtype=np.int8),
        "i16": np.arange(5, dtype=np.int16),
        "i32": np.arange(6, dtype=np.int32).reshape(1, 2, 3), "i64": np.arange(5, dtype=np.int64),
        "rank4": rng.normal(size=(2, 3, 4, 5)).astype(np.float32),
    }  # fmt: skip


def test_plain_tensors_and_metadata(tmp_path: Path) -> None:
    tensors = plain()
    file = open_gguf(write(tmp_path / "x.gguf", tensors))
    assert file.metadata == {"general.architecture": "llama", **METADATA}
    assert list(file.tensors) == list(tensors)
    for name, array in tensors.items():
        tensor = file.tensors[name]
        if isinstance(array, tuple):
            assert (tensor.dtype, file.formats[name]) == ("BF16", "BF16")
            assert tensor.numpy().tobytes() == array[1].tobytes()
            assert tensor.shape == (3, 64)
        else:
            assert tensor.numpy().dtype == array.dtype
            assert tensor.numpy().tobytes() == array.tobytes()
            assert tensor.shape == array.shape
        assert tensor.shape == tensor.numpy().shape == tuple(tensor.torch().shape)


@pytest.mark.parametrize("kind", QUANTISED)
def test_quantised_tensors_are_what_the_package_makes_of_them(tmp_path: Path, kind: str, monkeypatch) -> None:
    monkeypatch.setattr(ours, "_PIECE", 600)
    raw = stored(kind, (2, 5, 512))
    path = write(tmp_path / "x.gguf", {"before": np.ones(7, np.float32), "w": (kind, raw)})
    file = open_gguf(path)
    tensor = file.tensors["w"]
    assert (tensor.shape, tensor.dtype, file.formats["w"]) == ((2, 5, 512), "F32", kind)
    known = GGUFReader(path).tensors[1]
    with np.errstate(all="ignore"):
        expected = dequantize(np.array(known.data), known.tensor_type)
    assert tensor.numpy().dtype == np.float32
    assert np.array_equal(tensor.numpy(), expected.reshape(2, 5, 512), equal_nan=True)


def half(block: Array, at: int) -> float:
    return float(block[at : at + 2].view(np.float16)[0])


def as_q8_0(block: Array) -> list[float]:
    return [half(block, 0) * int(number) for number in block[2:].view(np.int8)]


def as_q4_0(block: Array) -> list[float]:
    low, high = [int(byte) & 15 for byte in block[2:]], [int(byte) >> 4 for byte in block[2:]]
    return [half(block, 0) * (number - 8) for number in low + high]


def as_q4_1(block: Array) -> list[float]:
    low, high = [int(byte) & 15 for byte in block[4:]], [int(byte) >> 4 for byte in block[4:]]
    return [half(block, 0) * number + half(block, 2) for number in low + high]


def as_q4_k(block: Array) -> list[float]:
    """Eight groups of 32; six-bit scales and minima in 12 bytes, the upper two bits of the last four apart."""
    packed, numbers = [int(byte) for byte in block[4:16]], [int(byte) for byte in block[16:]]
    made: list[float] = []
    for group in range(8):
        if group < 4:
            scale, least = packed[group] & 63, packed[group + 4] & 63
        else:
            scale = (packed[group + 4] & 15) | (packed[group - 4] >> 6) << 4
            least = (packed[group + 4] >> 4) | (packed[group] >> 6) << 4
        for byte in numbers[group // 2 * 32 : group // 2 * 32 + 32]:
            nibble = byte >> 4 if group % 2 else byte & 15
            made.append(half(block, 0) * scale * nibble - half(block, 2) * least)
    return made


def as_q6_k(block: Array) -> list[float]:
    """Sixteen groups of 16; four lower bits in 128 bytes, two upper ones in 64, scales in 16 signed bytes."""
    low, high, scales = block[:128], block[128:192], block[192:208].view(np.int8)
    made: list[float] = []
    for at in range(256):
        part, within = divmod(at, 128)
        quarter, lane = divmod(within, 32)
        byte = int(low[part * 64 + quarter % 2 * 32 + lane])
        lower = byte >> 4 if quarter >= 2 else byte & 15
        upper = int(high[part * 32 + lane]) >> 2 * quarter & 3
        made.append(half(block, 208) * int(scales[at // 16]) * ((lower | upper << 4) - 32))
    return made


@pytest.mark.parametrize("define", [as_q8_0, as_q4_0, as_q4_1, as_q4_k, as_q6_k])
def test_quantised_tensors_by_definition(tmp_path: Path, define: Callable[[Array], list[float]]) -> None:
    kind = define.__name__.removeprefix("as_").upper()
    raw = stored(kind, (3, 512), seed=5)
    expected = [define(block) for block in raw.reshape(-1, GGML_QUANT_SIZES[GGMLQuantizationType[kind]][1])]
    found = open_gguf(write(tmp_path / "x.gguf", {"w": (kind, raw)})).tensors["w"].numpy()
    np.testing.assert_allclose(found, np.array(expected).reshape(3, 512), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", ["Q8_0", "Q4_0", "Q5_1"])
def test_quantised_numbers_are_near(tmp_path: Path, kind: str) -> None:
    numbers = np.random.default_rng(2).uniform(-1, 1, (4, 64)).astype(np.float32)
    raw = quantize(numbers, GGMLQuantizationType[kind])
    found = open_gguf(write(tmp_path / "x.gguf", {"w": (kind, raw)})).tensors["w"].numpy()
    assert np.abs(found - numbers).max() < {"Q8_0": 0.005, "Q4_0": 0.15, "Q5_1": 0.04}[kind]


def test_a_source(tmp_path: Path) -> None:
    path = write(tmp_path / "x.GGUF", plain())
    (tmp_path / "link.gguf").symlink_to(path)
    for place in (path, tmp_path / "link.gguf"):
        source = open_source(place)
        assert source.gguf is not None
        assert source.gguf.metadata["llama.context_length"] == 2048
        assert (source.config, source.folder, source.place) == ({}, None, str(place))
        assert source.tensors["token_embd.weight"].shape == (3, 64)


def refused(path: Path) -> str:
    """The code with which a file is refused, at once."""
    begin = time.perf_counter()
    code = code_of(path)
    assert time.perf_counter() - begin < 1
    return code


def head(*, magic: bytes = b"GGUF", version: int = 3, tensors: int = 0, entries: int = 0) -> bytes:
    return magic + struct.pack("<IQQ", version, tensors, entries)


def text(value: bytes, length: int | None = None) -> bytes:
    return struct.pack("<Q", len(value) if length is None else length) + value


def info(name: bytes = b"w", shape: tuple[int, ...] = (4,), kind: int = 0, offset: int = 0) -> bytes:
    return text(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, kind, offset)


def u32(key: bytes, value: int) -> bytes:
    return text(key) + struct.pack("<II", 4, value)


def array(key: bytes, kind: int, length: int, data: bytes = b"") -> bytes:
    return text(key) + struct.pack("<IIQ", 9, kind, length) + data


def padded(header: bytes, data: bytes = b"", alignment: int = 32) -> bytes:
    return header + b"\0" * (-len(header) % alignment) + data


BAD = {
    "nothing": ("FX1820", b""),
    "another magic": ("FX1820", head(magic=b"GGML")),
    "version 1": ("FX1820", head(version=1)),
    "version 4": ("FX1820", head(version=4)),
    "high byte first": ("FX1820", head(version=3 << 24)),
    "a part": ("FX1820", head(entries=1) + text(b"split.count") + struct.pack("<IH", 2, 3)),
    "no counts": ("FX1821", b"GGUF\3\0\0\0\0"),
    "endless tensors": ("FX1821", head(tensors=2**63)),
    "endless entries": ("FX1821", head(entries=2**64 - 1)),
    "one entry too many": ("FX1822", padded(head(entries=2) + u32(b"a", 1), b"\0" * 64)),
    "an endless key": ("FX1821", padded(head(entries=1) + text(b"a", 2**62))),
    "an endless text": ("FX1821", padded(head(entries=1) + text(b"a") + struct.pack("<I", 8) + text(b"x", 2**64 - 1))),
    "an endless array": ("FX1822", padded(head(entries=1) + array(b"a", 4, 2**60))),
    "an endless array of texts": ("FX1822", padded(head(entries=1) + array(b"a", 8, 2**62))),
    "an array longer than the file": ("FX1821", padded(head(entries=1) + array(b"a", 4, 2**20))),
    "texts that end": ("FX1821", padded(head(entries=1) + array(b"a", 8, 2**22))),
    "an array of arrays": ("FX1822", padded(head(entries=1) + array(b"a", 9, 1))),
    "an empty array of nothing": ("FX1822", padded(head(entries=1) + array(b"a", 77, 0))),
    "an unknown kind": ("FX1822", padded(head(entries=1) + text(b"a") + struct.pack("<I", 13), b"\0" * 64)),
    "a tensor without a name": ("FX1822", padded(head(tensors=2) + info(), b"\0" * 64)),
    "a key twice": ("FX1822", head(entries=2) + u32(b"a", 1) + u32(b"a", 1)),
    "no UTF-8": ("FX1822", head(entries=1) + u32(b"\xff\xfe", 1)),
    "a tensor twice": ("FX1822", padded(head(tensors=2) + info() + info(offset=32), b"\0" * 64)),
    "five dimensions": ("FX1822", padded(head(tensors=1) + info(shape=(1,) * 5), b"\0" * 64)),
    "many dimensions": ("FX1822", padded(head(tensors=1) + text(b"w") + struct.pack("<I", 2**32 - 1), b"\0" * 64)),
    "an endless shape": ("FX1822", padded(head(tensors=1) + info(shape=(2**40, 2**40)), b"\0" * 64)),
    "an endless shape of nothing": ("FX1822", padded(head(tensors=1) + info(shape=(0, 2**63)), b"\0" * 64)),
    "no alignment": ("FX1822", head(entries=1) + u32(b"general.alignment", 0)),
    "an odd alignment": ("FX1822", head(entries=1) + u32(b"general.alignment", 24)),
    "an absurd alignment": ("FX1822", head(entries=1) + u32(b"general.alignment", 2**31)),
    "not aligned": ("FX1823", padded(head(tensors=1) + info(offset=4), b"\0" * 64)),
    "overlapping": ("FX1823", padded(head(tensors=2) + info() + info(b"v"), b"\0" * 64)),
    "half a block": ("FX1823", padded(head(tensors=1) + info(shape=(40,), kind=8), b"\0" * 640)),
    "a quantised scalar": ("FX1823", padded(head(tensors=1) + info(shape=(), kind=8), b"\0" * 640)),
    "beyond the end": ("FX1821", padded(head(tensors=1) + info(offset=2**62), b"\0" * 64)),
    "just beyond the end": ("FX1821", padded(head(tensors=1) + info(), b"\0" * 15)),
    "a large one": ("FX1821", padded(head(tensors=1) + info(shape=(2**40,)), b"\0" * 64)),
    "an unknown format": ("FX1824", padded(head(tensors=1) + info(kind=999), b"\0" * 64)),
    "a retired format": ("FX1824", padded(head(tensors=1) + info(kind=4), b"\0" * 64)),
    "a format that is not dequantised": ("FX1824", padded(head(tensors=1) + info(shape=(256,), kind=15), b"\0" * 640)),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_refused(tmp_path: Path, case: str) -> None:
    code, data = BAD[case]
    (tmp_path / "x.gguf").write_bytes(data)
    assert refused(tmp_path / "x.gguf") == code


def test_the_bricks_of_these_cases_are_sound(tmp_path: Path) -> None:
    header = head(tensors=2, entries=3) + u32(b"general.alignment", 64) + array(b"a", 7, 2, b"\0\1")
    header += text(b"t") + struct.pack("<I", 8) + text(b"x") + info() + info(b"v", (2, 3), 1, 64)
    numbers = np.arange(4, dtype=np.float32).tobytes().ljust(64, b"\0") + np.arange(6, dtype=np.float16).tobytes()
    (tmp_path / "x.gguf").write_bytes(padded(header, numbers, 64))
    file = open_gguf(tmp_path / "x.gguf")
    assert file.metadata == {"general.alignment": 64, "a": [False, True], "t": "x"}
    assert file.tensors["w"].numpy().tolist() == [0, 1, 2, 3]
    assert file.tensors["v"].numpy().tolist() == [[0, 1], [2, 3], [4, 5]]


def test_a_header_larger_than_a_header_may_be(tmp_path: Path) -> None:
    """The file is that large, but sparse: nothing of it may be read into memory."""
    for entry in (text(b"a") + struct.pack("<I", 8) + struct.pack("<Q", 2**33), array(b"a", 4, 2**30)):
        with (tmp_path / "x.gguf").open("wb") as file:
            file.write(head(entries=1) + entry)
            file.truncate(2**35)
        assert refused(tmp_path / "x.gguf") == "FX1822"


def test_truncated_anywhere(tmp_path: Path) -> None:
    whole = write(tmp_path / "x.gguf", plain()).read_bytes()
    last = max(info.data_offset + info.n_bytes for info in GGUFReader(tmp_path / "x.gguf").tensors)
    for size in [*range(4, 200), *range(200, last, 97), last - 1]:
        (tmp_path / "x.gguf").write_bytes(whole[:size])
        assert refused(tmp_path / "x.gguf") == "FX1821"
    (tmp_path / "x.gguf").write_bytes(whole[:last])
    open_gguf(tmp_path / "x.gguf")


def test_damaged_scales_make_no_noise(tmp_path: Path) -> None:
    raw = np.full((1, 34), 0x7C, np.uint8)
    raw[0, :2] = np.array([np.inf], np.float16).view(np.uint8)
    tensor = open_gguf(write(tmp_path / "x.gguf", {"w": ("Q8_0", raw)})).tensors["w"]
    assert np.isinf(tensor.numpy()).all()


def test_without_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    write(tmp_path / "plain.gguf", plain())
    write(tmp_path / "quantised.gguf", {"w": ("Q8_0", stored("Q8_0", (1, 32)))})
    for name in [name for name in sys.modules if name.partition(".")[0] == "gguf"]:
        monkeypatch.setitem(sys.modules, name, None)
    assert open_gguf(tmp_path / "plain.gguf").tensors["half"].numpy().shape == (3, 64)
    with pytest.raises(SourceError, match=r"flexit-ml\[hf\]") as caught:
        open_gguf(tmp_path / "quantised.gguf")
    assert caught.value.code == "FX1825"


def test_a_large_vocabulary_is_read_quickly(tmp_path: Path) -> None:
    tokens = [f"token{at}" for at in range(200_000)]
    path = write(tmp_path / "x.gguf", {}, {"tokenizer.ggml.tokens": tokens, "tokenizer.ggml.scores": [0.5] * 200_000})
    begin = time.perf_counter()
    file = open_gguf(path)
    assert time.perf_counter() - begin < 3
    assert file.metadata["tokenizer.ggml.tokens"] == tokens
