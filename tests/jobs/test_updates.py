"""Updating jobs: merge patches, deleting and restoring, clones."""

import asyncio
from typing import Any

import pytest
from sqlalchemy import text

from shared.ids import new_id, to_uuid
from tests.harness.job_states import STATUSES, JobActors, job_actors
from tests.harness.jobs import Jobs, Tenant
from tests.harness.people import location_updated

WHOLE: dict[str, Any] = {
    "reference_id": "R-1",
    "type": "pickup",
    "short_description": "Sofa",
    "scheduled_date": "2030-05-01",
    "time_window": {"start": "08:00", "end": "12:00"},
    "timezone": "Europe/Paris",
    "priority": 7,
    "contact": {"first_name": "Ada", "last_name": "Lovelace", "phone": "+15145550100", "email": "ada@example.com"},
    "address": {"line1": "1 Rue X", "city": "Montréal", "postal_code": "H2X 1Y4", "country": "CA"},
    "geo": {"latitude": 45.5, "longitude": -73.6},
    "balance_owed": {"amount": 1250, "currency": "CAD"},
    "instructions": "Ring twice",
    "invoices": ["I-1", "I-2"],
    "barcodes": ["B-1"],
    "tags": ["fragile"],
    "metadata": {"gate": "7", "floor": "2"},
}


@pytest.fixture(scope="module")
async def actors(service: Jobs) -> JobActors:
    """Actors of one tenant, for tests that use one job each."""
    return await job_actors(await service.create_tenant())


def path(job: dict[str, Any], rest: str = "") -> str:
    return f"/v1/jobs/{job['id']}{rest}"


async def violations(actors: JobActors, job: dict[str, Any], patch: object) -> list[tuple[str, str]]:
    """Pointers and codes of a refused patch. The job must be unchanged."""
    answer = await actors.dispatch.patch(path(job), patch)
    assert answer.status_code == 422, f"{answer.status_code} {answer.text}"
    assert await actors.read(job) == job
    return sorted((error["pointer"], error["code"]) for error in answer.json()["errors"])


@pytest.mark.parametrize(
    ("patch", "expected"),
    [
        ({"priority": 9}, {"priority": 9}),
        ({"priority": None}, {"priority": 0}),
        ({"type": None}, {"type": "delivery"}),
        ({"reference_id": None, "instructions": "  "}, {"reference_id": None, "instructions": None}),
        ({"contact": {"email": None}}, {"contact": {**WHOLE["contact"], "email": None}}),
        ({"contact": {"phone": "+1 514 555-0199"}}, {"contact": {**WHOLE["contact"], "phone": "+15145550199"}}),
        ({"time_window": {"end": "10:30"}}, {"time_window": {"start": "08:00", "end": "10:30"}}),
        ({"time_window": {"end": "02:00"}}, {"time_window": {"start": "08:00", "end": "02:00"}}),
        ({"time_window": None, "geo": None, "balance_owed": None}, {"time_window": None, "geo": None}),
        ({"tags": ["up", "up"], "invoices": [], "barcodes": None}, {"tags": ["up"], "invoices": [], "barcodes": []}),
        ({"metadata": {"gate": None, "door": "B"}}, {"metadata": {"floor": "2", "door": "B"}}),
        ({"metadata": None}, {"metadata": {}}),
        ({"metadata": {}}, {}),
        ({"scheduled_date": "2031-01-31", "geo": {"latitude": 45}}, {"scheduled_date": "2031-01-31"}),
    ],
)
async def test_a_patch_changes_only_its_members(
    actors: JobActors, patch: dict[str, Any], expected: dict[str, Any]
) -> None:
    job = await actors.order(**{**WHOLE, "reference_id": new_id("job")})

    answer = await actors.dispatch.patch(path(job), patch)

    assert answer.status_code == 200, answer.text
    after = answer.json()
    assert await actors.read(job) == after
    for name, value in expected.items():
        shown = after[name]
        kept = {key: shown[key] for key in value} if isinstance(value, dict) and name != "metadata" else shown
        assert kept == value, name
    untouched = job.keys() - patch.keys() - {"version", "updated_at", "scheduled_window"}
    assert {name: after[name] for name in untouched} == {name: job[name] for name in untouched}


