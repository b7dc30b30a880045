"""Work over time in a bounded number of buckets: how much text went through a stage, and how much memory its tasks held."""

from __future__ import annotations

from dataclasses import dataclass, field

MOST = 96
_FIRST_WIDTH_S = 0.5


@dataclass
class Bucket:
    """Bytes that went through within one stretch of time, and the highest memory of a task that ended in it."""

    bytes: float = 0.0
    peak_rss: int = 0


@dataclass
class Pulse:
    """Buckets of equal width from `begun` on; when they are too many, each two become one of double width."""

    begun: float
    width: float = _FIRST_WIDTH_S
    buckets: list[Bucket] = field(default_factory=list)

    def add(self, ended: float, seconds: float, size: int, peak_rss: int) -> None:
        """Spread the bytes of a task over the time that it took; its memory counts where it ended."""
        start, end = max(ended - seconds, self.begun), max(ended, self.begun)
        self._reach(end)
        first, last = self._place(start), self._place(end)
        for place in range(first, last + 1):
            low, high = (self.begun + self.width * edge for edge in (place, place + 1))
            inside = (min(high, end) - max(low, start)) / (end - start) if end > start else 1.0
            self.buckets[place].bytes += size * max(inside, 0.0)
        self.buckets[last].peak_rss = max(self.buckets[last].peak_rss, peak_rss)

    def rates(self) -> list[float]:
        """Return bytes per second, bucket by bucket."""
        return [bucket.bytes / self.width for bucket in self.buckets]

    def peaks(self) -> list[int]:
        """Return the highest memory of a task, bucket by bucket; where none ended, what was known before."""
        known, peaks = 0, []
        for bucket in self.buckets:
            known = bucket.peak_rss or known
            peaks.append(known)
        return peaks

    def _place(self, when: float) -> int:
        return min(int((when - self.begun) / self.width), len(self.buckets) - 1)

    def _reach(self, when: float) -> None:
        while (when - self.begun) / self.width >= MOST:
            self._halve()
        while len(self.buckets) <= (when - self.begun) / self.width:
            self.buckets.append(Bucket())

    def _halve(self) -> None:
        pairs = zip(self.buckets[::2], [*self.buckets[1::2], Bucket()], strict=False)
        self.buckets = [Bucket(a.bytes + b.bytes, max(a.peak_rss, b.peak_rss)) for a, b in pairs]
        self.width *= 2
