"""Report mappings as the engine writes them: simulated documents go through real decisions, and the numbers are counted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from curate.histogram import length_histogram, score_histogram

Report = dict[str, Any]

_PROSE = (
    "The harbour master kept a ledger of every boat that came in before the light failed, and his daughter, who was to"
    " keep it after him, learned to read from its columns. "
)
_SITES = ("harbour.example", "gazette.example", "forum.example", "shop.example", "wiki.example", "boats.example")


def _sample(index: int, value: float | None = None) -> dict[str, Any]:
    return {
        "id": f"crawl/{_SITES[index % 6]}/page-{index:05d}#{index * 5119}",
        "value": value,
        "kept_id": None,
        "similarity": None,
        "excerpt": _PROSE * 3,
    }


def _pair(measure: Callable[[Any], dict[str, int]], values: Any, kept: Any) -> dict[str, dict[str, int]]:
    return {"kept": measure(values[kept]), "dropped": measure(values[~kept])}


def _groups(names: Any, length: Any, kept: Any) -> dict[str, dict[str, int]]:
    found = {}
    for name in np.unique(names).tolist():
        mine = names == name
        found[name] = {
            "rows_in": int(mine.sum()),
            "rows_out": int((mine & kept).sum()),
            "text_bytes_in": int(length[mine].sum()),
            "text_bytes_out": int(length[mine & kept].sum()),
        }
    return found


def stage(name: str, documents: int, inputs: list[str], seed: int = 0, decisions: int = 3) -> dict[str, Any]:
    """Simulate a documents stage whose steps drop by thresholds on made-up scores; every number is counted, none invented."""
    rng = np.random.default_rng(seed)
    length = np.exp(rng.normal(7.4, 1.3, documents)).astype(np.int64)
    quality, loss = rng.beta(4, 3, documents), rng.normal(3.2, 0.7, documents)
    quality[rng.random(documents) < 0.002] = np.nan
    kept = np.ones(documents, bool)
    dropped: dict[str, dict[str, int]] = {}
    samples: dict[str, dict[str, list[dict[str, Any]]]] = {}
    rules = [
        ("language", "not_english", rng.random(documents) < 0.31),
        ("language", "low_confidence", rng.random(documents) < 0.07),
        ("length", "too_short", length < 260),
        ("gopher_quality", "mean_word_length", rng.random(documents) < 0.02),
        ("gopher_quality", "symbol_ratio", rng.random(documents) < 0.008),
        ("gopher_quality", "few_stop_words", quality < 0.18),
        ("where", "quality >= 0.3", quality < 0.3),
    ][: decisions * 2 + 1]
    for step, reason, mask in rules:
        gone = mask & kept
        kept &= ~mask
        if gone.any():
            dropped.setdefault(step, {})[reason] = int(gone.sum())
            samples.setdefault(step, {})[reason] = [_sample(int(i), float(length[i])) for i in np.flatnonzero(gone)[:4]]
    errored = min(2, int(kept.sum()))
    kept[np.flatnonzero(kept)[:errored]] = False
    sources, languages = (
        np.array(_SITES)[rng.integers(0, 6, documents)],
        rng.choice(["en", "de", "fr", "pl", "ja"], documents, p=[0.6, 0.15, 0.12, 0.08, 0.05]),
    )
    text_in, text_out = int(length.sum()), int(length[kept].sum())
    return {
        "name": name,
        "kind": "documents",
        "status": "done",
        "fingerprint": f"{seed:02x}9f3c1b7a20",
        "dataset": f"/srv/curate/datasets/{name}@{seed:02x}9f3c1b7a20",
        "inputs": inputs,
        "seconds": documents / 9000,
        "cpu_seconds": documents / 4700,
        "peak_rss_bytes": 312_000_000 + 1_000_000 * seed,
        "retries": seed % 3,
        "shards": max(1, documents // 8000),
        "counts": {
            "rows_in": documents,
            "rows_added": 0,
            "rows_out": int(kept.sum()),
            "merged": 0,
            "errored": errored,
            "dropped": dropped,
            "edited": {"normalize": {"rows": documents // 3, "bytes_removed": text_in // 90, "bytes_added": text_in // 2100}}
            if documents
            else {},
            "bytes_in": text_in // 3,
            "bytes_out": text_out // 3,
            "text_bytes_in": text_in,
            "text_bytes_out": text_out,
        },
        "statistics": {
            "length": _pair(length_histogram, length, kept),
            "scores": {"quality": _pair(score_histogram, quality, kept), "lm_loss": _pair(score_histogram, loss, kept)},
            "groups": {"source": _groups(sources, length, kept), "lang.code": _groups(languages, length, kept)},
        },
        "samples": {
            "kept": [{"id": s["id"], "excerpt": s["excerpt"]} for s in (_sample(int(i)) for i in np.flatnonzero(kept)[:3])],
            "dropped": samples,
            "errors": [
                {
                    "id": f"crawl/broken-{i}",
                    "step": "normalize",
                    "error": "UnicodeDecodeError: 'utf-8' codec can't decode byte 0x9c in position 118",
                }
                for i in range(errored)
            ],
        },
        "steps": ["normalize", "language", "length", "gopher_quality", "where"],
        "step_seconds": {"normalize": 1.9, "language": 6.2, "length": 0.1, "gopher_quality": 3.3, "where": 0.2} if documents else {},
    }


def attributes(name: str, of: dict[str, Any]) -> dict[str, Any]:
    """Simulate an attributes stage over a documents stage: it measures every document and drops none."""
    rows, text = of["counts"]["rows_out"], of["counts"]["text_bytes_out"]
    counts = {"rows_in": rows, "rows_added": 0, "rows_out": rows, "merged": 0, "errored": 0, "dropped": {}, "edited": {}}
    return of | {
        "name": name,
        "kind": "attributes",
        "status": "reused",
        "inputs": [of["name"]],
        "counts": counts | {"bytes_in": text // 3, "bytes_out": rows * 40, "text_bytes_in": text, "text_bytes_out": 0},
        "statistics": {},
        "samples": {},
        "steps": [name],
        "step_seconds": {},
    }


def deduplicated(name: str, of: dict[str, Any], share: float = 0.17) -> dict[str, Any]:
    """Simulate the stage that applies duplicate marks to a documents stage."""
    rows, text = of["counts"]["rows_out"], of["counts"]["text_bytes_out"]
    gone = int(rows * share)
    made = stage(name, rows, [of["name"], "dedup"], seed=7, decisions=0)
    samples = [_sample(i) | {"kept_id": f"crawl/original-{i}", "similarity": 0.8 + i / 40} for i in range(min(gone, 5))]
    counts = {"rows_in": rows, "rows_added": 0, "rows_out": rows - gone, "merged": 0, "errored": 0, "edited": {}}
    volume = {"bytes_in": text // 3, "bytes_out": text // 4, "text_bytes_in": text, "text_bytes_out": int(text * (1 - share))}
    return made | {
        "counts": counts
        | volume
        | {"dropped": {"dedup": {"near_duplicate": gone - gone // 4, "exact_duplicate": gone // 4}} if gone else {}},
        "statistics": {},
        "samples": {"kept": [], "dropped": {"dedup": {"near_duplicate": samples}}, "errors": []},
        "steps": ["dedup"],
        "step_seconds": {},
    }


def report(stages: list[dict[str, Any]], status: str = "done") -> Report:
    """Put stages into a report of a run."""
    last = stages[-1] if stages else None
    published = (
        [
            {
                "name": last["name"],
                "path": f"s3://corpora/web_english/{last['name']}/",
                "format": "parquet",
                "rows": last["counts"]["rows_out"],
                "bytes": 48_200_000,
            }
        ]
        if last and status == "done"
        else []
    )
    return {
        "format": 1,
        "run_id": "20261007-142233-7f3a",
        "pipeline": "web_english",
        "status": status,
        "curate_version": "0.1.0",
        "command": "curate run pipelines/web_english.yaml --workspace /srv/curate --workers 8",
        "started_at": "2026-10-07T14:22:33+00:00",
        "seconds": sum(s["seconds"] for s in stages),
        "executor": "local, 8 workers",
        "workspace": "/srv/curate",
        "error": None,
        "stages": stages,
        "outputs": published,
        "checks": [],
    }


def web_report(documents: int = 120_000) -> Report:
    """Simulate the usual run: extraction, cleaning, deduplication and a check."""
    text = stage("text", documents, ["crawl"], seed=1, decisions=0)
    text["counts"] |= {"text_bytes_in": 0, "bytes_in": documents * 14_000}
    clean = stage("clean", text["counts"]["rows_out"], ["text"], seed=2)
    whole = report([text, clean, attributes("dedup", clean), deduplicated("corpus", clean)])
    measures = {"difference": 0.0412, "low": 0.0287, "high": 0.0537, "seeds": 5}
    whole["checks"] = [
        {
            "name": "better_than_raw",
            "passed": True,
            "message": "bits per byte fell by 4.1% (95% interval 2.9% to 5.4%)",
            "measures": measures,
        }
    ]
    return whole


@dataclass(frozen=True)
class Simulated:
    """The makers of stages and reports, for tests that need another run than the usual one."""

    stage: Callable[..., dict[str, Any]] = stage
    attributes: Callable[..., dict[str, Any]] = attributes
    deduplicated: Callable[..., dict[str, Any]] = deduplicated
    report: Callable[..., Report] = report
    web_report: Callable[..., Report] = web_report


@pytest.fixture
def simulated() -> Simulated:
    """The makers of stages and reports."""
    return Simulated()


@pytest.fixture
def web() -> Report:
    """A finished run of a usual web pipeline."""
    return web_report(20_000)