@pytest.mark.parametrize("media_type", ["application/merge-patch+json", "application/json"])
async def test_a_patch_is_accepted_with_either_media_type(actors: JobActors, media_type: str) -> None:
    job = await actors.order()

    answer = await actors.dispatch.request(
        "PATCH", path(job), content=b'{"priority": 3}', headers={"Content-Type": media_type}
    )

    assert (answer.status_code, answer.json()["priority"], answer.headers["ETag"]) == (200, 3, '"2"')


@pytest.mark.parametrize("patch", [{}, {"priority": 7}, {"metadata": {"none": None}}, {"contact": {}, "geo": {}}])
async def test_a_patch_that_changes_nothing_writes_nothing(actors: JobActors, patch: dict[str, Any]) -> None:
    job = await actors.order(**{**WHOLE, "reference_id": None})

    answer = await actors.dispatch.patch(path(job), patch)

    assert (answer.status_code, answer.json()) == (200, job)
    assert len(await actors.history(job)) == 1


async def test_an_overnight_window_follows_its_date_and_zone(actors: JobActors) -> None:
    overnight = {"start": "22:00", "end": "02:00"}
    job = await actors.order(scheduled_date="2026-06-10", timezone="America/Montreal", time_window=overnight)
    to_midnight = await actors.dispatch.patch(path(job), {"time_window": {"end": "24:00"}})
    moved = await actors.dispatch.patch(path(job), {"scheduled_date": "2026-03-07", "time_window": {"end": "04:00"}})
    copy = await actors.dispatch.post(path(job, "/clone"), {"timezone": "Europe/Paris", "scheduled_date": "2026-10-24"})
    without_day = await actors.dispatch.post(path(job, "/clone"), {"scheduled_date": None})
    changes = await actors.history(job)

    assert job["scheduled_window"] == {"starts_at": "2026-06-11T02:00:00Z", "ends_at": "2026-06-11T06:00:00Z"}
    assert to_midnight.json()["scheduled_window"]["ends_at"] == "2026-06-11T04:00:00Z"
    # One of these nights has an hour less, the other one more.
    assert moved.json()["scheduled_window"] == {"starts_at": "2026-03-08T03:00:00Z", "ends_at": "2026-03-08T08:00:00Z"}
    assert copy.json()["scheduled_window"] == {"starts_at": "2026-10-24T20:00:00Z", "ends_at": "2026-10-25T03:00:00Z"}
    assert (without_day.json()["time_window"]["end"], without_day.json()["scheduled_window"]) == ("04:00", None)
    assert sorted(changes[-1]["changes"]) == ["scheduled_date", "time_window"]


async def test_all_violations_of_a_patch_are_reported_together(actors: JobActors) -> None:
    job = await actors.order(**{**WHOLE, "reference_id": None})
    wrong = {
        "priority": 101,
        "contact": None,
        "address": {"country": "Canada"},
        "time_window": {"start": None, "end": "24:30"},
        "scheduled_date": 20300501,
        "metadata": {"a/b": 7, "c": None},
        "location_id": job["id"],
        "merchant_id": job["merchant_id"],
        "actions": [],
        "status": "completed",
        "colour": "blue",
    }

    assert await violations(actors, job, wrong) == [
        ("/actions", "not_patchable"),
        ("/address/country", "string_too_long"),
        ("/colour", "extra_forbidden"),
        ("/contact", "required"),
        ("/location_id", "id_kind"),
        ("/merchant_id", "not_patchable"),
        ("/metadata/a~1b", "metadata_value"),
        ("/priority", "less_than_equal"),
        ("/scheduled_date", "date_form"),
        ("/status", "extra_forbidden"),
        ("/time_window/end", "string_pattern_mismatch"),
        ("/time_window/start", "required"),
    ]


async def test_the_patched_job_is_validated(actors: JobActors) -> None:
    job = await actors.order(**{**WHOLE, "reference_id": None})
    smallest = await actors.order()

    wrong = {
        "contact": {"first_name": None, "last_name": None, "phone": None, "email": ""},
        "address": {"line1": None},
        "time_window": {"end": "08:00"},
        "metadata": {f"k{number}": "" for number in range(49)},
    }
    assert await violations(actors, job, wrong) == [
        ("/address/line1", "address_empty"),
        ("/contact", "contact_empty"),
        ("/metadata", "metadata_keys"),
        ("/time_window/end", "time_window_empty"),
    ]
    assert await violations(actors, smallest, {"geo": {"latitude": 1}, "time_window": {"start": "08:00"}}) == [
        ("/geo/longitude", "missing"),
        ("/time_window/end", "missing"),
    ]
    assert await violations(actors, job, [{"priority": 1}]) == [("", "model_attributes_type")]


