"""An example of every event: one tenant, one merchant and one job, with the state that the event leaves behind."""

from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import Any
from uuid import UUID

from shared.events import Event, State, access, audit, billing, identity, jobs, receipts, webhooks

AT = datetime(2030, 1, 31, 9, 0, tzinfo=UTC)
LATER = datetime(2030, 2, 14, 9, 0, tzinfo=UTC)
UNIQUE = "01h455vb4pex5vsknk084sn02q"
TENANT, LOCATION, MERCHANT, USER = f"ten_{UNIQUE}", f"loc_{UNIQUE}", f"mer_{UNIQUE}", f"usr_{UNIQUE}"
ACCOUNT, KEY, JOB, ACTION, ENDPOINT = (f"{prefix}_{UNIQUE}" for prefix in ("acct", "key", "job", "act", "ep"))
NEW_OWNER = "usr_01h455vb4pex5vsknk084sn02r"
REVOCATION = f"rev_{UNIQUE}"
SIGNING_KEY = "sig_9f86d081884c7d65"
DIGEST = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"

_TENANT = identity.TenantState(
    tenant_id=TENANT,
    name="Boreal Couriers",
    status="active",
    country="CA",
    timezone="America/Toronto",
    currency="CAD",
    test=False,
    trial_days=14,
    owner_id=USER,
)
_LOCATION = identity.LocationState(
    location_id=LOCATION,
    tenant_id=TENANT,
    type="warehouse",
    name="Montréal",
    reference_id="MTL-1",
    timezone="America/Toronto",
    active=True,
    is_default=True,
)
_MERCHANT = identity.MerchantState(
    merchant_id=MERCHANT,
    tenant_id=TENANT,
    business_name="Acme Meubles",
    level=2,
    status="active",
    api_access=True,
    location_ids=[LOCATION],
    default_location_id=LOCATION,
    reference_id="C-1001",
    sessions_valid_from=AT,
    pair=identity.PairState(
        account_id=ACCOUNT, livemode=True, digests=[identity.DigestState(digest=DIGEST, pepper_version=1)]
    ),
)
_USER = identity.UserState(
    user_id=USER,
    tenant_id=TENANT,
    kind="staff",
    status="active",
    permissions=["orders.jobs.read", "orders.jobs.write"],
    sessions_valid_from=AT,
)
_KEY = identity.CredentialState(
    credential_id=KEY,
    kind="user_key",
    tenant_id=TENANT,
    user_id=USER,
    name="Warehouse scanner",
    scopes=["orders.jobs.read"],
    active=True,
    livemode=True,
    expires_at=LATER,
    digests=[identity.DigestState(digest=DIGEST, pepper_version=1)],
)
_SUBSCRIPTION = billing.SubscriptionState(tenant_id=TENANT, status="trialing", trial_ends_at=LATER, access_until=LATER)
_INVOICE = billing.InvoiceState(
    invoice_id=f"inv_{UNIQUE}",
    tenant_id=TENANT,
    number="INV-0001",
    status="open",
    currency="CAD",
    total=5634,
    amount_due=5634,
    plan="starter_monthly",
    period_start=AT,
    period_end=LATER,
    finalized_at=AT,
)
_FAILED_PAYMENT = billing.FailedPayment(
    tenant_id=TENANT,
    invoice_id=f"inv_{UNIQUE}",
    invoice_number="INV-0001",
    currency="CAD",
    amount=5634,
    reason="declined",
    next_attempt_at=LATER,
    access_until=LATER,
)
_ENDPOINT = webhooks.EndpointState(
    endpoint_id=ENDPOINT,
    tenant_id=TENANT,
    url="https://example.com/hooks",
    event_types=["job.*"],
    location_ids=[LOCATION],
    enabled=True,
)
_AUDIT = audit.AuditState(
    audit_id=f"aud_{UNIQUE}",
    service="identity",
    tenant_id=TENANT,
    at=AT,
    actor=USER,
    actor_kind="staff",
    via="session",
    address="203.0.113.7",
    request_id="req_0198a1b2c3d4e5f60718293a4b5c6d7e",
    action="merchant.updated",
    target=MERCHANT,
    before={"business_name": "Acme"},
    after={"business_name": "Acme Meubles"},
)
_ACTION = jobs.ActionState(
    id=ACTION,
    job_id=JOB,
    type="delivery",
    position=1,
    sku="S-1",
    description="Sofa",
    quantity=2,
    status="undetermined",
    version=1,
    created_at=AT,
    updated_at=AT,
)
_JOB = jobs.JobState(
    id=JOB,
    merchant_id=MERCHANT,
    reference_id="A-1001",
    status="new",
    type="delivery",
    scheduled_date=date(2030, 2, 1),
    timezone="America/Toronto",
    contact=jobs.ContactState(first_name="Ada", phone="+15145550100"),
    address=jobs.AddressState(raw="1 Rue Sherbrooke, Montréal", country="CA"),
    location_id=LOCATION,
    actions=[_ACTION],
    created_by=USER,
    livemode=True,
    version=2,
    created_at=AT,
    updated_at=AT,
)

