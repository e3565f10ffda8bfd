"""Composition root: everything that the jobs service is made of."""

from fastapi import FastAPI

from jobs import api
from jobs.config import Settings
from shared.events import billing, identity
from shared.service import Service

DESCRIPTION = "Jobs and their actions. A merchant's key opens the routes that name `merchantPair`, on the merchant's own rows alone."


def create_app(settings: Settings) -> FastAPI:
    """The service in this process's roles."""
    service = Service("jobs", settings, description=DESCRIPTION, projects=(identity.TOPIC, billing.TOPIC))
    return service.app(routers=[api.router(service.access)])
