"""The main job of Waybill, walked aloud: every step is done through the public edges and seen to have worked.

The walk founds companies of its own, so that it can be repeated; the company of `demo.json` is left alone. It raises
StackError at the first step that was not seen.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import httpx

from deploy.devstack import demo_data
from deploy.devstack.edges import NOT_YET_KNOWN, Edges, Json, basic, bearer
from deploy.devstack.failures import StackError
from deploy.devstack.settings import SERVICES, StackSettings
from deploy.devstack.stack import Say

WEBHOOK_TIMEOUT_SECONDS = 60.0
WEBHOOK_POLL_SECONDS = 0.05
MAIL_TIMEOUT_SECONDS = 30.0
MAIL_POLL_SECONDS = 0.05
CHECKOUT_TIMEOUT_SECONDS = 60.0
CHECKOUT_POLL_SECONDS = 0.05
CONSOLE_TIMEOUT_SECONDS = 30.0
PLAN = "starter_monthly"
TRIAL_LEFT = timedelta(seconds=2)
DENIED = (403,)
PAYMENT_REQUIRED = (402,)


@dataclass(frozen=True, kw_only=True)
class Company:
    """A company that is open for business: what its people and its merchant's system need."""

    tenant_id: str
    owner_session: Json
    pair: Json
    montreal_id: str
    toronto_id: str


class Steps:
    """Numbers the steps as they are told."""

    def __init__(self, say: Say) -> None:
        self._say = say
        self._count = 0

    def __call__(self, line: str) -> None:
        self._count += 1
        self._say(f"\n{self._count}. {line}")


def walk(settings: StackSettings, say: Say) -> None:
    """Walk it and end with what one needs to go on; StackError where something promised was not seen."""
    content = demo_data.ensure(settings, say)
    started = time.monotonic()
    step = Steps(say)
    with Edges(settings, say) as edges:
        say(
            "\nEach request is told as the curl that sends it; $NAMES are shell variables, set where they first appear."
        )
        edges.name("PLATFORM_KEY", content["platform_api_key"])
        company = _open_for_business(edges, step, content["platform_api_key"])
        _deliver_webhooks(settings, edges, step, say, company)
        session = _let_a_trial_end(edges, step, content["platform_api_key"])
        staff_session = _invite(settings, edges, step, say, company)
        _refuse_what_is_not_allowed(edges, step, company, staff_session)
        _revoke(edges, step, say, company)
        _see_that_it_has_ended(edges, step, session)
        _buy(edges, step, say, session)
    _sign_in_at_the_console(settings, content)
    say(f"\nEvery step was seen, in {time.monotonic() - started:.1f} seconds. To go on:")
    _tell_where_to_go_on(settings, say, content)


def _open_for_business(edges: Edges, step: Steps, api_key: str) -> Company:
    step("The platform founds a company, with its owner")
    tenant, owner = demo_data.found_company(edges, api_key, "Laurentian Logistics")
    step("The owner signs in")
    session = demo_data.sign_in(edges, owner, tenant["id"])
    edges.name("OWNER", session["token"])
    step("The owner opens two locations")
    montreal = demo_data.add_location(edges, session, "Montréal", "MTL")
    toronto = demo_data.add_location(edges, session, "Toronto", "TOR")
    step("The owner adds a merchant of Level 2, without API access for now")
    locations = [montreal["id"], toronto["id"]]
    merchant = demo_data.add_merchant(edges, session, "Lampes du Nord", level=2, locations=locations)
    step("The owner grants API access")
    granted = demo_data.grant_api_access(edges, session, merchant["id"])
    _see(granted.get("api_access") is True and granted.get("api_account_id"), "the merchant has API access", granted)
    step("The merchant signs in and retrieves its API Account ID and API Auth Key")
    merchant_session = demo_data.sign_in(edges, merchant, tenant["id"])
    edges.name("MERCHANT", merchant_session["token"])
    pair = demo_data.reveal_pair(edges, merchant_session, merchant["password"])
    edges.name("PAIR", f"{pair['api_account_id']}:{pair['api_auth_key']}")
    _see(pair["api_account_id"] == granted["api_account_id"], "the revealed pair is the granted one", pair)
    return Company(
        tenant_id=tenant["id"],
        owner_session=session,
        pair=pair,
        montreal_id=montreal["id"],
        toronto_id=toronto["id"],
    )


