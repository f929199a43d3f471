"""``mlflow``: MLflow's tracking."""

from __future__ import annotations

import importlib
import time
from collections.abc import Mapping
from typing import Any, ClassVar

from flexit.runtime.train.tracker import Opening, Tracker, Writer

LONGEST = 500
"""Characters of a parameter that every store takes."""


class MLflow(Tracker, kind="mlflow"):
    """MLflow's tracking, by its library: a server, or a store of files or a database."""

    library: ClassVar[str] = "mlflow"
    package_name: ClassVar[str] = "mlflow"

    uri: str | None = None
    """Where it keeps runs, such as `sqlite:///runs.db` or `http://host:5000`; null: as the library is set."""
    experiment: str = "flexit"
    """The experiment."""
    name: str | None = None
    """What the run is called; null: as its folder."""

    def open(self, given: Opening) -> Writer:
        return _Run(self, given)


class _Run:
    def __init__(self, tracker: MLflow, given: Opening) -> None:
        mlflow: Any = importlib.import_module("mlflow")
        self._metric: Any = importlib.import_module("mlflow.entities").Metric
        self._client = mlflow.MlflowClient(tracking_uri=tracker.uri)
        if given.known is not None:
            self.name = given.known
            self._client.update_run(self.name, status="RUNNING")
            return
        found = self._client.get_experiment_by_name(tracker.experiment)
        number = self._client.create_experiment(tracker.experiment) if found is None else found.experiment_id
        run = self._client.create_run(number, run_name=tracker.name or given.out.resolve().name)
        self.name = str(run.info.run_id)
        for key, value in _flat(given.settings):
            self._client.log_param(self.name, key, str(value)[:LONGEST])

    def write(self, step: int, values: Mapping[str, float]) -> None:
        now = int(1000 * time.time())
        self._client.log_batch(
            self.name, metrics=[self._metric(key, value, now, step) for key, value in values.items()]
        )

    def close(self) -> None:
        self._client.set_terminated(self.name)


def _flat(data: Mapping[str, Any], before: str = "") -> list[tuple[str, Any]]:
    """Settings by dotted names."""
    found: list[tuple[str, Any]] = []
    for key, value in data.items():
        found += _flat(value, f"{before}{key}.") if isinstance(value, Mapping) else [(f"{before}{key}", value)]
    return found
