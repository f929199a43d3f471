"""A decoder reads a row with pads anywhere, whole and in pieces, as it reads the row without them."""

from itertools import pairwise

import numpy as np
import pytest

from flexit.ir.io.load import load_spec
from flexit.runtime.proof.compare import relative_error
from flexit.runtime.sessions.torch_session import TorchSession
from tests.sessions import ort_session
from tests.stressed import stressed

MASK = np.array(
    [
        [1, 1, 1, 1, 1, 1, 1, 1, 1, 1],
        [0, 0, 0, 1, 1, 1, 1, 1, 1, 1],
        [1, 1, 1, 1, 1, 1, 1, 1, 0, 0],
        [1, 1, 0, 1, 0, 0, 1, 1, 1, 1],
        [0, 1, 1, 0, 0, 0, 0, 1, 0, 1],
        [1, 0, 0, 0, 0, 0, 0, 0, 0, 1],
    ]
)
"""No pads; to the left; to the right; between; between and at the end of a piece; a whole piece of pads."""
ENDS = (3, 5, 6, 10)


@pytest.fixture(scope="module", params=["tiny-short-conv", "tiny-llama"])
def module(request):
    spec = load_spec(request.param)
    return stressed(spec)


@pytest.fixture(scope="module", params=["torch", pytest.param("onnx", marks=pytest.mark.ort)])
def session(request, module, tmp_path_factory):
    if request.param == "torch":
        return TorchSession(module)
    return ort_session(module, tmp_path_factory.mktemp("models"), optimise=True)


@pytest.fixture(scope="module")
def ids():
    return np.random.default_rng(3).integers(0, 60, MASK.shape)


def test_whole_as_without_pads(session, ids):
    scores = session.run({"input_ids": ids, "attention_mask": MASK})["logits"]
    for row, mask in enumerate(MASK.astype(bool)):
        alone = session.run({"input_ids": ids[row : row + 1, mask]})["logits"][0]
        assert relative_error(scores[row, mask], alone) < 1e-5


def test_in_pieces_as_whole(session, ids):
    whole = session.run({"input_ids": ids, "attention_mask": MASK})["logits"]
    session.start({"input_ids": ids[:, : ENDS[0]], "attention_mask": MASK[:, : ENDS[0]]})
    for start, end in pairwise(ENDS):
        found = session.step(ids[:, start:end], MASK[:, start:end])
        read = MASK[:, start:end].astype(bool)
        assert relative_error(found[read], whole[:, start:end][read]) < 1e-5
