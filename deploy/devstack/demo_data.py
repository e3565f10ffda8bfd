"""Demo data through the public edges alone, and `demo.json` with the addresses and credentials that go with them.

A company can be founded any number of times (the walk founds its own); the one in `demo.json` is founded once and kept
as long as its owner can sign in.
"""

import json
import secrets
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

from deploy.devstack import steps
from deploy.devstack.edges import NOT_YET_KNOWN, Edges, Json, basic, bearer, platform
from deploy.devstack.failures import StackError
from deploy.devstack.settings import APPLICATIONS, StackSettings, write_private
from deploy.devstack.stack import Say, database_urls

TRIAL_LEFT_MIN = timedelta(days=7)
TRIAL_EXTENSION = timedelta(days=30)
PASSWORD_BYTES = 12
NAME_SUFFIX_BYTES = 3
STAFF_PERMISSIONS = ["home", "reports"]


def ensure(settings: StackSettings, say: Say) -> Json:
    """The content of `demo.json`, written anew where the data or the addresses have changed."""
    with Edges(settings) as edges:
        content = _kept(settings)
        if content is None or not _still_true(edges, content):
            say("making the demo data")
            content = _make(settings, edges)
        _keep_trial_running(edges, content)
        written = {**addresses(settings), **content}
        text = json.dumps(written, indent=2, ensure_ascii=False) + "\n"
        if not settings.demo_file.exists() or settings.demo_file.read_text() != text:
            write_private(settings.demo_file, text)
    return written


def addresses(settings: StackSettings) -> Json:
    """The part of `demo.json` that follows from the settings."""
    return {
        "urls": {name: settings.url(name) for name in APPLICATIONS},
        "kafka": settings.kafka,
        "databases": database_urls(settings),
        "receiver": {"url": settings.url("receiver"), "received": settings.url("receiver") + "/received"},
        "mailbox": {"url": settings.url("mailbox") + "/mail", "messages": settings.url("mailbox") + "/mail/messages"},
    }


def platform_key(settings: StackSettings) -> str:
    """A new platform API key in test mode, made by the operator's own command of identity."""
    environment = settings.service_environment("identity", database_urls(settings)["identity"])
    told = steps.run(
        ["identity", "platform-key", "--name", "demo", "--test"],
        environment,
        "no platform key could be made",
    )
    for line in reversed(told.splitlines()):
        with suppress(ValueError, KeyError, TypeError):  # a line of its log
            return str(json.loads(line)["api_key"])
    raise StackError(f"identity's platform-key command did not answer with a key: {told.strip()[:200]}")


def found_company(edges: Edges, api_key: str, name: str) -> tuple[Json, Json]:
    """A tenant that nobody else has, with its owner (e-mail and password)."""
    suffix = secrets.token_hex(NAME_SUFFIX_BYTES)
    owner = {"email": f"owner-{suffix}@example.com", "password": new_password()}
    tenant = edges.call(
        "POST",
        "identity",
        "/v1/tenants",
        headers=platform(api_key),
        body={
            "name": f"{name} {suffix}",
            "country": "CA",
            "timezone": "America/Toronto",
            "currency": "CAD",
            "owner": {**owner, "first_name": "Ada", "last_name": "Owner"},
            "test": True,
        },
    )
    return tenant, owner


def sign_in(edges: Edges, person: Json, tenant_id: str) -> Json:
    """A session of a person of this tenant."""
    body = {"email": person["email"], "password": person["password"], "tenant": tenant_id}
    return edges.call("POST", "identity", "/v1/sessions", body=body)


def add_location(edges: Edges, owner: Json, name: str, reference_id: str) -> Json:
    """A branch in this city."""
    body = {"type": "branch", "name": name, "reference_id": reference_id, "timezone": "America/Toronto"}
    return edges.call("POST", "identity", "/v1/locations", headers=bearer(owner), body=body)


def add_merchant(edges: Edges, owner: Json, business_name: str, *, level: int, locations: list[str]) -> Json:
    """A merchant without API access, whose default location is the first; with its e-mail and password."""
    email = f"merchant-{secrets.token_hex(NAME_SUFFIX_BYTES)}@example.com"
    password = new_password()
    body = {
        "business_name": business_name,
        "login_email": email,
        "level": level,
        "api_access": False,
        "location_ids": locations,
        "default_location_id": locations[0],
        "password": password,
    }
    merchant = edges.call("POST", "identity", "/v1/merchants", headers=bearer(owner), body=body)
    return {"id": merchant["id"], "email": email, "password": password}


def grant_api_access(edges: Edges, owner: Json, merchant_id: str) -> Json:
    """The merchant with its API Account ID."""
    return edges.call("POST", "identity", f"/v1/merchants/{merchant_id}/api-access", headers=bearer(owner))


def reveal_pair(edges: Edges, merchant_session: Json, password: str) -> Json:
    """The merchant's API Account ID and API Auth Key, as it sees them itself."""
    return edges.call(
        "POST",
        "identity",
        "/v1/api-settings/reveal",
        headers=bearer(merchant_session),
        body={"password": password},
    )