def _deliver_webhooks(settings: StackSettings, edges: Edges, step: Steps, say: Say, company: Company) -> None:
    step("The owner configures a webhook for Montréal, and the receiver learns its secret")
    hook = f"montreal-{company.pair['api_account_id'][-8:]}"
    endpoint = edges.call(
        "POST",
        "webhooks",
        "/v1/webhook-endpoints",
        headers=bearer(company.owner_session),
        body={
            "url": f"{settings.url('receiver')}/hooks/{hook}",
            "description": "Montréal, demo",
            "event_types": ["job.created"],
            "location_ids": [company.montreal_id],
        },
        settling=NOT_YET_KNOWN,
    )
    edges.call("PUT", "receiver", f"/hooks/{hook}/secret", body={"secret": endpoint["secret"]})
    step("The merchant's system creates a job in Toronto, then one in Montréal")
    elsewhere = _create_job(edges, company.pair, company.toronto_id, "200 Bay Street, Toronto")
    created_at = time.monotonic()
    job = _create_job(edges, company.pair, company.montreal_id, "1 rue Sainte-Catherine, Montréal")
    step("The signed webhook arrives and is verified by a library that knows nothing of Waybill")
    delivered = _await_webhook(edges, hook, job["id"])
    say(f"    arrived {(time.monotonic() - created_at) * 1000:.0f} ms after the request was sent:")
    for header in ("webhook-id", "webhook-timestamp", "webhook-signature"):
        say(f"      {header}: {delivered['headers'].get(header)}")
    say(f"      type: {delivered['json']['type']}, job: {delivered['json']['data']['job']['id']}")
    _see(delivered["verified"] is True, "the signature is right", delivered)
    received = edges.call("GET", "receiver", f"/received?name={hook}")
    stray = [kept for kept in received["data"] if kept["json"]["data"]["job"]["id"] == elsewhere["id"]]
    _see(not stray, "nothing of Toronto reached Montréal's endpoint", {"stray": stray})
    step("The merchant's system finds its jobs")
    found = edges.call("GET", "jobs", "/v1/jobs", headers=basic(company.pair))
    ids = {found_job["id"] for found_job in found["data"]}
    _see(ids == {job["id"], elsewhere["id"]}, "both jobs are found and nothing else", found)


def _invite(settings: StackSettings, edges: Edges, step: Steps, say: Say, company: Company) -> Json:
    """The session of a member of staff who has accepted an invitation that came by mail."""
    step("The owner invites somebody to the staff; the invitation arrives by mail")
    email = demo_data.invite_staff(edges, company.owner_session, ["home", "reports"])
    mail = _await_mail(edges, email)
    say(f"    “{mail['subject']}”, to be seen at {settings.url('mailbox')}/mail/{mail['id']}")
    step("Its link is opened: the invited person sets a password and signs in")
    password = demo_data.accept_invitation(edges, mail["links"][0])
    session = demo_data.sign_in(edges, {"email": email, "password": password}, company.tenant_id)
    edges.name("STAFF", session["token"])
    return session


