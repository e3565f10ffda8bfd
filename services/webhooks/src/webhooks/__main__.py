"""`python -m webhooks serve | migrate | tasks | openapi | asyncapi`."""

from shared.events import billing, identity, jobs, webhooks
from shared.service.command_line import main
from webhooks.app import create_app
from webhooks.config import Settings

_ACCESS = "Projected into tables of its own: who may do what, and which locations a tenant has."

if __name__ == "__main__":
    main(
        "webhooks",
        Settings,
        create_app,
        publishes=webhooks.EVENTS,
        consumes={
            identity.TOPIC: _ACCESS,
            billing.TOPIC: _ACCESS,
            jobs.TOPIC: "Stored, matched and delivered to the endpoints that subscribed.",
        },
    )