def add_staff(edges: Edges, owner: Json, permissions: list[str]) -> Json:
    """A staff account with these permissions; its e-mail and password."""
    person = {"email": f"staff-{secrets.token_hex(NAME_SUFFIX_BYTES)}@example.com", "password": new_password()}
    body = {**person, "first_name": "Sam", "last_name": "Staff", "permissions": permissions}
    edges.call("POST", "identity", "/v1/staff", headers=bearer(owner), body=body)
    return {**person, "permissions": permissions}


def invite_staff(edges: Edges, owner: Json, permissions: list[str]) -> str:
    """Invite somebody to the staff, with these permissions; the e-mail address to which the invitation goes."""
    email = f"staff-{secrets.token_hex(NAME_SUFFIX_BYTES)}@example.com"
    body = {"email": email, "first_name": "Sam", "last_name": "Staff", "permissions": permissions}
    edges.call("POST", "identity", "/v1/staff", headers=bearer(owner), body=body)
    return email


def accept_invitation(edges: Edges, link: str) -> str:
    """Accept the invitation whose link this is; the password that was set."""
    password = new_password()
    body = {"token": urlsplit(link).fragment.removeprefix("token="), "password": password}
    edges.call("POST", "identity", "/v1/invitations/accept", body=body)
    return password


def end_trial_at(edges: Edges, api_key: str, tenant_id: str, instant: datetime) -> Json:
    """Let the tenant's trial end at this instant, sooner or later than it would have."""
    return edges.call(
        "POST",
        "billing",
        f"/v1/billing/tenants/{tenant_id}/trial/extend",
        headers=platform(api_key, tenant_id=tenant_id),
        body={"trial_ends_at": instant.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")},
        settling=NOT_YET_KNOWN,
    )


def new_password() -> str:
    """A password that nobody else has."""
    return "Demo-" + secrets.token_urlsafe(PASSWORD_BYTES)


def _make(settings: StackSettings, edges: Edges) -> Json:
    api_key = platform_key(settings)
    tenant, owner = found_company(edges, api_key, "Boreal Couriers")
    session = sign_in(edges, owner, tenant["id"])
    montreal = add_location(edges, session, "Montréal", "MTL")
    toronto = add_location(edges, session, "Toronto", "TOR")
    locations = [montreal["id"], toronto["id"]]
    merchant = add_merchant(edges, session, "Sofa & Co", level=2, locations=locations)
    grant_api_access(edges, session, merchant["id"])
    pair = reveal_pair(edges, sign_in(edges, merchant, tenant["id"]), merchant["password"])
    content: Json = {
        "platform_api_key": api_key,
        "tenant": {"id": tenant["id"], "name": tenant["name"]},
        "owner": owner,
        "staff": add_staff(edges, session, STAFF_PERMISSIONS),
        "locations": {"montreal": montreal["id"], "toronto": toronto["id"]},
        "merchant": {
            **merchant,
            "api_account_id": pair["api_account_id"],
            "api_auth_key": pair["api_auth_key"],
        },
        "merchant_level_1": add_merchant(edges, session, "Corner Shop", level=1, locations=locations),
    }
    # Whoever reads demo.json finds every service knowing these people already.
    edges.call("GET", "jobs", "/v1/jobs", headers=basic(content["merchant"]), settling=NOT_YET_KNOWN)
    for service in ("jobs", "webhooks", "billing"):
        edges.call("GET", service, "/v1/auth/test", headers=bearer(session), settling=NOT_YET_KNOWN)
    return content


def _kept(settings: StackSettings) -> Json | None:
    try:
        content: dict[str, Any] = json.loads(settings.demo_file.read_text())
    except (FileNotFoundError, ValueError):
        return None
    return {key: value for key, value in content.items() if key not in addresses(settings)}


def _still_true(edges: Edges, content: Json) -> bool:
    """False where the databases are newer than `demo.json`."""
    try:
        sign_in(edges, content["owner"], content["tenant"]["id"])
        edges.call("GET", "identity", "/v1/tenants?limit=1", headers=platform(content["platform_api_key"]))
    except (StackError, KeyError):
        return False
    return True


def _keep_trial_running(edges: Edges, content: Json) -> None:
    """A demo that is looked at again after weeks should not answer 402."""
    tenant_id = content["tenant"]["id"]
    headers = platform(content["platform_api_key"], tenant_id=tenant_id)
    subscription = edges.call("GET", "billing", "/v1/billing/subscription", headers=headers, settling=NOT_YET_KNOWN)
    if subscription["status"] not in ("trialing", "expired"):
        return
    now = datetime.now(UTC)
    if datetime.fromisoformat(subscription["trial_ends_at"]) < now + TRIAL_LEFT_MIN:
        end_trial_at(edges, content["platform_api_key"], tenant_id, now + TRIAL_EXTENSION)
