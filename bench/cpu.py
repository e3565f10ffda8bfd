"""Processor time of processes with their children, and how much of the machine went to strangers meanwhile."""

import time
from collections.abc import Mapping
from dataclasses import dataclass

import psutil


@dataclass(frozen=True, slots=True)
class Usage:
    """What some work cost."""

    seconds: Mapping[str, float]
    """Processor seconds, user and system, by process."""
    foreign_share: float
    """Share of the machine's processors that others used: the noise in what was measured."""

    def per_operation_us(self, operations: int) -> dict[str, float]:
        """Microseconds of processor time for one operation, by process, and all together."""
        costs = {name: round(seconds * 1e6 / max(1, operations), 1) for name, seconds in self.seconds.items()}
        return {**costs, "total": round(sum(costs.values()), 1)}


class Account:
    """Counts from its making on."""

    def __init__(self, processes: Mapping[str, psutil.Process]):
        self._processes = dict(processes)
        self._began = time.monotonic()
        self._spent = {name: _spent(process) for name, process in self._processes.items()}
        self._busy = _machine_busy()

    def usage(self) -> Usage:
        """What has been spent since."""
        seconds = {name: max(0.0, _spent(self._processes[name]) - self._spent[name]) for name in self._processes}
        elapsed = time.monotonic() - self._began
        foreign = _machine_busy() - self._busy - sum(seconds.values())
        return Usage(seconds, round(max(0.0, foreign / (elapsed * (psutil.cpu_count() or 1))), 3))


def _spent(process: psutil.Process) -> float:
    """Including children that live, and those that have ended and were waited for."""
    spent = 0.0
    for one in (process, *process.children(recursive=True)):
        try:
            times = one.cpu_times()
        except psutil.NoSuchProcess:
            continue
        spent += times.user + times.system + times.children_user + times.children_system
    return spent


def _machine_busy() -> float:
    times = psutil.cpu_times()
    return float(times.user + times.nice + times.system + times.irq + times.softirq)
