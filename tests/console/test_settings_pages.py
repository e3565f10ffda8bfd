"""Staff accounts, API keys and the audit trail, as people use them without a script."""

import csv
import re
from datetime import UTC, datetime
from html import unescape
from io import StringIO
from zoneinfo import ZoneInfo

import httpx

from console import permissions
from console.pages.api_keys import state_of
from console.pages.audit import changes, csv_line, instants
from shared.access.permissions import CATALOG, TENANT_CODES
from tests.harness.bodies import email
from tests.harness.console import ConsoleStack, Visitor, text_of
from tests.harness.mailbox import Mailbox
from tests.harness.people import Tenant

SHOWN_KEY = re.compile(r"wbk_(?:test|live)_[0-9A-Za-z]{49}")


def test_every_permission_has_words_and_its_place() -> None:
    listed = [code for section in permissions.SECTIONS for code in section.codes]

    assert listed == [one.code for one in CATALOG if one.code in TENANT_CODES]
    assert len(set(permissions.LABELS)) == len(listed)


def test_a_difference_is_told_part_by_part() -> None:
    given, taken = permissions.differences(["orders", "home"], ["orders.jobs.read", "reports"])

    assert given == ["reports", "reports.read"]
    assert "orders.dispatch" in taken
    assert "orders.jobs.read" not in taken
    assert permissions.plain(["orders.jobs.read", "orders", "billing.read"]) == ["orders", "billing.read"]


def test_how_much_of_a_section_somebody_has() -> None:
    extents = {
        one.section.code: (one.extent, one.count)
        for one in permissions.held(["home", "orders.dispatch"], is_owner=False)
    }

    assert extents["home"] == ("all", 1)
    assert extents["orders"] == ("part", 1)
    assert extents["reports"] == ("none", 0)
    assert {one.extent for one in permissions.held([], is_owner=True)} == {"all"}


def test_days_are_those_of_the_reader() -> None:
    begin, end = instants("2026-12-01", "2026-12-01", ZoneInfo("America/Toronto"))

    assert (begin, end) == ("2026-12-01T00:00:00-05:00", "2026-12-01T23:59:59.999999-05:00")
    assert instants("tomorrow", None, ZoneInfo("UTC")) == ("tomorrow", None)


def test_a_change_is_shown_field_by_field_and_no_cell_is_a_formula() -> None:
    event = {"before": {"name": "A", "tags": ["x"]}, "after": {"name": "B", "tags": None}}

    assert changes(event) == [("name", "A", "B"), ("tags", '["x"]', "–")]
    assert csv_line(["=1+1", "-2", "plain"]) == "'=1+1,'-2,plain\r\n"


def test_a_key_that_ends_soon_says_so() -> None:
    now = datetime(2026, 12, 1, tzinfo=UTC)
    key = {"status": "active", "expires_at": "2026-12-03T00:00:00Z"}

    assert state_of(key, now)[1] == "warn"
    assert state_of({**key, "expires_at": "2026-11-30T00:00:00Z"}, now)[1] == "bad"
    assert state_of({**key, "expires_at": None}, now)[1] == "good"
    assert state_of({**key, "status": "revoked"}, now)[1] == "idle"


def version_in(page: httpx.Response) -> str:
    """The version that a form is about."""
    (version,) = re.findall(r'name="if_match" value="([^"]+)"', page.text)
    return unescape(version)


