"""Routes of webhook endpoints, their secrets, tests and statistics."""

from datetime import UTC, datetime
from typing import Annotated

from fastapi import Query, Response

from shared.api import (
    CurrentActor,
    CurrentCaller,
    IdempotencyClaim,
    IfMatch,
    Page,
    PageRequest,
    Reading,
    Router,
    Transaction,
    requires,
)
from shared.fields.merge_patch import merge_patch_body
from shared.fields.numbers import QueryFlag
from shared.ids import EndpointId
from shared.timestamps import Timestamp
from webhooks import endpoints, replays
from webhooks.deliveries import EndpointTester, EndpointTestResult
from webhooks.endpoints import stats
from webhooks.endpoints.rules import READ, WRITE
from webhooks.endpoints.schemas import (
    Endpoint,
    EndpointCreated,
    EndpointEnabled,
    EndpointIn,
    EndpointPatch,
    EndpointPublicKey,
    EndpointSecret,
    EndpointStats,
    RotationIn,
)
from webhooks.endpoints.secrets import EndpointPolicy
from webhooks.replays import ReplayLimits


def router(policy: EndpointPolicy, limits: ReplayLimits, tester: EndpointTester) -> Router:
    """The routes."""
    routes = Router(tags=["webhook endpoints"])
    _add_endpoints(routes, policy)
    _add_commands(routes, policy, limits)
    _add_secrets(routes, policy)
    _add_tests_and_statistics(routes, tester)
    return routes


def _add_endpoints(routes: Router, policy: EndpointPolicy) -> None:
    @routes.get("/v1/webhook-endpoints")
    @requires(READ)
    async def list_webhook_endpoints(session: Reading, caller: CurrentCaller, paging: PageRequest) -> Page[Endpoint]:
        """List webhook endpoints, newest first."""
        return await endpoints.list_endpoints(session, policy, caller, paging)

    @routes.post("/v1/webhook-endpoints", status_code=201)
    @requires(WRITE)
    async def create_webhook_endpoint(wanted: EndpointIn, session: Transaction, actor: CurrentActor) -> EndpointCreated:
        """Create a webhook endpoint; the response has its secret."""
        return await endpoints.create(session, policy, actor, wanted, datetime.now(UTC))

    @routes.get("/v1/webhook-endpoints/{endpoint_id}")
    @requires(READ)
    async def get_webhook_endpoint(endpoint_id: EndpointId, session: Reading, caller: CurrentCaller) -> Endpoint:
        """Read a webhook endpoint."""
        return await endpoints.get(session, policy, caller, endpoint_id)

    @routes.patch("/v1/webhook-endpoints/{endpoint_id}", openapi_extra=merge_patch_body("EndpointPatch"))
    @requires(WRITE)
    async def update_webhook_endpoint(
        endpoint_id: EndpointId, wanted: EndpointPatch, session: Transaction, actor: CurrentActor, if_match: IfMatch
    ) -> Endpoint:
        """Update a webhook endpoint; fields that are left out stay as they are."""
        return await endpoints.update(session, policy, actor, endpoint_id, if_match, wanted, datetime.now(UTC))

    @routes.delete("/v1/webhook-endpoints/{endpoint_id}", status_code=204)
    @requires(WRITE)
    async def delete_webhook_endpoint(
        endpoint_id: EndpointId, session: Transaction, actor: CurrentActor, if_match: IfMatch
    ) -> None:
        """Delete a webhook endpoint; its pending deliveries are given up."""
        await endpoints.delete(session, actor, endpoint_id, if_match, datetime.now(UTC))


def _add_commands(routes: Router, policy: EndpointPolicy, limits: ReplayLimits) -> None:
    @routes.post("/v1/webhook-endpoints/{endpoint_id}/enable")
    @requires(WRITE)
    async def enable_webhook_endpoint(
        endpoint_id: EndpointId,
        session: Transaction,
        actor: CurrentActor,
        replay_missed: Annotated[
            QueryFlag,
            Query(
                description="Whether events that it missed while disabled are sent as well, as a replay; needs `settings.webhooks.replay`."
            ),
        ] = False,
    ) -> EndpointEnabled:
        """Enable a webhook endpoint."""
        return await replays.enable_endpoint(
            session, policy, limits, actor, endpoint_id, with_missed=replay_missed, now=datetime.now(UTC)
        )

    @routes.post("/v1/webhook-endpoints/{endpoint_id}/disable")
    @requires(WRITE)
    async def disable_webhook_endpoint(endpoint_id: EndpointId, session: Transaction, actor: CurrentActor) -> Endpoint:
        """Disable a webhook endpoint: it gets no new deliveries, and pending ones are given up when they are due."""
        return await endpoints.disable(session, policy, actor, endpoint_id, datetime.now(UTC))


