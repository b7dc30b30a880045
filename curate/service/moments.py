"""Moments that others ask for."""

from __future__ import annotations

from datetime import MAXYEAR, MINYEAR, datetime
from typing import Annotated

from pydantic import AfterValidator, AwareDatetime


def in_calendar(moment: datetime) -> datetime:
    """Return a moment that every zone's clocks can show, and a day before and after it; raise `ValueError` for any other."""
    if not MINYEAR < moment.year < MAXYEAR:
        raise ValueError(f"a time of the years {MINYEAR + 1} to {MAXYEAR - 1} is needed")
    return moment


Moment = Annotated[AwareDatetime, AfterValidator(in_calendar)]
