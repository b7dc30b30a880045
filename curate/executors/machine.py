"""What this machine, or the container that we run in, may use: processors, memory and GPUs."""

from __future__ import annotations

import math
import os
import re
import resource
import sys
from collections.abc import Iterator
from pathlib import Path

_CGROUPS = Path("/sys/fs/cgroup")


def available_cpus() -> int:
    """Return how many processors may be used: affinity and container limits count, at least 1."""
    affine = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quotas = [math.ceil(quota) for quota in _cpu_quotas()]
    return max(1, min([affine, *quotas]))


def available_memory() -> int:
    """Return the bytes of memory that exist, or that the container allows."""
    installed = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return min([installed, *_memory_limits()])


def visible_gpus() -> list[str]:
    """Return the identifiers of the NVIDIA GPUs that this process may use, as `CUDA_VISIBLE_DEVICES` writes them."""
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    if chosen is not None:
        return [name for name in chosen.split(",") if name.strip() not in ("", "-1")]
    found = (re.fullmatch(r"nvidia(\d+)", path.name) for path in Path("/dev").glob("nvidia*"))
    return sorted((match[1] for match in found if match), key=int)


def resident_bytes() -> int:
    """Return the memory that this process holds now; elsewhere than on Linux, its highest so far."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        scale = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale
    return pages * os.sysconf("SC_PAGE_SIZE")


def out_of_memory_kills() -> int:
    """Return how often the kernel has killed a process for memory since it started; 0 where it does not tell."""
    match = re.search(r"^oom_kill (\d+)$", _text(Path("/proc/vmstat")), re.MULTILINE)
    return int(match[1]) if match else 0


def _cpu_quotas() -> Iterator[float]:
    for folder in _cgroup_folders("cpu"):
        quota, _, period = _text(folder / "cpu.max").partition(" ")
        if quota.isdigit():
            yield int(quota) / int(period)
        quota, period = _text(folder / "cpu.cfs_quota_us"), _text(folder / "cpu.cfs_period_us")
        if quota.isdigit() and period.isdigit():  # -1 = not limited
            yield int(quota) / int(period)


def _memory_limits() -> Iterator[int]:
    for folder in _cgroup_folders("memory"):
        for name in ("memory.max", "memory.limit_in_bytes"):
            limit = _text(folder / name)
            if limit.isdigit():  # "max" = not limited
                yield int(limit)


def _cgroup_folders(controller: str) -> Iterator[Path]:
    """Yield the folders of our control group and of all above it, for version 2 (`0::/path`) and 1 (`4:memory:/path`)."""
    for line in _text(Path("/proc/self/cgroup")).splitlines():
        number, names, path = line.split(":", 2)
        if number == "0" or controller in names.split(","):
            for base in (_CGROUPS, _CGROUPS / controller, _CGROUPS / "unified"):
                group = Path(path.strip("/"))
                yield from (base / part for part in (group, *group.parents))


def _text(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
