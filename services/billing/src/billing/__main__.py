"""`python -m billing serve | migrate | tasks | openapi | asyncapi`."""

from billing.app import create_app
from billing.config import Settings
from billing.subscriptions.consumer import IDENTITY_EVENTS
from shared.events import billing, identity
from shared.messaging.groups import ConsumerGroup
from shared.service.access_groups import access_groups
from shared.service.command_line import main

if __name__ == "__main__":
    main(
        "billing",
        Settings,
        create_app,
        publishes=billing.EVENTS,
        consumes=[
            *access_groups("billing", identity.TOPIC),
            ConsumerGroup(
                "billing.trials", identity.TOPIC, IDENTITY_EVENTS.types.values(), "Starts the trial of a new tenant."
            ),
        ],
    )
