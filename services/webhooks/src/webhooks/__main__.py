"""`python -m webhooks serve | migrate | openapi | asyncapi`."""

from shared.events import billing, identity, jobs, webhooks
from shared.service.command_line import main
from webhooks.app import create_app
from webhooks.config import Settings

_ACCESS = "Who may do what, and which locations a tenant has: projected into tables of its own."

if __name__ == "__main__":
    main(
        "webhooks",
        Settings,
        create_app,
        publishes=webhooks.EVENTS,
        consumes={
            identity.TOPIC: _ACCESS,
            billing.TOPIC: _ACCESS,
            jobs.TOPIC: "Fanned out to the endpoints that subscribed: stored, matched, delivered.",
        },
    )
