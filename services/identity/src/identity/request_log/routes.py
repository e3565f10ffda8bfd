"""Routes of the request log."""

from datetime import UTC, datetime
from typing import Annotated

from fastapi import Query

from identity import request_log
from identity.audit import ServiceName
from identity.request_log.schemas import FailedRequest, RequestCounts, RequestFilters, StatusClass
from shared.api import CurrentActor, Page, PageRequest, Reading, Router, authenticated
from shared.fields.text import QueryText
from shared.timestamps import Timestamp

TEXT_LENGTH_MAX = 100
HOURS_MAX = 168
HOURS_DEFAULT = 24

CredentialFilter = Annotated[
    QueryText, Query(max_length=TEXT_LENGTH_MAX, description="API Account ID, or id of an API key.")
]
ServiceFilter = Annotated[ServiceName | None, Query(description="The service that answered.")]


def router() -> Router:
    """The routes, for the app to include."""
    routes = Router(tags=["request log"])

    @routes.get("/v1/request-log")
    @authenticated(merchant_session=True)
    async def list_failed_requests(
        session: Reading,
        actor: CurrentActor,
        paging: PageRequest,
        credential_id: CredentialFilter = None,
        service: ServiceFilter = None,
        status_class: Annotated[StatusClass | None, Query(description="Status 400 to 499, or 500 to 599.")] = None,
        code: Annotated[QueryText, Query(max_length=TEXT_LENGTH_MAX, description="Code of the problem.")] = None,
        created_at_gte: Annotated[Timestamp | None, Query(description="At or after this instant.")] = None,
        created_at_lte: Annotated[Timestamp | None, Query(description="At or before this instant.")] = None,
    ) -> Page[FailedRequest]:
        """List the requests with credentials that failed in the last days, in all services, newest first.

        Everybody sees those of their own credentials. With `settings.merchants.read` those of all merchants are seen, too; with
        `settings.audit.read` all of the tenant. They come some seconds late. Requests with wrong credentials belong to nobody and are
        not listed; neither are further ones of a credential that fails thousands of times in an hour: those are only counted.
        """
        filters = RequestFilters(credential_id, service, status_class, code, created_at_gte, created_at_lte)
        return await request_log.list_failed(session, actor, filters, paging)

    @routes.get("/v1/request-log/counts")
    @authenticated(merchant_session=True)
    async def count_requests(
        session: Reading,
        actor: CurrentActor,
        credential_id: CredentialFilter = None,
        service: ServiceFilter = None,
        hours: Annotated[
            int, Query(ge=1, le=HOURS_MAX, description="How many hours, the present one included.", examples=[24])
        ] = HOURS_DEFAULT,
    ) -> RequestCounts:
        """Count the requests with credentials, and those that failed, by the hour.

        Whose requests are counted is as for the list. The counts come about a minute late.
        """
        return await request_log.count_by_hour(
            session, actor, datetime.now(UTC), credential_id=credential_id, service=service, hours=hours
        )

    return routes