async def test_an_invalid_patch_is_422_before_404(actors: JobActors) -> None:
    absent = {"id": new_id("job")}

    assert (await actors.dispatch.patch(path(absent), {"priority": 101})).status_code == 422
    assert (await actors.dispatch.patch(path(absent), {"priority": 1})).json()["code"] == "job_not_found"
    assert (await actors.dispatch.delete(path(absent))).json()["code"] == "job_not_found"
    for command in ("restore", "clone"):
        assert (await actors.dispatch.post(path(absent, f"/{command}"))).json()["code"] == "job_not_found"


@pytest.mark.parametrize("status", STATUSES)
async def test_the_status_limits_the_fields_that_can_change(actors: JobActors, status: str) -> None:
    job = await actors.job(status)
    patches: dict[str, dict[str, Any]] = {
        "metadata": {"metadata": {"a": "b"}},
        "tags": {"tags": ["late"]},
        "priority": {"priority": 50},
    }
    allowed = {"staging": set(patches), "new": set(patches), "in_progress": {"metadata", "tags"}}.get(
        status, {"metadata"}
    )

    for name, patch in patches.items():
        answer = await actors.dispatch.patch(path(job), patch)
        if name in allowed:
            assert answer.status_code == 200, (status, name)
        else:
            refusal = answer.json()
            assert (answer.status_code, refusal["code"], refusal["fields"]) == (409, "not_editable", [name])
            assert refusal["current_status"] == status
            assert refusal["editable_fields"] == sorted(allowed)
    # A member with the present value is no change; one refused field refuses the whole patch.
    assert (await actors.dispatch.patch(path(job), {"short_description": None})).status_code == 200
    if "priority" not in allowed:
        assert (await actors.dispatch.patch(path(job), {"priority": 1, "metadata": {"c": "d"}})).status_code == 409
        assert (await actors.read(job))["metadata"] == {"a": "b"}


async def test_the_location_changes_only_to_an_active_one_of_the_merchant(service: Jobs, actors: JobActors) -> None:
    tenant, job = actors.tenant, await actors.order()
    foreign = (await service.create_tenant()).default_location

    assert await violations(actors, job, {"location_id": foreign}) == [("/location_id", "location_not_yours")]
    assert await violations(actors, job, {"location_id": tenant.closed}) == [("/location_id", "location_inactive")]
    assert await violations(actors, job, {"distribution_location_id": tenant.closed}) == [
        ("/distribution_location_id", "location_inactive")
    ]
    assert await violations(actors, job, {"location_id": foreign, "distribution_location_id": foreign}) == [
        ("/distribution_location_id", "location_not_yours"),
        ("/location_id", "location_not_yours"),
    ]


async def test_a_change_of_location_is_published_with_both_locations(service: Jobs, tenant: Tenant) -> None:
    actors = await job_actors(tenant)
    job = await actors.order(timezone="Europe/Paris")

    moved = await actors.dispatch.patch(path(job), {"location_id": tenant.toronto, "timezone": None})
    back = await actors.dispatch.patch(path(job), {"location_id": None, "distribution_location_id": tenant.toronto})

    assert (moved.json()["location_id"], moved.json()["timezone"]) == (tenant.toronto, "America/Toronto")
    # A null location is the merchant's default location; the time zone stays.
    assert (back.json()["location_id"], back.json()["timezone"]) == (tenant.default_location, "America/Toronto")
    first, second = (await service.published(tenant, 3))[1:]
    assert set(first.data.location_ids) == {tenant.default_location, tenant.toronto}
    assert (first.type, first.data.changed_fields) == ("job.updated", ["location_id", "timezone"])
    assert set(second.data.location_ids) == {tenant.default_location, tenant.toronto}
    assert second.data.changed_fields == ["distribution_location_id", "location_id"]


async def test_a_job_at_a_closed_location_can_be_updated(service: Jobs, tenant: Tenant) -> None:
    actors = await job_actors(tenant)
    job = await actors.order(location_id=tenant.toronto)
    await service.publish_access(
        location_updated(tenant.id, tenant.toronto, timezone="America/Toronto", active=False, sequence=2)
    )
    await actors.merchant.update(location_ids=[tenant.default_location])

    for patch in (
        {"priority": 5},
        {"location_id": tenant.toronto},
        {"distribution_location_id": tenant.default_location},
    ):
        assert (await actors.dispatch.patch(path(job), patch)).status_code == 200, patch
    moved = await actors.dispatch.patch(path(job), {"distribution_location_id": tenant.toronto})
    assert moved.json()["errors"][0]["code"] == "location_not_yours"


