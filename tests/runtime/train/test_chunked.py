"""The cross-entropy in pieces: the loss and the gradient of PyTorch's, in less memory."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest
import torch
from torch import Tensor, nn

from flexit.errors import UserError
from flexit.runtime.train.update.chunked import cross_entropy_and_z, tokens_of_a_piece
from flexit.runtime.train.update.loss import IGNORED, CrossEntropy

ROWS, LENGTH, VOCABULARY = 3, 7, 11


def drawn(dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(ROWS, LENGTH, VOCABULARY, generator=draw, dtype=torch.float64)
    labels = torch.randint(0, VOCABULARY, (ROWS, LENGTH), generator=draw)
    labels[0, 3:] = IGNORED  # 17 count, of which the share is no round number
    return logits.to(dtype).requires_grad_(), labels


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("chunk", [1, 4, 21, 1000])
def test_it_is_that_of_pytorch(chunk: int, smoothing: float):
    logits, labels = drawn()
    loss, z = cross_entropy_and_z(logits, labels, chunk=chunk, smoothing=smoothing)
    (0.7 * loss + 0.3 * z).backward()
    other, _ = drawn()
    wanted = nn.functional.cross_entropy(
        other.flatten(0, 1), labels.flatten(), ignore_index=IGNORED, label_smoothing=smoothing
    )  # fmt: skip
    square = other[labels != IGNORED].logsumexp(-1).square().mean()
    (0.7 * wanted + 0.3 * square).backward()
    assert logits.grad is not None and other.grad is not None
    assert torch.allclose(loss, wanted, rtol=1e-12) and torch.allclose(z, square, rtol=1e-12)
    assert torch.allclose(logits.grad, other.grad, rtol=1e-12, atol=1e-16)
    assert float(logits.grad[labels == IGNORED].abs().max()) == 0


def test_its_gradient_is_that_of_finite_differences():
    logits, labels = drawn()
    for smoothing in (0.0, 0.3):

        def of(x: Tensor, smoothing: float = smoothing) -> tuple[Tensor, Tensor]:
            return cross_entropy_and_z(x, labels, chunk=4, smoothing=smoothing)

        assert torch.autograd.gradcheck(of, (logits,))
        assert torch.autograd.gradgradcheck(of, (logits,))


@pytest.mark.parametrize("offset", [0.0, 1e5, -3e4])
def test_large_logits_have_the_digits_of_pytorch(offset: float):
    logits, labels = (each.detach() for each in drawn(torch.float32))
    logits[1, 1, labels[1, 1]] = 25.0  # as good as certain
    logits = logits + offset
    found, wanted = logits.clone().requires_grad_(), logits.clone().requires_grad_()
    loss, _ = cross_entropy_and_z(found, labels, chunk=4)
    loss.backward()
    other = nn.functional.cross_entropy(wanted.flatten(0, 1), labels.flatten(), ignore_index=IGNORED)
    other.backward()
    assert found.grad is not None and wanted.grad is not None
    assert loss.item() == pytest.approx(other.item(), rel=1e-6)
    torch.testing.assert_close(found.grad, wanted.grad, rtol=1e-4, atol=1e-9)


def test_narrow_logits_are_computed_with_in_fp32():
    logits, labels = drawn(torch.bfloat16)
    loss, _ = cross_entropy_and_z(logits, labels, chunk=4)
    loss.backward()
    assert logits.grad is not None
    assert loss.dtype == torch.float32 and logits.grad.dtype == torch.bfloat16
    other = logits.detach().float().requires_grad_()
    wanted = nn.functional.cross_entropy(other.flatten(0, 1), labels.flatten(), ignore_index=IGNORED)
    wanted.backward()
    assert loss.item() == pytest.approx(wanted.item(), rel=1e-6)
    assert other.grad is not None
    assert torch.equal(logits.grad, other.grad.to(torch.bfloat16))


def test_the_loss_of_a_run_is_the_same_in_pieces(monkeypatch: pytest.MonkeyPatch):
    """Also where it is compiled, which has its own ways."""
    logits, labels = drawn(torch.float32)

    def told(chunk: int | None) -> dict[str, Tensor]:
        loss = CrossEntropy(z_loss=0.1, label_smoothing=0.2, chunk=chunk)
        return loss({"logits": logits}, {"labels": labels})

    some = [told(None), told(4)]
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    some.append(told(None))
    assert all(each.keys() == {"loss", "z_loss"} for each in some)
    assert all(each[name].item() == pytest.approx(some[0][name].item(), rel=1e-6) for each in some for name in each)
    assert "_Chunked" in str(some[0]["loss"].grad_fn) and "_Chunked" not in str(some[2]["loss"].grad_fn)


def test_pieces_are_of_what_a_cache_holds():
    assert tokens_of_a_piece(torch.empty(5, 256)) == 2048
    assert tokens_of_a_piece(torch.empty(5, 150_000)) == 16
    assert tokens_of_a_piece(torch.empty(5, 8192, device="meta")) == 4096


@pytest.mark.parametrize("label", [VOCABULARY, -1])
def test_labels_beyond_the_vocabulary_are_told(label: int):
    logits, labels = drawn()
    labels[1, 1] = label
    with pytest.raises(UserError, match=f"token ids from 0 to {VOCABULARY - 1}"):
        CrossEntropy(chunk=4)({"logits": logits}, {"labels": labels})


PEAK = textwrap.dedent("""
    import re, resource, sys
    from pathlib import Path
    import torch
    from flexit.runtime.train.update.loss import CrossEntropy

    def peak():
        status = Path("/proc/self/status")  # what getrusage says there includes the parent's memory at the fork
        if status.is_file():
            return int(re.search(r"VmHWM:\\s+(\\d+)", status.read_text())[1]) / 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2

    torch.set_num_threads(1)
    logits = torch.randn(1, 2000, 16000)  # 122 MiB
    labels = torch.zeros(1, 2000, dtype=torch.int64)
    small = {"logits": logits[:, :10].clone().requires_grad_()}
    pieces, whole = CrossEntropy(), torch.nn.CrossEntropyLoss()
    plain = lambda outputs, batch: {"loss": whole(outputs["logits"][0], batch["labels"][0])}
    loss = pieces if sys.argv[1] == "pieces" else plain
    loss(small, {"labels": labels[:, :10]})["loss"].backward()
    logits.requires_grad_()
    before = peak()
    loss({"logits": logits}, {"labels": labels})["loss"].backward()
    print((peak() - before) / 122.07)
""")


@pytest.mark.slow
def test_it_takes_one_array_beside_the_logits_and_pytorchs_three():
    peaks = [
        float(subprocess.run([sys.executable, "-c", PEAK, chunk], capture_output=True, text=True, check=True).stdout)
        for chunk in ("whole", "pieces")
    ]
    print(peaks)
    assert peaks[0] > 2.0
    assert peaks[1] < 1.3
