"""Composition root: everything that identity is made of, in the order in which it is made."""

from datetime import timedelta
from functools import partial

from fastapi import FastAPI

from identity import sessions
from identity.api import api_keys, api_settings, audit, locations, merchants, onboarding, permissions, staff, tenants
from identity.api import sessions as sessions_api
from identity.config import Settings
from identity.consumers import USAGE_EVENTS, on_usage
from identity.credentials import Locksmith
from identity.merchants import list_stranded
from identity.passwords import Attempts, Passwords
from identity.sessions import Sessions
from identity.signing_keys import Signer
from shared.chassis.parts import Part, periodically
from shared.chassis.settings import parse_keys
from shared.crypto.encryptor import Encryptor
from shared.events import access, billing
from shared.service.composition import Service

DESCRIPTION = "Tenants, people, merchants, locations, credentials, permissions, sessions and the audit trail."
PURGE_SECONDS = 300.0


def create_service(settings: Settings) -> Service:
    """The standing parts: database, outbox, access. What the API's app and the commands have in common."""
    return Service("identity", settings, description=DESCRIPTION, projects=(billing.TOPIC,))


def sealing_ring(settings: Settings) -> Encryptor:
    """What seals API Auth Keys and signing keys."""
    return Encryptor(parse_keys(settings.sealing_keys.get_secret_value()))


def create_app(settings: Settings) -> FastAPI:
    """Identity, ready to be served."""
    service = create_service(settings)
    service.subscribe(topic=access.TOPIC, group="identity.usage", read=USAGE_EVENTS.read, handle=on_usage)
    encryptor = sealing_ring(settings)
    locksmith = Locksmith(service.peppers, encryptor)
    signer = Signer(service.database, encryptor)
    passwords = Passwords(
        memory_kib=settings.argon2_memory_kib,
        time_cost=settings.argon2_time_cost,
        parallelism=settings.argon2_parallelism,
        at_once=settings.password_hashes_at_once,
        waiting_max=settings.password_hashes_waiting_max,
    )
    authenticator = Sessions(
        database=service.database,
        passwords=passwords,
        attempts=Attempts(
            account_per_minute=settings.account_attempts_per_minute,
            address_per_minute=settings.address_attempts_per_minute,
        ),
        signer=signer,
        token_life=timedelta(seconds=settings.session_seconds),
        session_life=timedelta(days=settings.refresh_days),
    )
    return service.app(
        routers=[
            onboarding.router(passwords),
            tenants.router(),
            sessions_api.router(authenticator),
            staff.router(passwords, staff_max=settings.staff_max),
            locations.router(locations_max=settings.locations_max, list_stranded_merchants=list_stranded),
            merchants.router(passwords, locksmith, merchants_max=settings.merchants_max),
            api_settings.router(authenticator, locksmith, overlap_seconds_default=settings.key_overlap_seconds_default),
            api_keys.router(service.peppers, api_keys_max=settings.api_keys_max),
            permissions.router(),
            audit.router(),
        ],
        parts=[
            Part("signing keys", signer.run, role="api"),
            Part(
                "session purge", periodically(partial(sessions.purge, service.database), PURGE_SECONDS), role="worker"
            ),
        ],
        ready=[signer.check] if "api" in settings.role_set else [],
    )
