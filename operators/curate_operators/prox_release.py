"""Reads and carries out programs as the published code of ProX does, oddities included: for corpora made with it to be made again.

What differs from ours: lines that begin with no known function are passed over in silence; arguments are cut at every comma and
equals sign, so that `normalize` of a string with a comma does nothing and one with an equals sign is cut short; names of arguments count
for nothing, but they must be there; a bracket that is not closed costs an error and the last character; `remove_lines(all=True)` takes
all lines; numbers of lines are compared with the text only after ranges were joined, which makes fewer errors.
"""

from __future__ import annotations

from curate_operators.prox_execute import MAX_GROWTH, Edited, Range, Replaced, merged, without

UNREPLACED = ("", " ")


class _Edits:
    """What the lines of a program have done so far."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.whole = False
        self.most = int(len(text) * MAX_GROWTH)
        self.ranges: list[Range] = []
        self.replaced: list[Replaced] = []
        self.errors: list[str] = []

    def remove(self, line: str) -> None:
        if "all=True" in line:
            self.whole = True
            return
        parts = self._parts(line)
        numbers = [_number(part) for part in (parts or [])[:2]]
        if len(numbers) < 2 or None in numbers:
            self.errors += ["no numbers of lines"] if parts is not None else []
            return
        self.ranges.append((numbers[0] or 0, numbers[1] or 0))

    def replace(self, line: str) -> None:
        parts = self._parts(line)
        if parts is None or len(parts) > 2:
            return
        strings = [_value(part) for part in parts]
        if None in strings:
            self.errors.append("no strings")
            return
        source, target = strings[0] or "", (strings[1] or "") if len(strings) == 2 else ""
        self._put(source, target, len(strings))

    def _put(self, source: str, target: str, arguments: int) -> None:
        if source == "" or (source in UNREPLACED and arguments == 2):
            return
        count = self.text.count(source)
        if count and len(self.text) + count * (len(target) - len(source)) <= self.most:
            self.text = self.text.replace(source, target)
            self.replaced.append(Replaced(source, target, count))

    def _parts(self, line: str) -> list[str] | None:
        """Return what stands between the first bracket and the first that closes, cut at commas; None without a bracket."""
        start, end = line.find("("), line.find(")")
        if start < 0:
            self.errors.append("no bracket")
            return None
        if end < 0:
            self.errors.append("no closing bracket")
        return line[start + 1 : end].split(",")

    def done(self) -> Edited:
        lines = self.text.split("\n")
        joined = merged(self.ranges)
        for start, end in joined:
            self.errors += ["lines that are not there"] if max(start, end) >= len(lines) else []
        there = [(max(start, 0), min(end, len(lines) - 1)) for start, end in self.ranges]
        there = [(start, end) for start, end in there if start <= end]
        removed = [(0, len(lines) - 1)] if self.whole else merged(there)
        kept = without(lines, removed) if removed else lines
        return Edited("\n".join(kept), tuple(removed), tuple(self.replaced), tuple(self.errors))


def execute_as_released(text: str, program: str) -> Edited:
    """Return the text after a program, as the published code has it."""
    edits = _Edits(text)
    for line in program.strip(" ").split("\n"):
        if line.startswith("remove_lines"):
            edits.remove(line)
        elif line.startswith("normalize"):
            edits.replace(line)
    return edits.done()


def _value(part: str) -> str | None:
    """Return what stands behind the first equals sign and before the next, without double quotes; None where there is none."""
    pieces = part.split("=")
    return pieces[1].strip('"') if len(pieces) > 1 else None


def _number(part: str) -> int | None:
    pieces = part.split("=")
    try:
        return int(pieces[1]) if len(pieces) > 1 else None
    except ValueError:
        return None