async def test_a_reference_that_is_taken_is_refused(actors: JobActors) -> None:
    taken, free = new_id("job"), new_id("job")
    existing, job = await actors.order(reference_id=taken), await actors.order(reference_id=free)

    refused = await actors.dispatch.patch(path(job), {"reference_id": taken, "priority": 9})
    same = await actors.dispatch.patch(path(job), {"reference_id": free})

    assert (refused.status_code, refused.json()["code"]) == (409, "reference_id_taken")
    assert refused.json()["existing_id"] == existing["id"]
    assert (same.status_code, await actors.read(job)) == (200, job)
    # References are unique per merchant.
    other = await actors.tenant.create_merchant()
    theirs = await actors.dispatch.create_job({**existing_body(), "merchant_id": other.id})
    assert (await actors.dispatch.patch(path(theirs), {"reference_id": taken})).status_code == 200


async def test_of_concurrent_updates_to_one_reference_one_wins(actors: JobActors) -> None:
    for number in range(6):
        reference = f"race-{number}-{new_id('job')}"
        jobs = [await actors.order() for _ in range(4)]
        keys = [{"Idempotency-Key": reference + job["id"]} if number % 2 else {} for job in jobs]

        answers = await asyncio.gather(
            *(
                actors.dispatch.patch(path(job), {"reference_id": reference}, headers=key)
                for job, key in zip(jobs, keys, strict=True)
            )
        )

        won = [job["id"] for job, answer in zip(jobs, answers, strict=True) if answer.status_code == 200]
        assert len(won) == 1, [answer.text for answer in answers]
        for answer in answers:
            if answer.status_code != 200:
                assert (answer.status_code, answer.json().get("existing_id")) == (409, won[0]), answer.text
        assert sorted([(await actors.read(job))["version"] for job in jobs]) == [1, 1, 1, 2]


async def test_of_patches_bound_to_one_version_one_is_applied(actors: JobActors) -> None:
    job = await actors.order()

    answers = await asyncio.gather(
        *(
            actors.dispatch.patch(path(job), {"priority": priority}, headers={"If-Match": '"1"'})
            for priority in range(1, 9)
        )
    )

    assert sorted(answer.status_code for answer in answers) == [200] + [412] * 7
    assert (await actors.read(job))["version"] == 2


async def test_concurrent_patches_are_numbered_without_gaps(service: Jobs, tenant: Tenant) -> None:
    actors = await job_actors(tenant)
    job = await actors.order()

    answers = await asyncio.gather(
        *(actors.dispatch.patch(path(job), {"metadata": {f"k{number}": "v"}}) for number in range(20))
    )

    assert {answer.status_code for answer in answers} == {200}
    assert sorted(answer.json()["version"] for answer in answers) == list(range(2, 22))
    assert (await actors.read(job))["metadata"] == {f"k{number}": "v" for number in range(20)}
    assert [event.sequence for event in await service.published(tenant, 21)] == list(range(1, 22))


async def test_a_patched_job_is_found_by_its_new_values(actors: JobActors) -> None:
    job = await actors.order(tags=["before"])

    await actors.dispatch.patch(path(job), {"tags": ["after"], "contact": {"phone": "+15145550142"}})

    for query, found in (
        ("tag=after", [job["id"]]),
        ("tag=before", []),
        ("phone=%2B15145550142", [job["id"]]),
        ("phone=%2B15145550100&tag=after", []),
    ):
        listed = (await actors.dispatch.read(f"/v1/jobs?{query}"))["data"]
        assert [one["id"] for one in listed] == found, query


@pytest.mark.parametrize("status", STATUSES)
async def test_a_job_that_has_begun_is_not_deleted(actors: JobActors, status: str) -> None:
    job = await actors.job(status)

    answer = await actors.dispatch.delete(path(job))

    if status in ("staging", "new", "cancelled"):
        assert (answer.status_code, answer.content) == (204, b"")
    else:
        assert (answer.status_code, answer.json()["code"]) == (409, "not_deletable")
        assert answer.json()["current_status"] == status
        assert await actors.read(job) == job