_STATES: Mapping[type[State], tuple[str, State]] = {
    identity.TenantState: (TENANT, _TENANT),
    identity.LocationState: (LOCATION, _LOCATION),
    identity.MerchantState: (MERCHANT, _MERCHANT),
    identity.UserState: (USER, _USER),
    identity.OwnershipState: (
        TENANT,
        identity.OwnershipState(
            tenant=_TENANT.model_copy(update={"owner_id": NEW_OWNER}),
            owner=_USER.model_copy(update={"user_id": NEW_OWNER, "kind": "owner", "permissions": []}),
            owner_version=4,
            former_owner=_USER.model_copy(update={"permissions": ["orders", "settings"]}),
            former_owner_version=2,
        ),
    ),
    identity.CredentialState: (KEY, _KEY),
    identity.SubjectSessions: (USER, identity.SubjectSessions(subject_id=USER, sessions_valid_from=AT)),
    identity.SigningKeyState: (
        SIGNING_KEY,
        identity.SigningKeyState(
            key_id=SIGNING_KEY, algorithm="EdDSA", public_key="11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="
        ),
    ),
    billing.SubscriptionState: (TENANT, _SUBSCRIPTION),
    billing.InvoiceState: (TENANT, _INVOICE),
    billing.FailedPayment: (TENANT, _FAILED_PAYMENT),
    webhooks.EndpointState: (ENDPOINT, _ENDPOINT),
    audit.AuditState: (MERCHANT, _AUDIT),
    access.CredentialUses: (
        "jobs",
        access.CredentialUses(uses=[access.CredentialUse(credential_id=ACCOUNT, used_at=AT)]),
    ),
    access.RequestsState: (
        "jobs",
        access.RequestsState(
            process_id=UUID("018d5b3e-8f7a-7c21-9f35-1d2e3c4b5a69"),
            counts=[
                access.RequestCountState(
                    tenant_id=TENANT,
                    credential_id=ACCOUNT,
                    subject_id=MERCHANT,
                    livemode=True,
                    hour=AT,
                    calls=4120,
                    errors=1,
                )
            ],
            failed=[
                access.FailedRequestState(
                    failed_request_id=f"frq_{UNIQUE}",
                    tenant_id=TENANT,
                    credential_id=ACCOUNT,
                    subject_id=MERCHANT,
                    livemode=True,
                    at=AT,
                    method="POST",
                    path="/v1/jobs",
                    status=422,
                    code="invalid",
                    request_id=f"req_{UNIQUE}",
                    milliseconds=3.4,
                )
            ],
        ),
    ),
    receipts.ReplicaReport: (
        "jobs/jobs-1",
        receipts.ReplicaReport(
            service="jobs",
            replica="jobs-1",
            started_at=AT,
            applied=[
                receipts.AppliedRevocation(revocation_id=REVOCATION, event_id=f"evt_{UNIQUE}", applied_at=AT),
            ],
        ),
    ),
}
"""The subject and the state of the events that carry it."""

_ACTIVE: Mapping[str, Any] = {
    "status": "active",
    "plan": "starter_monthly",
    "access_until": None,
    "current_period_end": LATER,
    "features": {"webhook_endpoints": 5, "requests_per_second": 50},
}

