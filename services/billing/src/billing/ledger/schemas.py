"""The ledger in the API."""

from datetime import datetime
from typing import Literal
from uuid import UUID

from pydantic import BaseModel
from pydantic import Field as ApiField

from billing.ledger.rules import Account, Cause


class LedgerEntry(BaseModel):
    """One side of a posting: the entries of a posting add up to zero."""

    object: Literal["ledger_entry"] = "ledger_entry"
    posting_id: UUID = ApiField(
        description="The posting that it is part of.", examples=["3f0e1d2c-5b6a-4798-8f0e-1d2c3b4a5968"]
    )
    cause: Cause = ApiField(description="What happened.", examples=["invoice_paid"])
    account: Account = ApiField(description="The account.", examples=["cash"])
    currency: str
    amount: int = ApiField(
        description="In the currency's minor unit: a debit is positive, a credit negative.", examples=[5145]
    )
    document: str = ApiField(
        description="Id of the invoice, credit note or charge that says so.",
        examples=["inv_01h455vb4pex5vsknk084sn02q"],
    )
    at: datetime = ApiField(description="When, by the tenant's clock.")
