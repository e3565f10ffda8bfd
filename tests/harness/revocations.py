"""What ends somebody's access, and the receipt of it: since when each replica of each service refuses."""

from typing import Any

import httpx

from tests.harness.client import Api
from tests.harness.people import Merchant, Tenant
from tests.harness.waiting import eventually


async def end_api_access(tenant: Tenant, merchant: Merchant) -> tuple[Api, httpx.Response]:
    return tenant.owner, await tenant.owner.delete(f"/v1/merchants/{merchant.id}/api-access")


async def receipt(caller: Api, answer: httpx.Response) -> dict[str, Any]:
    return await caller.read(f"/v1/revocations/{answer.headers['Revocation-Id']}")


async def complete(caller: Api, answer: httpx.Response) -> dict[str, Any]:
    """The receipt, once every service refuses."""

    async def found() -> dict[str, Any] | None:
        now = await receipt(caller, answer)
        return now if now["complete"] else None

    return await eventually(found, what="every service has applied the revocation")
