"""`python -m jobs serve | migrate | tasks | openapi | asyncapi`."""

from jobs.app import create_app
from jobs.config import Settings
from shared.events import billing, identity, jobs
from shared.service.command_line import main

_PURPOSE = "Who may do what: projected into own tables, so that no service is called to authorize a request."

if __name__ == "__main__":
    main(
        "jobs",
        Settings,
        create_app,
        publishes=jobs.EVENTS,
        consumes={identity.TOPIC: _PURPOSE, billing.TOPIC: _PURPOSE},
    )
