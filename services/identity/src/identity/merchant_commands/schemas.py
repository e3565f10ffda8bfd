"""Bulk commands as the API takes and shows them."""

from typing import Annotated, Any, Literal

from pydantic import Field as ApiField

from identity import fields
from identity.merchants import BY_WORDS, MerchantLevel, MerchantStatus
from shared.api import Input
from shared.bulk import BulkView
from shared.fields.numbers import Flag
from shared.fields.text import OptionalReferenceId

BulkMerchantCommand = Literal["grant_api_access", "revoke_api_access"]


class MerchantsToChange(Input):
    """Which merchants: the filters of `GET /v1/merchants`. A merchant must match all conditions; without any, all merchants match."""

    level: Annotated[MerchantLevel | None, ApiField(description="Only merchants of this level.")] = None
    status: Annotated[MerchantStatus | None, ApiField(description="Only merchants in this status.")] = None
    api_access: Annotated[Flag | None, ApiField(description="Only with API access, or only without.")] = None
    reference_id: Annotated[OptionalReferenceId, ApiField(description="Only the one with this reference.")] = None
    q: Annotated[fields.SearchText, ApiField(description=BY_WORDS)] = None


class MerchantCommandIn(Input):
    """A command for all merchants that match."""

    command: BulkMerchantCommand = ApiField(
        description="Runs on each merchant as the route of one merchant does. It is refused where that refuses it."
    )
    filters: MerchantsToChange = ApiField(description="Which merchants it runs on.")
    dry_run: Flag = ApiField(False, description="Count what would be changed and refused, and change nothing.")


class MerchantCommand(BulkView):
    """A command for all merchants that match, and its progress. It runs in the background."""

    object: Literal["merchant_command"] = "merchant_command"
    command: BulkMerchantCommand = ApiField(description="What is run on each merchant.")
    filters: dict[str, Any] = ApiField(description="The filters that were given.", examples=[{"level": 2}])
