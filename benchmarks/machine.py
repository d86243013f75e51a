"""The machine that figures were taken on, and how busy it is."""

import os
import platform
from pathlib import Path

ROOT = Path(__file__).parents[1]
SOURCES = {"PYTHONPATH": os.pathsep.join(str(ROOT / name) for name in ("pipeline", "kernels"))}
"""For commands of this project: the sources beside this folder, whatever is installed."""


def facts() -> dict[str, object]:
    """Return what figures depend on; nothing that says whose machine it is."""
    cpu = platform.processor() or platform.machine()
    for line in _lines("/proc/cpuinfo"):
        if line.startswith("model name"):
            cpu = line.partition(":")[2].strip()
            break
    memory = next((int(line.split()[1]) // 1024 for line in _lines("/proc/meminfo")
                   if line.startswith("MemTotal")), 0)  # fmt: skip
    return {"cpu": cpu, "cores": cores(), "memory_mb": memory, "system": platform.system(),
            "kernel": platform.release().partition("-")[0],
            "python": platform.python_version()}  # fmt: skip


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def busy_s() -> float:
    """Return the seconds that all processors have worked since the start of the system."""
    for line in _lines("/proc/stat"):
        _, user, nice, system, _, _, irq, soft, *_ = line.split()
        return sum(map(int, (user, nice, system, irq, soft))) / os.sysconf("SC_CLK_TCK")
    return 0.0


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text().splitlines()
    except OSError:
        return []
