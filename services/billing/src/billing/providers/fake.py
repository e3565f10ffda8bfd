"""A provider for trying things out: a server that takes no money and does as it is told (`deploy.devstack.payments`)."""

import hashlib
import hmac
import json
import time
from collections.abc import Mapping

import httpx

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
SIGNATURE = "fake-signature"
SIGNATURE_SECONDS_MAX = 300
"""Older notifications are refused: somebody may have kept them."""


class FakeProvider:
    """The client of that server. Each call has a connection of its own: they are few."""

    name = "fake"

    def __init__(self, url: str, secret: str = ""):
        self._url = url
        self._secret = secret

    async def open_setup(self, setup: Setup) -> HostedPage:
        opened = await self._call("POST", "/setups", {"key": setup.key, "return_url": setup.return_url})
        return HostedPage(opened["reference"], opened["url"])

    async def look_up_setup(self, reference: str) -> SetupResult:
        found = await self._call("GET", f"/setups/{reference}")
        match found["status"]:
            case "complete":
                return MethodGiven(found["method"], found["label"])
            case "open":
                return SetupOpen()
            case _:
                return SetupEnded()

    async def charge(self, charge: Charge) -> ChargeResult:
        order = {
            "key": charge.key,
            "method": charge.method,
            "amount": charge.amount,
            "currency": charge.currency,
        }
        return _result(await self._call("POST", "/charges", order))

    async def look_up(self, charge: Charge) -> ChargeResult | None:
        try:
            return _result(await self._call("GET", f"/charges/{charge.key}"))
        except httpx.HTTPStatusError as error:
            if error.response.status_code == httpx.codes.NOT_FOUND:
                return None
            raise

    def read_notification(self, body: bytes, headers: Mapping[str, str]) -> Told:
        if not self._secret or not _is_signed(body, headers.get(SIGNATURE, ""), self._secret):
            raise NotificationRefused
        try:
            changed = json.loads(body)
            return Told(setup=changed.get("setup"), charge=changed.get("charge"))
        except (ValueError, AttributeError) as error:
            raise NotificationRefused from error

    async def close(self) -> None:
        """Nothing is left open."""

    async def _call(self, method: str, path: str, body: dict[str, object] | None = None) -> dict[str, str]:
        async with httpx.AsyncClient(base_url=self._url, timeout=CALL_SECONDS, trust_env=False) as client:
            answer = await client.request(method, path, json=body)
        answer.raise_for_status()
        found: dict[str, str] = answer.json()
        return found


def _is_signed(body: bytes, signature: str, secret: str) -> bool:
    told, _, digest = signature.partition(",v1=")
    seconds = told.removeprefix("t=")
    if not seconds.isdecimal() or abs(time.time() - int(seconds)) > SIGNATURE_SECONDS_MAX:
        return False
    expected = hmac.new(secret.encode(), f"{seconds}.".encode() + body, hashlib.sha256).hexdigest()
    return hmac.compare_digest(expected.encode(), digest.encode())


def _result(found: dict[str, str]) -> ChargeResult:
    match found["status"]:
        case "succeeded":
            return Succeeded(found["reference"])
        case "declined":
            return Declined(found["code"], is_final=bool(found["is_final"]))
        case status:
            return Unknown(status)
