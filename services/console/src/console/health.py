"""How the services keep up: what each says of itself in its metrics, read where the console reaches it and shown to operators alone."""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from prometheus_client.parser import text_string_to_metric_families

from console.gateway import Api, Problem

SERVICES = ("identity", "billing", "jobs", "webhooks")


@dataclass(frozen=True, slots=True)
class Health:
    """One service, as the process that answered sees it; without figures it did not answer."""

    service: str
    lag_records: float | None = None
    """Records of Kafka that are not handled yet."""
    outbox_seconds: float | None = None
    """Age of the oldest event that is not in Kafka yet."""
    timer_seconds: float | None = None
    """For how long the first task has been due."""
    tasks_set_aside: float | None = None
    """Tasks whose attempts have all failed."""

    @property
    def answered(self) -> bool:
        return self.lag_records is not None


def _largest(values: Iterable[float]) -> float:
    return max(values, default=0)


FIGURES: dict[str, tuple[str, Callable[[Iterable[float]], float]]] = {
    "lag_records": ("waybill_consumer_lag_records", sum),
    "outbox_seconds": ("waybill_outbox_oldest_seconds", _largest),
    "timer_seconds": ("waybill_task_overdue_seconds", _largest),
    "tasks_set_aside": ("waybill_tasks_set_aside", sum),
}


async def health(api: Api, metrics_path: str) -> list[Health]:
    """The health of all services."""
    return list(await asyncio.gather(*(_of(api, service, metrics_path) for service in SERVICES)))


async def _of(api: Api, service: str, metrics_path: str) -> Health:
    try:
        answer = await api.gateway.call(service, "GET", metrics_path, origin=api.origin)
    except Problem:
        return Health(service)
    return Health(service, **figures(answer.body.decode()))


def figures(exposition: str) -> dict[str, float]:
    """What is shown of the metrics of one process."""
    names = {name for name, _ in FIGURES.values()}
    lines = "".join(
        f"{line}\n" for line in exposition.splitlines() if line.partition("{")[0].partition(" ")[0] in names
    )
    samples = [sample for family in text_string_to_metric_families(lines) for sample in family.samples]
    return {
        figure: together(sample.value for sample in samples if sample.name == name)
        for figure, (name, together) in FIGURES.items()
    }
