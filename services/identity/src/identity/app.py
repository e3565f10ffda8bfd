"""Composition root: the parts of identity, in the order in which they are created."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Literal

import structlog
from fastapi import FastAPI

from identity import mail
from identity.api_credentials import routes as api_credentials_routes
from identity.api_keys import routes as api_keys_routes
from identity.api_keys.schemas import ApiKeyStatus
from identity.audit import AuditExports, store_own_events
from identity.audit import routes as audit_routes
from identity.audit import worker as audit_worker
from identity.audit.consumer import AUDIT_EVENTS, on_audit_events
from identity.audit.schemas import ActorKind, ActorVia, ServiceName
from identity.authentication import Authenticator
from identity.authentication import routes as authentication_routes
from identity.authentication.schemas import PersonKind
from identity.closure import routes as closure_routes
from identity.closure import worker as closure_worker
from identity.config import Settings, sender_address
from identity.directory import routes as directory_routes
from identity.email_changes import routes as email_changes_routes
from identity.invitations import routes as invitations_routes
from identity.invitations.rules import InvitationStatus
from identity.key_renewal.worker import UsedKeys
from identity.last_used.consumer import ACCESS_EVENTS, on_access_events
from identity.locations import routes as locations_routes
from identity.locations.schemas import LocationType
from identity.logins import Attempts, Passwords
from identity.mail.connections import MailConnections, MailServer
from identity.mail.rendering import Layouts
from identity.mail.worker import MailSender
from identity.merchant_commands import operations as merchant_commands_operations
from identity.merchant_commands import routes as merchant_commands_routes
from identity.merchant_commands.schemas import BulkMerchantCommand
from identity.merchants import CredentialIssuer, list_stranded
from identity.merchants import routes as merchants_routes
from identity.merchants.schemas import MerchantStatus
from identity.notices import worker as notices_worker
from identity.notices.consumer import BILLING_EVENTS, WEBHOOKS_EVENTS, on_events
from identity.onboarding import routes as onboarding_routes
from identity.ownership import routes as ownership_routes
from identity.password_resets import routes as password_resets_routes
from identity.password_resets import worker as password_resets_worker
from identity.permissions import routes as permissions_routes
from identity.permissions.schemas import GranterKind, HeldBy, PermissionRelevance
from identity.request_log import routes as request_log_routes
from identity.request_log import worker as request_log_worker
from identity.request_log.schemas import StatusClass
from identity.revocations import routes as revocations_routes
from identity.revocations import store_own as store_own_revocation
from identity.revocations import worker as revocations_worker
from identity.revocations.consumer import REPORTS, on_reports
from identity.revocations.rules import ReplicaState
from identity.search_filling import worker as search_filling_worker
from identity.second_factors import routes as second_factors_routes
from identity.sessions import worker as sessions_worker
from identity.signing_keys import Signer
from identity.tenant_settings import routes as tenant_settings_routes
from identity.tenant_settings.rules import SessionLimits
from identity.tenants import RevealMode, SecondFactor
from identity.tenants import routes as tenants_routes
from identity.tenants.schemas import TenantStatus
from identity.users import routes as users_routes
from identity.users.schemas import UserKind, UserStatus
from shared.access.signing_roots import SigningRoot
from shared.api import Router
from shared.api.openapi import ApiDescription, read_glossary
from shared.bulk import PURGE_SECONDS, BulkStatus, BulkWorker
from shared.chassis.health import named
from shared.chassis.parts import Part, periodically
from shared.chassis.settings import parse_keys, secret_bytes
from shared.crypto.encryptor import Encryptor
from shared.events import access, audit, billing, receipts, webhooks
from shared.service.composition import Service
from shared.tasks import TaskKind

log = structlog.get_logger(__name__)

DESCRIPTION = ApiDescription(
    "Tenants, users, merchants, locations, credentials, permissions, sessions and the audit trail.",
    tags={
        "tenants": "Delivery companies.",
        "sessions": "Log-ins, passwords and second factors.",
        "invitations": "People who were invited and have no password yet.",
        "staff": "People who work for a tenant, and what they may do.",
        "merchants": "Customers of a tenant, and their API access.",
        "API settings": "A merchant's API credentials.",
        "API keys": "Keys of users, and the catalogue of permissions.",
        "revocations": "Receipts: since when each service refuses what was revoked.",
        "locations": "Branches and warehouses of a tenant.",
        "request log": "Requests with credentials in all services: those that failed, and how many there were.",
        "directory": "Names of merchants and locations, for those who work with jobs.",
        "audit": "Who did what, in all services.",
    },
    enums={
        "UserStatus": UserStatus,
        "UserKind": UserKind,
        "PersonKind": PersonKind,
        "AccountStatus": MerchantStatus,
        "InvitationStatus": InvitationStatus,
        "TenantStatus": TenantStatus,
        "RevealMode": RevealMode,
        "SecondFactor": SecondFactor,
        "LocationType": LocationType,
        "MerchantLevel": Literal[1, 2],
        "BulkMerchantCommand": BulkMerchantCommand,
        "BulkStatus": BulkStatus,
        "ApiKeyStatus": ApiKeyStatus,
        "PermissionRelevance": PermissionRelevance,
        "HeldBy": HeldBy,
        "GranterKind": GranterKind,
        "ServiceName": ServiceName,
        "ReplicaState": ReplicaState,
        "StatusClass": StatusClass,
        "ActorKind": ActorKind,
        "ActorVia": ActorVia,
        "Language": mail.Language,
    },
    glossary=read_glossary("identity"),
)


def create_service(settings: Settings) -> Service:
    """Database, outbox and access projection: what the app and the commands need."""
    service = Service("identity", settings, description=DESCRIPTION, projects=(billing.TOPIC,))
    # Before the outbox takes the events of the transaction.
    service.database.before_commit[:0] = [store_own_events, store_own_revocation]
    return service


def create_encryptor(settings: Settings) -> Encryptor:
    """Encrypts and decrypts API Auth Keys and signing keys."""
    return Encryptor(parse_keys(settings.sealing_keys.get_secret_value()))


def create_root(settings: Settings) -> SigningRoot:
    """Proves the signing keys."""
    return SigningRoot(secret_bytes(settings.signing_root_key))


@dataclass(frozen=True, slots=True)
class Mails:
    """What sends mail: kinds of tasks, and parts of the process."""

    kinds: Sequence[TaskKind]
    parts: Sequence[Part]


def create_mails(service: Service, settings: Settings, encryptor: Encryptor) -> Mails:
    """Let operations send mail, and what does it; nothing where no mail server is configured."""
    if settings.smtp_url is None:
        return Mails([], [Part("mail", mail_off, role="api")])
    assert settings.console_base_url is not None
    mailer = mail.Mailer(encryptor)
    mail.attach(service.database, mailer)
    sender = MailSender(
        service.database,
        mailer,
        Layouts(sender=sender_address(settings.mail_sender)),
        MailConnections(
            MailServer.from_url(settings.smtp_url.get_secret_value()), connections_max=settings.smtp_connections_max
        ),
        service.metrics,
        language=settings.mail_language,
        console_base_url=settings.console_base_url,
    )
    return Mails(
        sender.task_kinds(connections_max=settings.smtp_connections_max),
        [
            Part("mail connections", sender.run, role="worker"),
            Part(
                "notice purge",
                periodically(
                    partial(notices_worker.purge_mailed_events, service.database), notices_worker.PURGE_SECONDS
                ),
                role="worker",
            ),
        ],
    )


async def mail_off() -> None:
    """Say at the start that there is no mail server."""
    log.warning("mail_off", what="no IDENTITY_SMTP_URL: nobody gets mail, and answers have the tokens of invitations")
    await asyncio.Event().wait()


def create_authenticator(service: Service, settings: Settings, encryptor: Encryptor, signer: Signer) -> Authenticator:
    """Checks passwords and codes, and issues sessions."""
    passwords = Passwords(
        memory_kib=settings.argon2_memory_kib,
        time_cost=settings.argon2_time_cost,
        parallelism=settings.argon2_parallelism,
        at_once=settings.password_hashes_at_once,
        waiting_max=settings.password_hashes_waiting_max,
    )
    return Authenticator(
        database=service.database,
        passwords=passwords,
        attempts=Attempts(
            account_per_minute=settings.account_attempts_per_minute,
            account_total_per_minute=settings.account_total_attempts_per_minute,
            address_per_minute=settings.address_attempts_per_minute,
        ),
        signer=signer,
        encryptor=encryptor,
        token_life=timedelta(seconds=settings.session_seconds),
        session_life=timedelta(days=settings.refresh_days),
    )


def create_routers(
    service: Service, settings: Settings, authenticator: Authenticator, issuer: CredentialIssuer
) -> list[Router]:
    """The routes of identity."""
    passwords = authenticator.passwords
    audit_exports = AuditExports(
        service.database,
        service.access,
        at_once_max=settings.audit_exports_max,
        per_tenant_max=settings.audit_exports_per_tenant_max,
    )
    return [
        onboarding_routes.router(passwords),
        tenants_routes.router(),
        closure_routes.router(kept_days=settings.closed_tenant_days),
        tenant_settings_routes.router(
            SessionLimits(token_seconds=settings.session_seconds, days=settings.refresh_days)
        ),
        ownership_routes.router(authenticator),
        authentication_routes.router(authenticator),
        second_factors_routes.router(authenticator),
        invitations_routes.router(authenticator),
        password_resets_routes.router(authenticator),
        email_changes_routes.router(authenticator),
        users_routes.router(passwords, staff_max=settings.staff_max),
        locations_routes.router(locations_max=settings.locations_max, list_stranded_merchants=list_stranded),
        merchants_routes.router(passwords, issuer, merchants_max=settings.merchants_max),
        merchant_commands_routes.router(merchant_commands_operations.bulk_of(issuer)),
        api_credentials_routes.router(
            authenticator, issuer, overlap_seconds_default=settings.key_overlap_seconds_default
        ),
        api_keys_routes.router(service.peppers, api_keys_max=settings.api_keys_max),
        directory_routes.router(),
        permissions_routes.router(service.peppers),
        audit_routes.router(audit_exports),
        request_log_routes.router(),
        revocations_routes.router(max_staleness_seconds=settings.access_max_staleness_seconds),
    ]


def create_app(settings: Settings) -> FastAPI:
    """Identity in the roles of this process."""
    service = create_service(settings)
    service.subscribe(topic=access.TOPIC, group="identity.usage", read=ACCESS_EVENTS.read, handle=on_access_events)
    service.subscribe(topic=audit.TOPIC, group="identity.audit", read=AUDIT_EVENTS.read, handle=on_audit_events)
    service.subscribe(topic=billing.TOPIC, group="identity.notices", read=BILLING_EVENTS.read, handle=on_events)
    service.subscribe(topic=webhooks.TOPIC, group="identity.notices", read=WEBHOOKS_EVENTS.read, handle=on_events)
    service.subscribe(
        topic=receipts.TOPIC, group="identity.receipts", read=REPORTS.read, handle=on_reports(service.metrics)
    )
    encryptor = create_encryptor(settings)
    mails = create_mails(service, settings, encryptor)
    issuer = CredentialIssuer(service.peppers, encryptor)
    commanding = BulkWorker(service.database, service.access, merchant_commands_operations.bulk_of(issuer))
    used_keys = UsedKeys(service.database, service.peppers)
    service.access.on_older_digest = used_keys.note
    signer = Signer(service.database, encryptor, create_root(settings))
    authenticator = create_authenticator(service, settings, encryptor, signer)
    return service.app(
        routers=create_routers(service, settings, authenticator, issuer),
        parts=[
            service.tasks(
                [
                    *closure_worker.task_kinds(service.database),
                    *password_resets_worker.task_kinds(encryptor),
                    *mails.kinds,
                    commanding.task_kind(),
                ]
            ),
            *mails.parts,
            Part("bulk command purge", periodically(commanding.purge, PURGE_SECONDS), role="worker"),
            Part("signing keys", signer.run, role="api"),
            used_keys.part,
            *_housekeeping(service, settings),
            revocations_worker.part(service.database),
        ],
        ready=[named("signing key", signer.check)] if "api" in settings.role_set else [],
    )


def _housekeeping(service: Service, settings: Settings) -> list[Part]:
    """What is done at intervals, in every replica."""
    purge_audit_events = partial(audit_worker.purge_audit_events, service.database, kept_days=settings.audit_days)
    purge_request_log = partial(
        request_log_worker.purge_request_log, service.database, kept_days=settings.request_log_days
    )
    fill_search_words = partial(search_filling_worker.fill_search_words, service.database)
    purge_sessions = partial(sessions_worker.purge_sessions, service.database)
    return [
        Part("search words", periodically(fill_search_words, search_filling_worker.FILL_SECONDS), role="worker"),
        Part("session purge", periodically(purge_sessions, sessions_worker.PURGE_SECONDS), role="worker"),
        Part("request log purge", periodically(purge_request_log, request_log_worker.PURGE_SECONDS), role="worker"),
        Part("audit purge", periodically(purge_audit_events, audit_worker.PURGE_SECONDS), role="worker"),
    ]
