"""Event types that an endpoint subscribes to."""

import pytest

from webhooks.endpoints import rules as endpoints_rules


@pytest.mark.parametrize(
    ("patterns", "wanted", "unwanted"),
    [
        (["*"], ["job.created", "endpoint.disabled"], []),
        (["job.*"], ["job.created", "job.status.changed"], ["jobs.created", "job", "endpoint.created"]),
        (["job.created"], ["job.created"], ["job.created.again", "job.creat"]),
        (["job.created", "endpoint.*"], ["job.created", "endpoint.updated"], ["job.updated"]),
    ],
)
def test_event_types_match_exactly_by_prefix_or_all(
    patterns: list[str], wanted: list[str], unwanted: list[str]
) -> None:
    assert all(endpoints_rules.wants_type(patterns, event_type) for event_type in wanted)
    assert not any(endpoints_rules.wants_type(patterns, event_type) for event_type in unwanted)


@pytest.mark.parametrize(
    "pattern", ["", "Job.created", "job.", "job.*.x", "*.created", "job*", "job created", "j" * 101]
)
def test_what_is_no_pattern_is_refused(pattern: str) -> None:
    assert not endpoints_rules.is_pattern(pattern)
