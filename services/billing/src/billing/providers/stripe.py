"""Stripe, by its own library: payment methods by Checkout in the mode `setup`, charges by PaymentIntents off-session.

A charge has its key twice: as Stripe's idempotency key, which it forgets after a day, and in the metadata of its PaymentIntent, where it is
looked up.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import httpx
import stripe
from stripe.params import PaymentIntentListParams
from stripe.params.checkout import SessionCreateParams

from billing.providers.port import (
    Charge,
    ChargeResult,
    Declined,
    HostedPage,
    MethodGiven,
    NotificationRefused,
    Setup,
    SetupEnded,
    SetupOpen,
    SetupResult,
    Succeeded,
    Told,
    Unknown,
)

CALL_SECONDS = 10.0
RETRIES_MAX = 1
LOOKED_AT_MAX = 100
"""Payments of one customer that are looked through for a key, the newest first."""
KEY = "waybill_charge"
SIGNATURE = "stripe-signature"
SIGNATURE_SECONDS_MAX = 300
"""Older notifications are refused: somebody may have kept them."""
FINAL_CODES = frozenset(
    {
        "expired_card",
        "incorrect_number",
        "invalid_account",
        "lost_card",
        "pickup_card",
        "resource_missing",
        "stolen_card",
    }
)
"""Refusals after which the same card will never do."""


class StripeProvider:
    """Stripe, or a server with its API."""

    name = "stripe"

    def __init__(self, api_key: str, *, url: str, webhook_secrets: Sequence[str] = ()):
        self._webhook_secrets = tuple(webhook_secrets)
        self._connections = stripe.HTTPXClient(timeout=CALL_SECONDS)
        self._client = stripe.StripeClient(
            api_key,
            base_addresses={"api": url},
            http_client=self._connections,
            max_network_retries=RETRIES_MAX,
        )

    async def close(self) -> None:
        """Close its connections."""
        await self._connections.close_async()  # type: ignore[no-untyped-call]

    async def open_setup(self, setup: Setup) -> HostedPage:
        customer = await self._client.v1.customers.create_async(
            {"metadata": {"waybill_tenant": setup.tenant_id}}, {"idempotency_key": f"{setup.key}_customer"}
        )
        page: SessionCreateParams = {
            "mode": "setup",
            "allowed_payment_method_types": ["card"],
            "customer": customer.id,
            "client_reference_id": setup.key,
            "success_url": setup.return_url,
            "cancel_url": setup.return_url,
        }
        opened = await self._client.v1.checkout.sessions.create_async(page, {"idempotency_key": setup.key})
        assert opened.url is not None
        return HostedPage(opened.id, opened.url)

    async def look_up_setup(self, reference: str) -> SetupResult:
        found = await self._client.v1.checkout.sessions.retrieve_async(
            reference, {"expand": ["setup_intent.payment_method"]}
        )
        if found.status == "open":
            return SetupOpen()
        intent: Any = found.setup_intent
        method = None if intent is None else intent.payment_method
        if found.status != "complete" or method is None:
            return SetupEnded()
        return MethodGiven(method.id, _label(method))

    def read_notification(self, body: bytes, headers: Mapping[str, str]) -> Told:
        if not any(_is_signed(body, headers.get(SIGNATURE, ""), secret) for secret in self._webhook_secrets):
            raise NotificationRefused
        try:
            changed = json.loads(body)["data"]["object"]
            match changed["object"]:
                case "checkout.session":
                    return Told(setup=str(changed["id"]))
                case "payment_intent":
                    return Told(charge=(changed.get("metadata") or {}).get(KEY))
                case _:
                    return Told()
        except (ValueError, KeyError, TypeError) as error:
            raise NotificationRefused from error

    async def charge(self, charge: Charge) -> ChargeResult:
        try:
            method = await self._client.v1.payment_methods.retrieve_async(charge.method)
            if method.customer is None:
                # It was taken from its customer: Stripe lets nobody use it again.
                return Declined("payment_method_detached", is_final=True)
            intent = await self._client.v1.payment_intents.create_async(
                {
                    "amount": charge.amount,
                    "currency": charge.currency.lower(),
                    "customer": _id_of(method.customer),
                    "payment_method": charge.method,
                    "confirm": True,
                    "off_session": True,
                    "metadata": {KEY: charge.key, "waybill_invoice": charge.invoice_id},
                },
                {"idempotency_key": charge.key},
            )
        except stripe.CardError as error:
            return _declined(error.error)
        except stripe.InvalidRequestError as error:
            if error.http_status == httpx.codes.NOT_FOUND or error.code == "resource_missing":
                return Declined("resource_missing", is_final=True)
            raise
        return _result(intent)

    async def look_up(self, charge: Charge) -> ChargeResult | None:
        method = await self._client.v1.payment_methods.retrieve_async(charge.method)
        recent: PaymentIntentListParams = {"limit": LOOKED_AT_MAX}
        if method.customer is not None:
            recent["customer"] = _id_of(method.customer)
        listed = await self._client.v1.payment_intents.list_async(recent)
        found = next((one for one in listed.data if one.to_dict()["metadata"].get(KEY) == charge.key), None)
        return None if found is None else _result(found)


def _is_signed(body: bytes, signature: str, secret: str) -> bool:
    try:
        stripe.WebhookSignature.verify_header(body.decode(), signature, secret, tolerance=SIGNATURE_SECONDS_MAX)
    except (stripe.SignatureVerificationError, UnicodeDecodeError):
        return False
    return True


def _result(intent: stripe.PaymentIntent) -> ChargeResult:
    match intent.status:
        case "succeeded":
            return Succeeded(intent.id)
        case "processing":
            return Unknown("processing")
        case "requires_action":
            # Nobody is there to confirm it: the person pays it, or gives another method.
            return Declined("authentication_required")
        case _:
            return _declined(intent.last_payment_error)


def _declined(error: Any) -> Declined:
    code = str(getattr(error, "decline_code", None) or getattr(error, "code", None) or "card_declined")
    return Declined(code, is_final=code in FINAL_CODES)


def _label(method: stripe.PaymentMethod) -> str:
    return f"{method.card.brand.capitalize()} •••• {method.card.last4}" if method.card else method.type


def _id_of(customer: Any) -> str:
    return customer if isinstance(customer, str) else str(customer.id)