def _refuse_what_is_not_allowed(edges: Edges, step: Steps, company: Company, staff_session: Json) -> None:
    step("The merchant's key opens nothing but jobs and actions: 403 on webhooks, 403 on merchants")
    edges.call(
        "GET", "webhooks", "/v1/webhook-endpoints", headers=basic(company.pair), expect=DENIED, settling=(401, 503)
    )
    edges.call("GET", "identity", "/v1/merchants", headers=basic(company.pair), expect=DENIED)
    step("A merchant of Level 1 cannot be granted API access")
    small = demo_data.add_merchant(edges, company.owner_session, "Petit Café", level=1, locations=[company.montreal_id])
    edges.call(
        "POST",
        "identity",
        f"/v1/merchants/{small['id']}/api-access",
        headers=bearer(company.owner_session),
        expect=(409, 422),
    )
    step("A staff member without `orders` gets 403 on jobs")
    refused = edges.call("GET", "jobs", "/v1/jobs", headers=bearer(staff_session), expect=DENIED, settling=(401, 503))
    _see("orders" in str(refused.get("required")), "the answer names the missing permission", refused)


def _revoke(edges: Edges, step: Steps, say: Say, company: Company) -> None:
    step("The owner deactivates the merchant's API access; its key stops working everywhere at once")
    edges.call(
        "POST",
        "identity",
        f"/v1/api-settings/accounts/{company.pair['api_account_id']}/deactivate",
        headers=bearer(company.owner_session),
    )
    revoked_at = time.monotonic()
    edges.call("GET", "jobs", "/v1/jobs", headers=basic(company.pair), expect=DENIED, settling=(200, 503))
    say(f"    refused {(time.monotonic() - revoked_at) * 1000:.0f} ms after the answer of the deactivation")


def _let_a_trial_end(edges: Edges, step: Steps, api_key: str) -> Json:
    """The session of another company's owner. The trial ends while the next steps are walked."""
    step(f"Another company uses the API; its trial is made to end in {TRIAL_LEFT.seconds} seconds")
    tenant, owner = demo_data.found_company(edges, api_key, "Thrifty Transport")
    session = demo_data.sign_in(edges, owner, tenant["id"])
    edges.name("OTHER_OWNER", session["token"])
    edges.call("GET", "jobs", "/v1/jobs", headers=bearer(session), settling=NOT_YET_KNOWN)
    demo_data.end_trial_at(edges, api_key, tenant["id"], datetime.now(UTC) + TRIAL_LEFT)
    return session


def _see_that_it_has_ended(edges: Edges, step: Steps, session: Json) -> None:
    step("The other company's trial has ended: 402 Payment Required, but it can still see its subscription")
    edges.call("GET", "jobs", "/v1/jobs", headers=bearer(session), expect=PAYMENT_REQUIRED, settling=(200, 503))
    edges.call("GET", "billing", "/v1/billing/subscription", headers=bearer(session), settling=(401, 403, 503))


def _buy(edges: Edges, step: Steps, say: Say, session: Json) -> None:
    step("Its owner opens the page of the payment provider; here that is one that takes no money")
    checkout = edges.call("POST", "billing", "/v1/billing/checkout-sessions", headers=bearer(session))
    say(f"    the page: {checkout['url']}")
    step("On it the owner gives a card that pays, and buys a plan")
    edges.submit(checkout["url"], {"card": "pays"})
    _await_payment_method(edges, session, checkout["id"])
    edges.call("POST", "billing", "/v1/billing/subscription", headers=bearer(session), body={"plan": PLAN})
    step("The same call that was refused is answered, and the invoice is paid")
    edges.call("GET", "jobs", "/v1/jobs", headers=bearer(session), settling=(402, 503))
    invoices = edges.call("GET", "billing", "/v1/billing/invoices", headers=bearer(session))["data"]
    _see([invoice["status"] for invoice in invoices] == ["paid"], "one invoice, which is paid", {"invoices": invoices})


