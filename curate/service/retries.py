"""How long a run that failed or was lost waits for its next attempt: the same here and in every schedule that is exported."""

from __future__ import annotations

from datetime import timedelta

LONGEST_WAIT_S = 3600.0


def wait_before(retry: int, backoff_s: float) -> timedelta:
    """Return how long the `retry`-th further attempt waits, counted from 1: twice as long each time, up to an hour."""
    doublings = min(retry - 1, 60)  # beyond that a float would overflow, and every wait is the longest
    return timedelta(seconds=min(backoff_s * 2**doublings, LONGEST_WAIT_S))
