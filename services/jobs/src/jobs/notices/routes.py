"""HTTP route of live notices."""

from collections.abc import AsyncIterator

from fastapi import Response

from jobs.notices.operations import IMPORTS, JOBS
from shared.api import CurrentCaller, Router, requires
from shared.api.event_streams import KEEP_ALIVE, EventStreamOnly, EventStreams, event_stream_of, format_event
from shared.live import Changes

_EXAMPLE = b"".join(
    (
        format_event("changed", {"object": "notice", "names": [], "everything": True}),
        format_event(
            "changed", {"object": "notice", "names": ["jobs/job_01h455vb4pex5vsknk084sn02q"], "everything": False}
        ),
    )
)


def router(streams: EventStreams) -> Router:
    """The route of `streams`, which bounds how many are open."""
    routes = Router(tags=["notices"])

    @routes.get(
        "/v1/job-notices",
        response_class=Response,
        responses={200: event_stream_of("The stream of notices.", _EXAMPLE)},
        dependencies=[EventStreamOnly],
    )
    @requires("orders.jobs.read", api_credentials=True, merchant_session=True)
    async def stream_job_notices(caller: CurrentCaller) -> Response:
        """Hear which jobs and imports change.

        The answer is a stream of events (`text/event-stream`), which `Accept` must name. Each event is called `changed` and has the names
        of the records that you may see and that have changed since the last one, at most four times a second: `jobs/job_…` or
        `job-imports/imp_…`. If many have changed, it has `jobs` or `job-imports` alone; if `everything` is true, as in the first event, any
        may have. A notice has nothing of a record: read it again. Use it to keep a page up to date; for a record of all that happens
        there are webhooks. The stream ends after at most five minutes: connect again.
        """
        return streams.begin(caller, {JOBS, IMPORTS}, _events)

    return routes


async def _events(changes: AsyncIterator[Changes]) -> AsyncIterator[bytes]:
    async for change in changes:
        if change:
            names = sorted(change.names)
            yield format_event("changed", {"object": "notice", "names": names, "everything": change.everything})
        else:
            yield KEEP_ALIVE
