"""Bars on a terminal: one per stage, with documents, MB/s, the time to go and shards. The only module that draws with rich."""

from __future__ import annotations

from collections.abc import Callable
from typing import TextIO

from rich import progress as rich_progress
from rich.console import Console
from rich.text import Text

from curate.progress import Going
from curate.report.units import count, duration, plural, printable


def can_draw(stream: TextIO) -> bool:
    """Say whether the terminal can move its cursor (`TERM=dumb` cannot)."""
    return not Console(file=stream).is_dumb_terminal


class Bars:
    """One bar per running stage; a stage that ends leaves a line above the bars. `NO_COLOR` is honoured by rich."""

    def __init__(self, stream: TextIO, now: Callable[[], float]) -> None:
        self._now = now
        self._console = Console(file=stream, highlight=False, markup=False, emoji=False, soft_wrap=True)
        self._bars = rich_progress.Progress(
            rich_progress.TextColumn("{task.description}", markup=False),
            rich_progress.BarColumn(bar_width=None),
            rich_progress.TextColumn("{task.fields[state]}", markup=False, justify="right"),
            rich_progress.TimeElapsedColumn(),  # moves between two shards, so that a person sees life
            console=self._console,
            get_time=now,
            refresh_per_second=4,
            expand=True,
            transient=True,
        )
        self._tasks: dict[str, rich_progress.TaskID] = {}
        self._bars.start()

    def started(self, going: Going) -> None:
        """Draw a stage's bar; a new phase takes the bar of the one before."""
        self._remove(going.stage)
        self._tasks[going.stage] = self._bars.add_task(going.label, total=going.shards, completed=going.done, state=self._state(going))

    def advanced(self, going: Going) -> None:
        """Move the bar."""
        self._bars.update(self._tasks[going.stage], completed=going.done, state=self._state(going))

    def ended(self, stage: str, line: str) -> None:
        """Replace the bar by a line."""
        self._remove(stage)
        self.say(line)

    def say(self, line: str) -> None:
        """Print a line above the bars."""
        self._console.print(Text(printable(line)))

    def close(self) -> None:
        """Remove what is left of the bars and show the cursor again."""
        self._bars.stop()

    def _remove(self, stage: str) -> None:
        task = self._tasks.pop(stage, None)
        if task is not None:
            self._bars.remove_task(task)

    def _state(self, going: Going) -> str:
        if going.said:
            return going.said
        now = self._now()
        remaining = going.remaining(now)
        parts = [f"{count(going.done)}/{count(going.shards)} shards"]
        if going.made:
            parts = [plural(going.rows, "document"), going.speed(now), *parts]
        if remaining:
            parts.append(f"{duration(remaining)} to go")
        return "  ".join(parts)
