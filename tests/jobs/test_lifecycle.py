"""Random sequences of requests on one job, compared with a model of the job."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jobs.job_store.rules import TRANSITIONS
from tests.harness.effort import FACTOR
from tests.harness.job_states import COMMANDS, EXPECTED_TRANSITIONS, SAME, STATUSES, JobActors, job_actors
from tests.harness.jobs import Jobs

README = Path(__file__).parents[2] / "services/jobs/README.md"
JOBS = 15

Step = tuple[Any, ...]

_PLACES = st.integers(0, 3)
_STEPS = st.one_of(
    st.tuples(st.just("settle"), _PLACES, st.sampled_from(["all", "none", "broken", "mixed", "one", "more"])),
    st.tuples(st.just("settle"), _PLACES, st.sampled_from(["all", "none", "broken", "mixed", "one", "more"])),
    st.tuples(st.just("command"), st.sampled_from(COMMANDS)),
    st.tuples(st.just("patch"), st.just("priority"), st.integers(0, 2)),
    st.tuples(st.just("patch"), st.just("tags"), st.lists(st.sampled_from("ab"), unique=True)),
    st.tuples(st.just("patch"), st.just("metadata"), st.dictionaries(st.sampled_from("xy"), st.none() | st.just("1"))),
    st.tuples(st.just("add"), st.integers(1, 3)),
    st.tuples(st.just("resize"), _PLACES, st.integers(1, 3)),
    st.tuples(st.just("remove"), _PLACES),
    st.tuples(st.sampled_from(["delete", "restore"])),
)


def _chapter(*commands: str) -> st.SearchStrategy[list[Step]]:
    """Some steps of any kind, then a command that changes the status if it is allowed."""
    steps = st.lists(_STEPS, min_size=1, max_size=4)
    return st.builds(lambda before, name: [*before, ("restore",), ("command", name)], steps, st.sampled_from(commands))


_LIVES = st.tuples(
    _chapter("accept"),
    _chapter("start"),
    _chapter("complete", "complete", "fail", "report-damage", "cancel"),
    _chapter("resolve", "complete"),
    _chapter("cancel"),
).map(lambda chapters: [step for chapter in chapters for step in chapter])


@pytest.fixture(scope="module")
async def actors(service: Jobs) -> JobActors:
    """Actors of one tenant, for all sequences."""
    return await job_actors(await service.create_tenant())


@dataclass
class Unit:
    """The model of an action."""

    id: str
    quantity: int
    outcome: tuple[int, int, int] | None = None
    version: int = 1

    @property
    def status(self) -> str:
        if self.outcome is None:
            return "undetermined"
        completed, incomplete, damaged = self.outcome
        return "damaged" if damaged else "incomplete" if incomplete else "completed" if completed else "undetermined"


@dataclass
class Model:
    """The model of a job. Each step changes it and returns the expected status code."""

    status: str
    units: list[Unit]
    version: int = 1
    priority: int = 0
    tags: list[str] = field(default_factory=list)
    metadata: dict[str, str] = field(default_factory=dict)
    deleted: bool = False
    assigned: bool = False

    @property
    def open(self) -> bool:
        return self.status in ("staging", "new")

    def changed(self, status_code: int = 200) -> int:
        self.version += 1
        return status_code

    def command(self, name: str) -> int:
        if self.deleted:
            return 404
        result = EXPECTED_TRANSITIONS[self.status].get(name)
        if result is None:
            return 409
        if result == SAME:
            return 200
        if name == "assign":
            before, self.assigned = self.assigned, True
            return 200 if before else self.changed()
        fate = {"complete": 0, "fail": 1, "report-damage": 2}.get(name)
        if fate is not None:
            after = [
                unit.outcome or tuple(unit.quantity * (place == fate) for place in range(3)) for unit in self.units
            ]
            if name == "complete" and any(outcome[1] or outcome[2] for outcome in after):
                if not any(outcome[0] for outcome in after):
                    return 409
                result = "partially_completed"
            for unit, outcome in zip(self.units, after, strict=True):
                unit.version += unit.outcome is None
                unit.outcome = (outcome[0], outcome[1], outcome[2])
        self.status = result
        return self.changed()

    def patch(self, name: str, value: Any) -> int:
        if self.deleted:
            return 404
        if name == "metadata":
            merged = {**self.metadata, **value}
            value = {key: text for key, text in merged.items() if text is not None}
        if value == getattr(self, name):
            return 200
        if not (self.open or name == "metadata" or (name == "tags" and self.status == "in_progress")):
            return 409
        setattr(self, name, value)
        return self.changed()

    def add(self, quantity: int) -> int:
        if self.deleted:
            return 404
        if not self.open:
            return 409
        self.units.append(Unit("", quantity))
        return self.changed(201)

    def resize(self, unit: Unit, quantity: int) -> int:
        if self.deleted:
            return 404
        if quantity == unit.quantity:
            return 200
        if not self.open:
            return 409
        unit.quantity = quantity
        unit.version += 1
        return self.changed()

    def remove(self, unit: Unit) -> int:
        if self.deleted:
            return 404
        if not self.open:
            return 409
        self.units.remove(unit)
        return self.changed(204)

    def settle(self, unit: Unit, counts: tuple[int, int, int]) -> int:
        if self.deleted:
            return 404
        if sum(counts) != unit.quantity:
            return 422
        if counts == unit.outcome:
            return 200
        if self.status != "in_progress":
            return 409
        unit.outcome = counts
        unit.version += 1
        return self.changed()

    def delete(self) -> int:
        if self.deleted:
            return 204
        if not (self.open or self.status == "cancelled"):
            return 409
        self.deleted = True
        return self.changed(204)

    def restore(self) -> int:
        if not self.deleted:
            return 200
        self.deleted = False
        return self.changed()


async def done(actors: JobActors, job: dict[str, Any], model: Model, step: Step) -> tuple[httpx.Response, int]:
    """Apply a step to the job and to the model. Returns the response and the expected status code."""
    api, path = actors.dispatch, f"/v1/jobs/{job['id']}"
    match step:
        case ("command", name):
            return await actors.command(job, name), model.command(name)
        case ("patch", name, value):
            return await api.patch(path, {name: value}), model.patch(name, value)
        case ("add", quantity):
            answer = await api.post(f"{path}/actions", {"quantity": quantity})
            expected = model.add(quantity)
            if answer.status_code == expected == 201:
                model.units[-1].id = answer.json()["id"]
            return answer, expected
        case ("delete",):
            return await api.delete(path), model.delete()
        case ("restore",):
            return await api.post(f"{path}/restore"), model.restore()
    unit = model.units[step[1] % len(model.units)]
    action = f"{path}/actions/{unit.id}"
    match step:
        case ("resize", _, quantity):
            return await api.patch(action, {"quantity": quantity}), model.resize(unit, quantity)
        case ("remove", _):
            return await api.delete(action), model.remove(unit)
        case ("settle", _, kind):
            counts = shares(kind, unit.quantity)
            outcome = dict(zip(("completed", "incomplete", "damaged"), counts, strict=True))
            return await api.post(f"{action}/outcome", outcome), model.settle(unit, counts)
    raise AssertionError(step)


def shares(kind: str, quantity: int) -> tuple[int, int, int]:
    """The outcome of a kind: completed, incomplete, damaged. Only the sum of `more` is wrong."""
    return {
        "all": (quantity, 0, 0),
        "none": (0, quantity, 0),
        "broken": (0, 0, quantity),
        "mixed": (quantity - 1, 0, 1),
        "one": (1, quantity - 1, 0),
        "more": (quantity, 1, 0),
    }[kind]


async def check(actors: JobActors, job: dict[str, Any], model: Model) -> None:
    """Compare the job and its history with the model."""
    answer = await actors.dispatch.get(f"/v1/jobs/{job['id']}")
    if model.deleted:
        assert answer.status_code == 404
        return
    seen = answer.json()
    assert answer.headers["ETag"] == f'"{model.version}"'
    assert (seen["status"], seen["version"], seen["priority"], seen["tags"], seen["metadata"]) == (
        model.status,
        model.version,
        model.priority,
        model.tags,
        model.metadata,
    )
    reachable = {result for result in EXPECTED_TRANSITIONS[model.status].values() if result not in (SAME, model.status)}
    assert set(seen["allowed_transitions"]) == reachable
    assert [(action["id"], action["quantity"], action["status"], action["version"]) for action in seen["actions"]] == [
        (unit.id, unit.quantity, unit.status, unit.version) for unit in model.units
    ]
    assert [entry["sequence"] for entry in await actors.history(job)] == list(range(1, model.version + 1))


@settings(
    max_examples=JOBS * FACTOR,
    derandomize=FACTOR == 1,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(review=st.booleans(), steps=_LIVES)
async def test_every_sequence_of_requests_matches_the_model(actors: JobActors, review: bool, steps: list[Step]) -> None:
    job = await actors.order(review=review)
    model = Model(job["status"], [Unit(job["actions"][0]["id"], 2)])

    for step in steps:
        if not model.units and step[0] in ("resize", "remove", "settle"):
            continue
        answer, expected = await done(actors, job, model, step)
        assert answer.status_code == expected, (step, model, answer.text)
        await check(actors, job, model)


def test_the_readme_shows_every_transition() -> None:
    assert transitions_table() in README.read_text()


def transitions_table() -> str:
    """The transitions as the table of the service's README shows them."""
    lines = ["| status | command → status |", "|---|---|"]
    for status in STATUSES:
        moves = [
            f"{command.replace('_', '-')} → `{result}`" + (" or `partially_completed`" * (command == "complete"))
            for (origin, command), result in TRANSITIONS.items()
            if origin == status
        ]
        lines.append(f"| `{status}` | {' · '.join(moves) or '—'} |")
    return "\n".join(lines)
