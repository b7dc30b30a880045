"""Moments that others ask for."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

from pydantic import AfterValidator, AwareDatetime


def _in_utc(moment: datetime) -> datetime:
    try:
        moment.astimezone(UTC)
    except OverflowError:
        raise ValueError("no such moment in UTC") from None
    return moment


Moment = Annotated[AwareDatetime, AfterValidator(_in_utc)]
"""A moment with its offset; those of the calendar's first and last day may not exist in UTC."""
