"""`python -m billing serve | migrate | tasks | openapi | asyncapi`."""

from billing.app import create_app
from billing.config import Settings
from shared.events import billing, identity
from shared.service.command_line import main

if __name__ == "__main__":
    main(
        "billing",
        Settings,
        create_app,
        publishes=billing.EVENTS,
        consumes={identity.TOPIC: "Starts the trial of a new tenant; stores who may call billing."},
    )