async def test_somebody_is_invited_and_gets_other_permissions_after_a_look_at_the_difference(
    owner: Visitor, box: Mailbox
) -> None:
    address, page = email("lea"), "/settings/staff/new"
    fields = {
        "/email": address,
        "/first_name": "Léa",
        "/last_name": "Roy",
        "/permissions": ["orders", "orders.dispatch"],
    }

    refused = await owner.send(page, page, {**fields, "/email": "no address"})
    invited = await owner.send(page, page, fields)

    assert refused.status_code == 422
    assert 'value="Léa"' in refused.text
    assert invited.status_code == 303
    person = invited.headers["location"]
    opened = await owner.get(person)
    assert "Léa Roy" in text_of(opened)
    assert await box.wait_for(address)

    chosen = {"/permissions": ["orders.jobs.read", "reports"], "if_match": version_in(opened)}
    difference = await owner.send(person, f"{person}/permissions", chosen)
    told = text_of(difference)
    assert "reports.read" in told
    assert "orders.dispatch" in told
    confirmed = {**chosen, "confirmed": "true", "if_match": version_in(difference)}
    saved = await owner.send(person, f"{person}/permissions", confirmed)
    late = await owner.send(person, f"{person}/permissions", {**confirmed, "/permissions": ["home"]})

    assert saved.status_code == 303
    assert late.status_code == 412
    listed = await owner.get("/settings/staff", params={"q": address})
    assert "1/8" in text_of(listed)
    (invitation,) = re.findall(r"/settings/invitations/(ivt_\w+)/resend", listed.text)[:1]
    for act in ("resend", "withdraw"):
        done = await owner.send("/settings/staff", f"/settings/invitations/{invitation}/{act}", {})
        assert done.status_code == 303


async def test_the_owner_is_locked_and_what_is_lacked_cannot_be_given(
    console: ConsoleStack, tenant: Tenant, owner: Visitor
) -> None:
    owners_page, address = f"/settings/staff/{tenant.owner.subject_id}", email("deputy")
    await tenant.create_staff("settings.staff.read", "settings.staff.write", "home", email=address)
    other = await tenant.create_staff("home")
    visitor = await console.signed_in(tenant.id, address)

    assert 'name="/permissions"' not in (await owner.get(owners_page)).text
    shown = await visitor.get(f"/settings/staff/{other.subject_id}")
    assert re.search(r'value="orders"\s+disabled', shown.text)
    assert "you do not have this yourself" in shown.text
    why = await visitor.get(
        "/settings/staff", params={"subject": other.subject_id, "permission": "settings.webhooks.replay"}
    )
    assert "No: " in text_of(why)
    assert (await visitor.get("/settings/audit")).status_code == 403
    assert "/settings/audit" not in (await visitor.get("/")).text


async def test_a_key_is_shown_once_and_is_refused_after_it_was_revoked(owner: Visitor, tenant: Tenant) -> None:
    page = "/settings/api-keys/new"

    empty = await owner.send(page, page, {"/name": "ERP"})
    made = await owner.send(page, page, {"/name": "ERP", "/scopes": ["reports"]})
    listed = await owner.get("/settings/api-keys")

    assert empty.status_code == 422
    (key,) = set(SHOWN_KEY.findall(made.text))
    assert f"WAYBILL_API_KEY={key}" in made.text
    assert made.headers["cache-control"] == "no-store"
    assert key not in listed.text
    caller = tenant.owner.using({"X-Api-Key": key}).at("identity")
    assert (await caller.get("/v1/auth/test")).status_code == 200
    (revoke,) = re.findall(r"/settings/api-keys/key_\w+/revoke", listed.text)[:1]
    assert (await owner.send("/settings/api-keys", revoke, {})).status_code == 303
    assert (await caller.get("/v1/auth/test")).status_code == 401


async def test_the_audit_trail_is_filtered_and_exported(owner: Visitor, tenant: Tenant) -> None:
    merchant = await tenant.create_merchant()
    await tenant.owner.patch(f"/v1/merchants/{merchant.id}", {"business_name": "Boulangerie Zoé"})
    asked = {"action": "merchant.updated", "target": merchant.id}

    shown = text_of(await owner.get("/settings/audit", params=asked))
    nothing = text_of(await owner.get("/settings/audit", params={"action": "nobody.did"}))
    export = await owner.get("/settings/audit.csv", params=asked)

    assert "business_name" in shown
    assert "Boulangerie Zoé" in shown
    assert "Nothing matches" in nothing
    rows = list(csv.DictReader(StringIO(export.text)))
    assert {row["action"] for row in rows} == {"merchant.updated"}
    assert "attachment" in export.headers["content-disposition"]
