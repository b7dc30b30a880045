"""Numbers for Prometheus. Counters are of what this process saw: each run's end is seen by one service, so sums are right."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from prometheus_client import CollectorRegistry, Counter, Histogram, PlatformCollector, ProcessCollector, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from sqlalchemy import func, select

from curate.service import runs
from curate.service.state import Database, tables
from curate.service.state.types import now

_SECONDS = (1, 10, 60, 300, 1800, 3600, 4 * 3600, 12 * 3600, 24 * 3600, 72 * 3600)


class Metrics:
    """The metrics of one service."""

    def __init__(self, database: Database) -> None:
        self._registry = CollectorRegistry()
        PlatformCollector(self._registry)
        ProcessCollector(registry=self._registry)
        self._registry.register(_Waiting(database))
        self._ended = Counter("curate_runs_ended", "Runs that ended.", ["pipeline", "status"], registry=self._registry)
        self._retries = Counter("curate_run_retries", "Attempts at runs beyond the first.", ["pipeline"], registry=self._registry)
        self._documents = Counter(
            "curate_documents", "Documents that stages took, kept and dropped.", ["pipeline", "what"], registry=self._registry
        )
        self._bytes = Counter("curate_bytes", "Bytes of files that stages read and wrote.", ["pipeline", "what"], registry=self._registry)
        self._drops = Counter(
            "curate_drops", "Documents dropped, by stage and step.", ["pipeline", "stage", "step"], registry=self._registry
        )
        self._rss = Histogram(
            "curate_run_peak_rss_bytes",
            "The most memory that a worker of a run took.",
            buckets=[2**n for n in range(26, 39)],
            registry=self._registry,
        )
        self._seconds = Histogram(
            "curate_run_seconds", "From a run's start to its end.", ["pipeline"], buckets=_SECONDS, registry=self._registry
        )

    def ended(self, run: tables.Run) -> None:
        """Count a run that has ended."""
        self._ended.labels(run.pipeline, run.status).inc()
        self._retries.labels(run.pipeline).inc(run.attempt - 1)
        if run.started_at is not None and run.ended_at is not None:
            self._seconds.labels(run.pipeline).observe((run.ended_at - run.started_at).total_seconds())
        stages = (run.summary or {}).get("stages", {})
        for name, stage in stages.items():
            if stage["status"] == "done":
                self._count(run.pipeline, name, stage)
        if stages:
            self._rss.observe(max(stage["peak_rss_bytes"] for stage in stages.values()))

    def _count(self, pipeline: str, name: str, stage: dict[str, object]) -> None:
        dropped = {step: sum(reasons.values()) for step, reasons in stage["dropped"].items()}  # type: ignore[attr-defined]
        for what, value in (("in", stage["rows_in"]), ("kept", stage["rows_out"]), ("dropped", sum(dropped.values()))):
            self._documents.labels(pipeline, what).inc(float(str(value)))
        for what in ("in", "out"):
            self._bytes.labels(pipeline, what).inc(float(str(stage[f"bytes_{what}"])))
        for step, rows in dropped.items():
            self._drops.labels(pipeline, name, step).inc(rows)

    def text(self) -> bytes:
        """Return all of them in Prometheus' text format."""
        return generate_latest(self._registry)


class _Waiting(Collector):
    """What waits and goes on, counted in the database when somebody asks."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def describe(self) -> Iterator[Metric]:
        yield from ()  # the database is not asked before somebody asks us

    def collect(self) -> Iterator[Metric]:
        with self._database.reading() as session:
            alive = (*runs.WAITING, *runs.ACTIVE)
            counted = select(tables.Run.status, func.count()).where(tables.Run.status.in_(alive)).group_by(tables.Run.status)
            counts = {row[0]: row[1] for row in session.execute(counted)}
            oldest: datetime | None = session.scalar(select(func.min(tables.Run.created_at)).where(tables.Run.status.in_(runs.WAITING)))
        family = GaugeMetricFamily("curate_runs", "Runs that wait or go on.", labels=["status"])
        for status in alive:
            family.add_metric([status], counts.get(status, 0))
        yield family
        waited = (now() - oldest).total_seconds() if oldest is not None else 0.0
        yield GaugeMetricFamily("curate_queue_oldest_seconds", "How long the run waits that waits longest.", value=waited)
