"""Column types of ids: one for each kind that has a column."""

from typing import Annotated

from sqlalchemy.dialects.postgresql import ARRAY
from sqlmodel import Field

from shared.postgres.column_types import TypedId

AccountId = Annotated[str, Field(sa_type=TypedId("acct"))]
ActionId = Annotated[str, Field(sa_type=TypedId("act"))]
ApiKeyId = Annotated[str, Field(sa_type=TypedId("key"))]
AuditEventId = Annotated[str, Field(sa_type=TypedId("aud"))]
BulkCommandId = Annotated[str, Field(sa_type=TypedId("blk"))]
ChargeId = Annotated[str, Field(sa_type=TypedId("cha"))]
CreditNoteId = Annotated[str, Field(sa_type=TypedId("crn"))]
CheckoutSessionId = Annotated[str, Field(sa_type=TypedId("chk"))]
EndpointId = Annotated[str, Field(sa_type=TypedId("ep"))]
EventId = Annotated[str, Field(sa_type=TypedId("evt"))]
FailedRequestId = Annotated[str, Field(sa_type=TypedId("frq"))]
ImportId = Annotated[str, Field(sa_type=TypedId("imp"))]
InvoiceId = Annotated[str, Field(sa_type=TypedId("inv"))]
InvitationId = Annotated[str, Field(sa_type=TypedId("ivt"))]
JobId = Annotated[str, Field(sa_type=TypedId("job"))]
LocationId = Annotated[str, Field(sa_type=TypedId("loc"))]
MerchantId = Annotated[str, Field(sa_type=TypedId("mer"))]
PaymentMethodId = Annotated[str, Field(sa_type=TypedId("pm"))]
ReplayId = Annotated[str, Field(sa_type=TypedId("rpl"))]
RevocationId = Annotated[str, Field(sa_type=TypedId("rev"))]
SessionId = Annotated[str, Field(sa_type=TypedId("ses"))]
SubscriptionId = Annotated[str, Field(sa_type=TypedId("sub"))]
TenantId = Annotated[str, Field(sa_type=TypedId("ten"))]
UserId = Annotated[str, Field(sa_type=TypedId("usr"))]

LocationIdArray = Annotated[list[str], Field(sa_type=ARRAY(TypedId("loc")))]
