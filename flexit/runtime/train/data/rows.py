"""Rows of packed tokens, shuffled by seed, with a position that can be saved and found again at no cost."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from flexit.errors import UserError
from flexit.runtime.train.data.corpus import Tokens


class Rows:
    """Batches ``{"input_ids", "labels"}``, each int64 ``[batch_size, seq_len]``; labels are one on.

    One pass (``for batch in rows``) goes over all rows once, in an order drawn from the seed and the number of the
    pass.
    ``state_dict`` says how far it is; after ``load_state_dict`` the next pass goes on there.

    Attributes:
        batch_size: rows per batch. Training leaves out the rows of a last short batch, evaluation does not.
    """

    def __init__(
        self, tokens: Tokens, *, seq_len: int, batch_size: int, seed: int | None = None, what: str = "training"
    ) -> None:
        """Rows over ``tokens``.

        Args:
            tokens: ids in a row.
            seq_len: tokens per row.
            batch_size: rows per batch.
            seed: of the order; without one the rows keep theirs and a short batch ends the pass.
            what: what the rows are for, in messages.

        Raises:
            UserError: FX1603, not enough tokens.
        """
        self._tokens = tokens
        self._seq_len = seq_len
        self._seed = seed
        self.batch_size = batch_size
        self.n_rows = max(0, len(tokens) - 1) // seq_len
        self._pass = 0
        self._batch = 0
        needed = 1 if seed is None else batch_size
        if self.n_rows < needed:
            raise UserError.of(
                "FX1603", f"too little text for {what}", path="data",
                expected=f"{needed} rows of {seq_len} tokens", found=f"{self.n_rows} rows ({len(tokens)} tokens)",
                cure="add files, or lower seq_len or batch.size" + ("" if seed is not None else ", or raise the split"),
            )  # fmt: skip

    def __len__(self) -> int:
        """Batches in a pass."""
        return self.n_rows // self.batch_size if self._seed is not None else -(-self.n_rows // self.batch_size)

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        if self._seed is None:
            self._batch = 0
        order = self._order()
        while self._batch < len(self):
            chosen = order[self._batch * self.batch_size : (self._batch + 1) * self.batch_size]
            self._batch += 1
            yield self._make(chosen)
        self._pass, self._batch = self._pass + 1, 0

    def state_dict(self) -> dict[str, int]:
        """The position: passes done, batches of the current one done."""
        return {"pass": self._pass, "batch": self._batch}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go on from a saved position."""
        self._pass, self._batch = state["pass"], state["batch"]

    def _order(self) -> np.ndarray:
        if self._seed is None:
            return np.arange(self.n_rows)
        return np.random.default_rng([self._seed, self._pass]).permutation(self.n_rows)

    def _make(self, chosen: np.ndarray) -> dict[str, Tensor]:
        starts = chosen[:, None] * self._seq_len
        rows = self._tokens[starts + np.arange(self._seq_len + 1)[None, :]].astype(np.int64)
        block = torch.from_numpy(rows)
        return {"input_ids": block[:, :-1].contiguous(), "labels": block[:, 1:].contiguous()}
