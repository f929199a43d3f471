"""Buckets of distances at every distance that matters, in both backends: log-spaced ones as Hugging Face has them,
exact ones by their definition.
"""

import numpy as np
import pytest
import torch
from transformers.models.deberta_v2.modeling_deberta_v2 import make_log_bucket_position

from flexit.ir.ops.bucket import Bucket
from tests.oracles.both import run_both

QUERIES, KEYS = np.array([[0, 5, 1500]]), np.arange(3000)[None]
LOG = [
    (n, reach)
    for n in (2, 3, 4, 5, 8, 9, 32, 256)
    for reach in sorted({n // 2 + 2, n // 2 + 3, n + 2, 2 * n, 7 * n, 512, 100_000})
    if reach > n // 2 + 1
]


def bucketed(**attributes):
    arrays = {"q": QUERIES, "k": KEYS}
    found = run_both(lambda e, q, k: [e.write(Bucket(**attributes), q, k, name="bucket")], arrays)
    return {backend: rows for backend, (rows,) in found.items()}


@pytest.mark.ort
@pytest.mark.parametrize(("n", "reach"), LOG)
def test_log_buckets_are_those_of_hugging_face(n, reach):
    apart = torch.from_numpy(QUERIES[:, :, None] - KEYS[:, None, :])
    expected = (make_log_bucket_position(apart, n, reach).to(torch.int64) + n).clamp(0, 2 * n - 1).numpy()
    for backend, rows in bucketed(kind="log", n_buckets=n, max_distance=reach).items():
        assert np.array_equal(rows, expected), backend


@pytest.mark.ort
@pytest.mark.parametrize("two_sided", [True, False])
def test_exact_buckets_lie_in_the_table_or_in_none(two_sided):
    op = Bucket(kind="exact", max_distance=1499, two_sided=two_sided)
    for backend, rows in bucketed(kind="exact", max_distance=1499, two_sided=two_sided).items():
        for query, row in zip(QUERIES[0], rows[0], strict=True):
            for key, found in zip(KEYS[0], row, strict=True):
                d = int(key - query) if two_sided else min(int(key - query), 0)
                assert found == d + 1499 if abs(d) <= 1499 else found >= op.rows, (backend, d)