def _await_payment_method(edges: Edges, session: Json, checkout_id: str) -> None:
    path = f"/v1/billing/checkout-sessions/{checkout_id}"
    deadline = time.monotonic() + CHECKOUT_TIMEOUT_SECONDS
    while edges.call("GET", "billing", path, headers=bearer(session), tell=False)["status"] == "open":
        if time.monotonic() >= deadline:
            raise StackError(f"billing did not see within {CHECKOUT_TIMEOUT_SECONDS:.0f} seconds that a card was given")
        time.sleep(CHECKOUT_POLL_SECONDS)
    given = edges.call("GET", "billing", path, headers=bearer(session))
    _see(given["status"] == "completed", "the card is kept", given)


def _create_job(edges: Edges, pair: Json, location_id: str, address: str) -> Json:
    return edges.call(
        "POST",
        "jobs",
        "/v1/jobs",
        headers=basic(pair),
        body={
            "contact": {"first_name": "Grace", "phone": "+15145550100"},
            "address": {"raw": address},
            "location_id": location_id,
            "actions": [{"type": "delivery", "description": "Floor lamp", "quantity": 1, "sku": "LAMP-1"}],
        },
        settling=NOT_YET_KNOWN,
    )


def _await_webhook(edges: Edges, hook: str, job_id: str) -> Json:
    deadline = time.monotonic() + WEBHOOK_TIMEOUT_SECONDS
    while time.monotonic() < deadline:
        for kept in edges.call("GET", "receiver", f"/received?name={hook}", tell=False)["data"]:
            if kept["json"]["data"].get("job", {}).get("id") == job_id:
                return dict(kept)
        time.sleep(WEBHOOK_POLL_SECONDS)
    raise StackError(f"no webhook for job {job_id} arrived within {WEBHOOK_TIMEOUT_SECONDS:.0f} seconds")


def _await_mail(edges: Edges, address: str) -> Json:
    deadline = time.monotonic() + MAIL_TIMEOUT_SECONDS
    while time.monotonic() < deadline:
        for mail in edges.call("GET", "mailbox", f"/mail/messages?to={address}", tell=False)["data"]:
            edges.call("GET", "mailbox", f"/mail/messages?to={address}")
            return dict(mail)
        time.sleep(MAIL_POLL_SECONDS)
    raise StackError(f"no mail for {address} arrived within {MAIL_TIMEOUT_SECONDS:.0f} seconds")


def _see(seen: object, promise: str, instead: Json) -> None:
    if not seen:
        raise StackError(f"not seen: {promise}; instead: {str(instead)[:500]}")


def _sign_in_at_the_console(settings: StackSettings, content: Json) -> None:
    """As the owner with a browser; what is told at the end has been tried."""
    form = {"/tenant": content["tenant"]["name"], "/email": content["owner"]["email"]}
    form["/password"] = content["owner"]["password"]
    console = settings.url("console")
    with httpx.Client(base_url=console, trust_env=False, timeout=CONSOLE_TIMEOUT_SECONDS) as browser:
        browser.post("/sign-in", data=form, headers={"Origin": console})
        page = browser.get("/")
    _see(content["tenant"]["name"] in page.text, "the owner signs in at the console", {"status": page.status_code})


def _tell_where_to_go_on(settings: StackSettings, say: Callable[[str], None], content: Json) -> None:
    say(f"  console    {settings.url('console')}   sign in as the owner or the merchant below")
    for service in SERVICES:
        say(f"  {service:10} {settings.url(service)}/docs")
    say(f"  receiver   {settings.url('receiver')}/received")
    say(f"  mailbox    {settings.url('mailbox')}/mail")
    say(f"  payments   {settings.url('payments')}/charges")
    say(f"  tenant     {content['tenant']['name']} ({content['tenant']['id']})")
    say(f"  owner      {content['owner']['email']} / {content['owner']['password']}")
    merchant = content["merchant"]
    say(f"  merchant   {merchant['email']} / {merchant['password']}")
    say(f"  its pair   {merchant['api_account_id']} : {merchant['api_auth_key']}")
    say(f"  all of it  {settings.demo_file}")
    say("  stop with `make down`, look with `make status` and `make logs`")
