"""The hand-written table of who may what, against the documents of the services and against what they answer."""

import pytest

from shared.access.permissions import CODES, MERCHANT_API_CREDENTIALS, MERCHANT_SESSION, OWNER
from tests.harness.client import Api
from tests.harness.people import Tenant
from tests.harness.suite import Suite
from tests.harness.who_may_what import ADMITS, TABLE, declared, read_table

REFUSALS = {
    "credentials_missing",
    "credential_not_admitted",
    "owner_required",
    "permission_missing",
    "step_up_required",
    "subscription_required",
}
ENDS_THE_SESSION = {"/v1/sessions", "/v1/sessions/current"}


def test_the_table_has_every_route_once_and_as_it_is_declared() -> None:
    listed, documents = list(read_table()), declared()
    table = dict(listed)
    wrong = []

    for name, line in documents.items():
        service, _, route = name.partition(" ")
        shown = line.notes if line.who not in ("anybody", "the platform") else ""
        to_add = f"under `{line.title}`, {service}:\n      - {route}{shown}"
        if name not in table:
            wrong.append(f"{name} is not in the table. If this is meant, add {to_add}")
        elif table[name] != line:
            wrong.append(
                f"{name} stands under `{table[name].title}`{table[name].notes}. If the service is right: {to_add}"
            )
    wrong += [f"{name} is in the table, and in no service" for name in table if name not in documents]
    wrong += [f"{name} is in the table twice" for name in table if [one for one, _ in listed].count(name) > 1]

    assert not wrong, "\n\n".join([f"{TABLE.name}:", *wrong])


def test_no_integration_reaches_what_administrators_manage() -> None:
    """Of the table itself: what the product promises, whatever is declared."""
    for name, line in read_table():
        opened = line.who != "anybody" and "pair" in ADMITS[line.who]
        if opened:
            assert line.permissions <= MERCHANT_API_CREDENTIALS, name
        if line.who == "administrators and merchants":
            assert line.permissions <= MERCHANT_SESSION, name
        assert name.startswith(("jobs ", "identity GET /v1/api-settings/locations")) or not opened or line.unpaid, name
        assert line.who == "the platform" or line.permissions <= OWNER, name


@pytest.fixture
async def callers(suite: Suite, tenant: Tenant) -> dict[str, tuple[Api, frozenset[str]]]:
    """A caller of each kind, with the permissions that it holds."""
    merchant = await tenant.create_merchant()
    scopes = ["reports", "settings.webhooks.read"]
    made = await tenant.owner.at("identity").create("/v1/api-keys", {"name": "a key", "scopes": scopes})
    return {
        "nobody": (suite.nobody, frozenset()),
        "owner": (await (await suite.people.log_in(tenant.id, tenant.owner_email)).settled(), OWNER),
        "staff": (await tenant.create_staff("home"), frozenset({"home"})),
        "user_key": (
            await suite.nobody.using({"X-Api-Key": made["api_key"]}).settled(),
            frozenset({"reports", "reports.read", "settings.webhooks.read"}),
        ),
        "platform_key": (suite.platform.in_tenant(tenant.id), CODES),
        "merchant_session": (await (await merchant.session()).settled(), MERCHANT_SESSION),
        "pair": (await merchant.reveal(), MERCHANT_API_CREDENTIALS),
    }


async def test_every_route_answers_everybody_as_the_table_says(
    suite: Suite, callers: dict[str, tuple[Api, frozenset[str]]]
) -> None:
    table = dict(read_table())
    wrong = []

    for route in sorted(await suite.all_routes(), key=lambda route: (route.path in ENDS_THE_SESSION, str(route))):
        if route.path in ENDS_THE_SESSION and route.method == "DELETE":
            # Who is let in has no session afterwards: `test_sessions.py` tells of that.
            continue
        for caller, (api, held) in callers.items():
            answer = await route.call(api)
            problem = answer.json().get("code") if answer.status_code >= 400 else None
            refusal = problem if problem in REFUSALS else None
            expected = table[str(route)].expected(caller, held)
            if refusal != expected:
                wrong.append(f"{route} for {caller}: {refusal or answer.status_code}, not {expected or 'let in'}")

    assert not wrong, "\n".join(wrong)
