"""`python -m jobs serve | migrate | tasks | openapi | asyncapi`."""

from jobs.app import create_app
from jobs.config import Settings
from jobs.reference_data.consumer import TENANT_EVENTS
from shared.events import billing, identity, jobs
from shared.messaging.groups import ConsumerGroup
from shared.service.access_groups import access_groups
from shared.service.command_line import main

if __name__ == "__main__":
    main(
        "jobs",
        Settings,
        create_app,
        publishes=jobs.EVENTS,
        consumes=[
            *access_groups("jobs", identity.TOPIC, billing.TOPIC),
            ConsumerGroup(
                "jobs.tenants", identity.TOPIC, TENANT_EVENTS.types.values(), "Stores the settings of each tenant."
            ),
        ],
    )
