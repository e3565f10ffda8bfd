"""A process that serves the application of `tests/harness/edge_app.py`, as services are served.

python -m tests.hostile.edge_service '{"database_url": …, "port": …}'
"""

import json
import sys

from shared.api.openapi import ApiDescription
from shared.chassis.server import serve
from shared.events import billing, identity
from shared.service.composition import Service
from shared.service.settings import ServiceSettings
from tests.harness.edge_app import router

if __name__ == "__main__":
    settings = ServiceSettings(**json.loads(sys.argv[1]))
    service = Service(
        "edge",
        settings,
        description=ApiDescription("An edge.", {"notes": "Notes."}),
        projects=(identity.TOPIC, billing.TOPIC),
    )
    serve(service.app(routers=[router()]), settings)