async def test_a_deleted_job_is_404_and_is_restored_unchanged(service: Jobs, tenant: Tenant) -> None:
    actors = await job_actors(tenant)
    job = await actors.order(reference_id="R-1", actions=[{"sku": "A"}, {"sku": "B"}, {"sku": "C"}])
    gone = job["actions"][1]["id"]
    await actors.dispatch.delete(path(job, f"/actions/{gone}"))
    before = await actors.read(job)

    for _ in range(2):
        assert (await actors.dispatch.delete(path(job))).status_code == 204
    for hidden in ("", "/actions", f"/actions/{before['actions'][0]['id']}", f"/actions/{gone}", "/events"):
        assert (await actors.dispatch.get(path(job, hidden))).status_code == 404, hidden
    assert (await actors.dispatch.patch(path(job), {"priority": 1})).status_code == 404
    assert (await actors.dispatch.post(path(job, "/actions"), {})).status_code == 404
    assert (await actors.dispatch.post(path(job, "/clone"))).status_code == 404
    assert (await actors.command(job, "start")).status_code == 404
    assert (await actors.dispatch.read("/v1/jobs"))["data"] == []
    restored = await actors.dispatch.post(path(job, "/restore"))
    again = await actors.dispatch.post(path(job, "/restore"))

    assert (restored.status_code, again.status_code) == (200, 200)
    assert restored.json() == again.json() == await actors.read(job)
    # Everything as before, except the fields that every change sets.
    assert restored.json() == {**before, "version": 4, "updated_at": restored.json()["updated_at"]}
    events = await service.published(tenant, 4)
    assert [event.type for event in events] == ["job.created", "action.deleted", "job.deleted", "job.restored"]
    deleted = events[2].data
    assert (deleted.job.status, deleted.changed_fields, len(deleted.job.actions)) == ("new", ["deleted_at"], 2)
    assert deleted.job.deleted_at is not None
    assert events[3].data.job.deleted_at is None


async def test_concurrent_deletes_publish_one_event(actors: JobActors) -> None:
    job = await actors.order()

    deleted = await asyncio.gather(*(actors.dispatch.delete(path(job)) for _ in range(6)))
    restored = await asyncio.gather(*(actors.dispatch.post(path(job, "/restore")) for _ in range(6)))

    assert [answer.status_code for answer in deleted] == [204] * 6
    assert [answer.status_code for answer in restored] == [200] * 6
    assert [entry["type"] for entry in await actors.history(job)] == ["job.created", "job.deleted", "job.restored"]


async def test_the_reference_of_a_deleted_job_can_be_used_by_another(actors: JobActors) -> None:
    reference = new_id("job")
    job = await actors.order(reference_id=reference)
    await actors.dispatch.delete(path(job))
    successor = await actors.order(reference_id=reference)

    refused = await actors.dispatch.post(path(job, "/restore"))

    assert (refused.status_code, refused.json()["code"]) == (409, "reference_id_taken")
    assert refused.json()["existing_id"] == successor["id"]
    await actors.dispatch.delete(path(successor))
    rivals = await asyncio.gather(*(actors.dispatch.post(path(one, "/restore")) for one in (job, successor)))
    assert sorted(answer.status_code for answer in rivals) == [200, 409]


async def test_deleting_and_restoring_can_be_bound_to_a_version(actors: JobActors) -> None:
    job = await actors.order()

    assert (await actors.dispatch.delete(path(job), headers={"If-Match": '"2"'})).status_code == 412
    assert (await actors.dispatch.delete(path(job), headers={"If-Match": '"1"'})).status_code == 204
    assert (await actors.dispatch.post(path(job, "/restore"), headers={"If-Match": '"1"'})).status_code == 412
    assert (await actors.dispatch.post(path(job, "/restore"), headers={"If-Match": '"2"'})).status_code == 200


async def test_a_clone_has_the_same_content(service: Jobs, tenant: Tenant) -> None:
    actors = await job_actors(tenant)
    stop = {"address": {"raw": "Depot 4"}, "instructions": "Rear door"}
    actions = [{"sku": "A", "quantity": 2, "stop": stop, "position": 9}, {"sku": "B", "type": "service"}]
    source = await actors.job("resolved", **{**WHOLE, "actions": actions})

    answer = await actors.dispatch.post(path(source, "/clone"))

    copy = answer.json()
    assert (answer.status_code, answer.headers["ETag"]) == (201, '"1"')
    assert await actors.read(copy) == copy
    fresh = {"status": "new", "reference_id": None, "version": 1, "status_reason": None, "assigned_to": None}
    assert {name: copy[name] for name in fresh} == fresh
    assert copy["id"] != source["id"]
    same = WHOLE.keys() - {"reference_id"} | {"merchant_id", "location_id", "distribution_location_id"}
    assert {name: copy[name] for name in same} == {name: source[name] for name in same}
    for action, original in zip(copy["actions"], source["actions"], strict=True):
        assert (action["status"], action["outcome"], action["version"]) == ("undetermined", None, 1)
        assert action["id"] != original["id"]
        own = {"id", "job_id", "status", "outcome", "version", "created_at", "updated_at"}
        assert {name: action[name] for name in action.keys() - own} == {
            name: original[name] for name in original.keys() - own
        }
    (created,) = [event for event in await service.published(tenant, 5) if event.subject == copy["id"]]
    assert (created.type, created.sequence, created.data.job.id) == ("job.created", 1, copy["id"])
    assert [entry["type"] for entry in await actors.history(copy)] == ["job.created"]