def _add_secrets(routes: Router, policy: EndpointPolicy) -> None:
    @routes.get("/v1/webhook-endpoints/{endpoint_id}/secret")
    @requires(WRITE, step_up=True)
    async def get_webhook_endpoint_secret(
        endpoint_id: EndpointId, session: Transaction, actor: CurrentActor
    ) -> EndpointSecret:
        """Read an endpoint's signing secret; the audit trail says who did."""
        return await endpoints.reveal_secret(session, policy.encryptor, actor, endpoint_id, datetime.now(UTC))

    @routes.post("/v1/webhook-endpoints/{endpoint_id}/rotate-secret")
    @requires(WRITE, step_up=True)
    async def rotate_webhook_endpoint_secret(
        endpoint_id: EndpointId, wanted: RotationIn, session: Transaction, actor: CurrentActor, if_match: IfMatch
    ) -> EndpointSecret:
        """Replace an endpoint's signing secret; for a while requests are signed with both secrets.

        The response has the new secret and is never stored: the same request sent again, even with the same Idempotency-Key, makes another.
        """
        return await endpoints.rotate_secret(
            session,
            policy.encryptor,
            actor,
            endpoint_id,
            if_match,
            overlap_seconds=wanted.overlap_seconds,
            now=datetime.now(UTC),
        )

    @routes.post("/v1/webhook-endpoints/{endpoint_id}/end-secret-overlap")
    @requires(WRITE, step_up=True)
    async def end_webhook_endpoint_secret_overlap(
        endpoint_id: EndpointId, session: Transaction, actor: CurrentActor, if_match: IfMatch
    ) -> Endpoint:
        """Stop signing with the former secret before its overlap ends; a receiver that still verifies with it refuses from now on."""
        return await endpoints.end_secret_overlap(session, policy, actor, endpoint_id, if_match, datetime.now(UTC))

    @routes.get("/v1/webhook-endpoints/{endpoint_id}/public-key")
    @requires(READ)
    async def get_webhook_endpoint_public_key(
        endpoint_id: EndpointId, session: Reading, caller: CurrentCaller
    ) -> EndpointPublicKey:
        """Read the public key of an endpoint's `v1a` signatures; 404 unless it has `sign_v1a`."""
        return await endpoints.get_public_key(session, policy.encryptor, caller, endpoint_id)


def _add_tests_and_statistics(routes: Router, tester: EndpointTester) -> None:
    @routes.post("/v1/webhook-endpoints/{endpoint_id}/test", response_model=EndpointTestResult)
    @requires(WRITE)
    async def test_webhook_endpoint(
        endpoint_id: EndpointId, caller: CurrentCaller, claim: IdempotencyClaim
    ) -> Response:
        """Send a `webhook.test` event at once, also to a disabled endpoint, and respond with the result.

        The event is neither stored nor retried.
        """
        return await tester.test(caller, endpoint_id, claim, datetime.now(UTC))

    @routes.get("/v1/webhook-endpoints/{endpoint_id}/stats")
    @requires(READ)
    async def get_webhook_endpoint_stats(
        endpoint_id: EndpointId,
        session: Reading,
        caller: CurrentCaller,
        since: Annotated[
            Timestamp | None,
            Query(description="Only events at or after this instant; by default 24 buckets before `until`."),
        ] = None,
        until: Annotated[
            Timestamp | None, Query(description="Only events before this instant; by default now.")
        ] = None,
        bucket_seconds: Annotated[
            int,
            Query(
                ge=stats.BUCKET_SECONDS_MIN,
                le=stats.BUCKET_SECONDS_MAX,
                description=f"Length of a bucket; at most {stats.BUCKETS_MAX} of them.",
            ),
        ] = 3600,
    ) -> EndpointStats:
        """Read statistics of an endpoint: deliveries by status, causes of failures and latencies, for each bucket of time."""
        return await stats.get_stats(
            session,
            caller,
            endpoint_id,
            since=since,
            until=until,
            bucket_seconds=bucket_seconds,
            now=datetime.now(UTC),
        )
