"""`python -m webhooks serve | migrate | tasks | openapi | asyncapi`."""

from shared.events import billing, identity, jobs, webhooks
from shared.messaging.groups import ConsumerGroup
from shared.service.access_groups import access_groups
from shared.service.command_line import main
from webhooks.app import create_app
from webhooks.config import Settings
from webhooks.events.consumer import CONSUMER_GROUP

if __name__ == "__main__":
    main(
        "webhooks",
        Settings,
        create_app,
        publishes=webhooks.EVENTS,
        consumes=[
            *access_groups("webhooks", identity.TOPIC, billing.TOPIC),
            ConsumerGroup(
                CONSUMER_GROUP,
                jobs.TOPIC,
                jobs.EVENTS,
                "Stores each event, matches it, and delivers it to the endpoints that subscribed.",
            ),
        ],
    )