_CHANGES: Mapping[type[Event], Mapping[str, Any]] = {
    identity.TenantSuspended: {"status": "suspended"},
    identity.TenantClosed: {"status": "closed"},
    identity.LocationDeactivated: {"active": False, "is_default": False},
    identity.MerchantCreated: {"api_access": False, "pair": None},
    identity.MerchantDisabled: {"status": "disabled"},
    identity.MerchantLevelChanged: {"level": 1, "api_access": False},
    identity.ApiAccessRevoked: {"api_access": False},
    identity.CredentialRevoked: {"active": False},
    identity.UserCreated: {"status": "invited"},
    identity.UserDisabled: {"status": "disabled"},
    billing.TrialExpired: {"status": "expired", "trial_ends_at": AT, "access_until": AT},
    billing.TrialConverted: _ACTIVE,
    billing.SubscriptionActivated: _ACTIVE,
    billing.SubscriptionUpdated: _ACTIVE,
    billing.SubscriptionPastDue: {**_ACTIVE, "status": "past_due", "access_until": LATER},
    billing.SubscriptionRecovered: _ACTIVE,
    billing.SubscriptionUnpaid: {**_ACTIVE, "status": "unpaid", "access_until": AT},
    billing.SubscriptionCanceled: {**_ACTIVE, "status": "canceled", "access_until": AT},
    billing.SubscriptionResumed: _ACTIVE,
    billing.InvoicePaid: {"status": "paid", "amount_due": 0},
    webhooks.EndpointDisabled: {"enabled": False, "reason": "failing"},
}
"""What differs in the state after these events."""

_OF_THE_PLATFORM = (identity.SigningKeyPublished, *access.EVENTS, receipts.ReplicaReported)
_REVOKING = (
    identity.ApiAccessRevoked,
    identity.CredentialOverlapEnded,
    identity.CredentialRevoked,
    identity.MerchantDisabled,
    identity.UserDisabled,
)

_JOB_CHANGES: Mapping[str, tuple[list[str], Mapping[str, Any]]] = {
    "job.created": ([], {"version": 1}),
    "job.updated": (["instructions"], {"instructions": "Ring twice"}),
    "job.cancelled": (["status", "status_changed_at", "status_reason"], {"status_reason": "The customer is away"}),
    "job.deleted": (["deleted_at"], {"deleted_at": AT}),
    "job.restored": (["deleted_at"], {}),
    "action.created": ([], {}),
    "action.updated": (["quantity"], {}),
    "action.deleted": ([], {"actions": []}),
    "action.outcome_recorded": (
        ["outcome", "status"],
        {
            "status": "in_progress",
            "status_changed_at": AT,
            "actions": [
                _ACTION.model_copy(update={"status": "completed", "outcome": jobs.OutcomeState(completed=2)}),
            ],
        },
    ),
}
"""For these types, `changed_fields` and what differs in the job; of the others the status is in their name."""


def example(event: type[Event]) -> Event:
    """An event of this type. Raises `KeyError` for a type of which no example is known."""
    subject, state = _state_after(event)
    return event.model_validate(
        {
            "type": event.type_name(),
            "tenant_id": None if event in _OF_THE_PLATFORM else TENANT,
            "subject": subject,
            "sequence": _sequence(event),
            "id": f"evt_{UNIQUE}",
            "time": AT,
            "revocation_id": REVOCATION if event in _REVOKING else None,
            "data": state,
        }
    )


def _state_after(event: type[Event]) -> tuple[str, State]:
    """The subject of an event, and its state after the event."""
    if issubclass(event, jobs.JobEvent):
        return JOB, _job_change(event.type_name())
    annotation = event.model_fields["data"].annotation
    assert isinstance(annotation, type)
    subject, state = _STATES[annotation]
    return subject, state.model_copy(update=_CHANGES.get(event, {}))


def _sequence(event: type[Event]) -> int:
    if event in (*access.EVENTS, *audit.EVENTS, *receipts.EVENTS):
        return 0
    return 1 if event.type_name().endswith(".created") else 2


def _job_change(name: str) -> jobs.JobChange:
    subject, _, verb = name.partition(".")
    status = {"status": "in_progress" if verb == "started" else verb, "status_changed_at": AT}
    changed, changes = _JOB_CHANGES.get(name, (["status", "status_changed_at"], {}))
    if "status" in changed and "status" not in changes:
        changes = {**status, **changes}
    return jobs.JobChange(
        tenant_id=TENANT,
        location_ids=[LOCATION],
        sequence=1 if name == "job.created" else 2,
        livemode=True,
        changed_fields=changed,
        action_id=ACTION if subject == "action" else None,
        job=_JOB.model_copy(update=changes),
    )
