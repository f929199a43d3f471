"""Long prompts are read in pieces, to the same scores; what there is no memory for is said to be that."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

from flexit.errors import TaskError
from flexit.ir.io.load import parse_spec
from flexit.runtime.proof.compare import relative_error
from flexit.runtime.sessions import session as sessions
from flexit.runtime.sessions.session import lacks_memory
from flexit.runtime.sessions.torch_session import TorchSession, interface_of
from tests.sessions import ort_session
from tests.stressed import stressed

DECODER = """
flexit: 1
name: pieces
blocks:
  embed: {kind: embedding, vocab_size: 50, d_model: 16}
  decoder:
    kind: stack
    n_layers: 2
    layer:
      kind: transformer_layer
      norm: rms_norm
      norm_placement: pre
      attention: {kind: multi_head, n_heads: 2, rotary: {ROTARY}, mask: MASK}
      feed_forward: {kind: mlp, d_ff: 32}
    final_norm: true
  head: {kind: lm_head, tied_to: embed}
"""


def decoder(*, rotary: str = "", mask: str = "causal"):
    return stressed(parse_spec(DECODER.replace("ROTARY", rotary).replace("MASK", mask)))


@pytest.mark.ort
@pytest.mark.parametrize("mask", ["causal", "{kind: causal, window: 4}"])
def test_a_prompt_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mask: str) -> None:
    module = decoder(mask=mask)
    rng = np.random.default_rng(0)
    ids, valid = rng.integers(0, 50, (3, 11)), np.ones((3, 11), np.int64)
    valid[1, :2] = valid[2, :9] = 0
    inputs = {"input_ids": ids, "attention_mask": valid}
    for session in (TorchSession(module), ort_session(module, tmp_path)):
        whole = session.start(inputs)
        then = session.step([[1], [2], [3]])
        for size in (1, 4):
            with monkeypatch.context() as patch:
                patch.setattr(sessions, "PIECE", size)
                assert relative_error(session.start(inputs), whole) < 1e-5
                assert relative_error(session.step([[1], [2], [3]]), then) < 1e-5


def test_what_is_read_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows whose earlier tokens later ones change, and prefixes, are not cut."""
    dynamic = decoder(rotary="scaling: {kind: dynamic, factor: 2, original_max_len: 8}")
    prefix = decoder(mask="prefix")
    assert interface_of(decoder().program).in_pieces
    rng = np.random.default_rng(0)
    ids = rng.integers(0, 50, (1, 20))
    for module, more in ((dynamic, {}), (prefix, {"prefix_lengths": [9]})):
        assert not interface_of(module.program).in_pieces
        whole = module(input_ids=_tensor(ids), **{name: _tensor(value) for name, value in more.items()})["logits"]
        monkeypatch.setattr(sessions, "PIECE", 4)
        found = TorchSession(module).start({"input_ids": ids, **more})
        assert relative_error(found, whole[:, -1].detach().numpy()) < 1e-5


def test_a_refused_piece_leaves_nothing_started(monkeypatch: pytest.MonkeyPatch) -> None:
    session = TorchSession(decoder())
    monkeypatch.setattr(sessions, "PIECE", 2)
    read, calls = session._read, []  # pyright: ignore[reportPrivateUsage]

    def failing(own: dict[str, np.ndarray]) -> np.ndarray:
        calls.append(own)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return read(own)

    monkeypatch.setattr(session, "_read", failing)
    with pytest.raises(KeyboardInterrupt):
        session.start({"input_ids": [[1, 2, 3, 4, 5]]})
    with pytest.raises(TaskError, match="FX2006"):
        session.step([[1]])


def _tensor(value: object):
    import torch

    return torch.as_tensor(value)


@pytest.mark.parametrize(
    "text",
    [
        "[ONNXRuntimeError] : 6 : RUNTIME_EXCEPTION : bfc_arena.cc:376 BFCArena::AllocateRawInternal Failed to "
        "allocate memory for requested buffer of size 1228800000",
        "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to "
        "allocate 400000000000 bytes. Error code 12 (Cannot allocate memory)",
        "std::bad_alloc", "CUDA out of memory. Tried to allocate 2.00 GiB",
    ],
)  # fmt: skip
def test_words_for_no_memory(text: str) -> None:
    assert lacks_memory(RuntimeError(text))
    assert lacks_memory(MemoryError())
    assert not lacks_memory(RuntimeError("Invalid rank for input: input_ids"))


@pytest.mark.slow
@pytest.mark.ort
@pytest.mark.skipif(sys.platform != "linux", reason="other systems bound no address space")
@pytest.mark.parametrize("opened", ["open_bundle", "TorchSession"])
def test_a_run_that_there_is_no_memory_for(bundle: Path, checkpoint: Path, opened: str) -> None:
    code = textwrap.dedent(f"""
        import resource, sys
        import flexit
        if {opened!r} == "open_bundle":
            session = flexit.open_bundle({str(bundle)!r}, threads=1)
        else:
            import torch
            torch.set_num_threads(1)
            from flexit.runtime.saved import read_spec, read_weights
            from pathlib import Path
            folder = Path({str(checkpoint)!r})
            session = flexit.TorchSession(flexit.to_torch(read_spec(folder), read_weights(folder)))
        session.run({{"input_ids": [[1, 2]]}})
        with open("/proc/self/statm") as file:
            now = int(file.read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (now + 2**28, now + 2**28))
        try:
            session.run({{"input_ids": [[1] * 20_000]}})
        except flexit.errors.ResourceError as error:
            print(error)
    """)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.startswith("FX1703: running the model needs more memory than there is"), done.stderr
    assert "bytes more" in done.stdout