async def test_a_clone_can_be_patched(actors: JobActors) -> None:
    reference = new_id("job")
    source = await actors.order(**{**WHOLE, "reference_id": None}, location_id=actors.tenant.toronto)
    change = {"reference_id": reference, "scheduled_date": "2031-01-01", "contact": {"email": None}, "tags": None}

    copy = (await actors.dispatch.post(path(source, "/clone"), change)).json()

    assert (copy["reference_id"], copy["scheduled_date"], copy["tags"]) == (reference, "2031-01-01", [])
    assert copy["contact"] == {**source["contact"], "email": None}
    assert copy["location_id"] == actors.tenant.toronto
    assert (await actors.dispatch.post(path(source, "/clone"), change)).json()["existing_id"] == copy["id"]
    for wrong, pointer in (
        ({"contact": {"first_name": None, "last_name": None, "phone": None, "email": None}}, "/contact"),
        ({"location_id": actors.tenant.closed}, "/location_id"),
        ({"actions": []}, "/actions"),
    ):
        answer = await actors.dispatch.post(path(source, "/clone"), wrong)
        assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, pointer), wrong


async def test_a_clone_of_a_merchant_waits_for_review_and_is_idempotent(actors: JobActors) -> None:
    source, merchant_api = await actors.order(), actors.merchant.api
    key = {"Idempotency-Key": "copy-1"}

    first = await merchant_api.post(path(source, "/clone"), headers=key)
    again = await merchant_api.post(path(source, "/clone"), headers=key)

    assert (first.status_code, first.json()["status"]) == (201, "staging")
    assert (again.json(), again.headers["Idempotency-Replayed"]) == (first.json(), "true")


async def test_an_erased_job_can_be_updated_but_not_cloned(service: Jobs, actors: JobActors) -> None:
    job = await actors.order()
    async with service.database.transaction() as session:
        erase = text("UPDATE jobs SET contact = '{}', address = '{}', erased_at = now() WHERE id = :id")
        await session.execute(erase, {"id": to_uuid(job["id"])})

    edited = await actors.dispatch.patch(path(job), {"priority": 5, "metadata": {"a": "b"}})
    refilled = await actors.dispatch.patch(path(job), {"contact": {"first_name": "Ada"}})
    copied = await actors.dispatch.post(path(job, "/clone"))

    assert (edited.status_code, edited.json()["priority"]) == (200, 5)
    assert (refilled.status_code, refilled.json()["code"]) == (409, "job_erased")
    assert (copied.status_code, copied.json()["code"]) == (409, "job_erased")


async def test_a_merchant_updates_only_its_own_jobs(actors: JobActors) -> None:
    job, other = await actors.order(), await actors.tenant.create_merchant()
    own, session = actors.merchant.api, await actors.merchant.session()

    assert (await own.patch(path(job), {"priority": 2})).status_code == 200
    for api, status in ((other.api, 404), (session, 403)):
        assert (await api.patch(path(job), {"priority": 3})).status_code == status
        assert (await api.delete(path(job))).status_code == status
        for command in ("restore", "clone"):
            assert (await api.post(path(job, f"/{command}"))).status_code == status
    assert (await own.post(path(job, "/clone"))).status_code == 201
    assert (await own.delete(path(job))).status_code == 204
    assert (await other.api.post(path(job, "/restore"))).status_code == 404
    assert (await other.api.delete(path(job))).status_code == 404
    assert (await own.post(path(job, "/restore"))).json()["priority"] == 2


def existing_body() -> dict[str, Any]:
    return {"contact": {"first_name": "Ada"}, "address": {"raw": "1 Rue X"}}
