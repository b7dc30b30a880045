"""`python -m tests.benchmarks.quality [NAME …] [--work FOLDER] [--write]`: how right our operators are, beside gold answers and peers.

Runs extraction, language identification, personal data and block lists, one core and processor time for all, prints their tables and
with `--write` puts them into README.md. What lacks its data or its peer is skipped with a line, and its old table stays.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.benchmarks import blocklists, extraction, extraction_fit, language_id, pii, readme
from tests.benchmarks.fidelity_corpus import DATA
from tests.benchmarks.peers import make_env


@dataclass(frozen=True)
class Section:
    """One part of README.md: the sets and the peer that it cannot do without, and what makes its tables from a work folder."""

    sets: tuple[str, ...]
    report: Callable[[Path], str]
    peer: str | None = None

    def missing(self, work: Path) -> str | None:
        """Say why the tables cannot be made, or None."""
        absent = [name for name in self.sets if not (DATA / name).is_dir()]
        if absent:
            return f"no {', '.join(absent)} in {DATA} (set CURATE_TEST_DATA)"
        if self.peer and not make_env.interpreter(work, self.peer):
            return f"no environment of {self.peer} in {work} (make peers)"
        return None


SECTIONS = {
    "extraction": Section(("extract_gold",), lambda work: extraction.table(extraction_fit.read_pages(DATA))),
    "language identification": Section(("lid_lingua75", "lid_udhr500"), language_id.report),
    "personal data": Section(("pii_presidio", *pii.REAL), lambda work: pii.report(DATA, work)),
    "block lists": Section(
        ("wordlists_ldnoobw",), lambda work: blocklists.report(make_env.interpreter(work, "datatrove") or ""), "datatrove"
    ),
}


def main() -> None:
    """Measure, print, and on request write, section by section."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", choices=[[], *SECTIONS], metavar="NAME", help=f"of {', '.join(SECTIONS)}; all by default")
    parser.add_argument("--work", type=Path, default=make_env.WORK)
    parser.add_argument("--write", action="store_true", help="put the tables into README.md")
    chosen = parser.parse_args()
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    for name in chosen.names or SECTIONS:
        if reason := SECTIONS[name].missing(chosen.work):
            print(f"{name} skipped: {reason}", file=sys.stderr)
            continue
        told = SECTIONS[name].report(chosen.work)
        print(f"## {name}\n\n{told}\n", flush=True)
        if chosen.write:
            readme.write(name, told)


if __name__ == "__main__":
    main()
