"""Signing keys: one key signs at a time, and a rotation ends no valid token."""

import base64
from datetime import UTC, datetime

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic import SecretStr
from sqlalchemy import text

from identity.app import create_app, create_encryptor, create_root, create_service
from identity.signing_keys import operations as signing_keys_operations
from shared.access import tokens
from shared.access.signing_roots import SigningRoot, SigningRoots
from tests.harness.bodies import SIGNING_ROOT
from tests.harness.client import Api
from tests.harness.identity import Identity, running
from tests.harness.people import Tenant
from tests.harness.services import serve
from tests.harness.stack import BackingStack
from tests.harness.waiting import eventually

GRACE_SECONDS = 6


async def test_a_rotated_signing_key_signs_after_the_grace_and_no_token_ends(
    identity: Identity, tenant: Tenant
) -> None:
    before = await identity.log_in(tenant.id, tenant.owner_email)
    service = create_service(identity.settings)
    async with service.database.transaction() as session:
        new_key_id = await signing_keys_operations.rotate(
            session,
            create_encryptor(identity.settings),
            create_root(identity.settings),
            datetime.now(UTC),
            grace_seconds=GRACE_SECONDS,
            session_seconds=identity.settings.session_seconds,
        )
    await service.database.close()

    at_once = await identity.log_in(tenant.id, tenant.owner_email)
    assert key_id(at_once) == key_id(before)

    async def signs_with_the_new_key() -> Api | None:
        person = await identity.log_in(tenant.id, tenant.owner_email)
        return person if key_id(person) == new_key_id else None

    after = await eventually(signs_with_the_new_key, seconds=30, what="the new key signs")
    for person in (before, at_once, after):
        assert (await person.get("/v1/auth/test")).status_code == 200
    old = await identity.events(key_id(before), "signing_key.published", "signing_key.published")
    assert old[0].data.retires_at is None
    assert old[1].data.retires_at is not None
    await identity.events(new_key_id, "signing_key.published")


async def test_replicas_that_start_together_make_one_signing_key(identity: Identity, tenant: Tenant) -> None:
    async def log_in(*services: Identity) -> list[Api] | None:
        """A log-in at each service; None when an earlier rotation took effect between them."""
        found = [await service.log_in(tenant.id, tenant.owner_email) for service in services]
        return found if key_id(found[0]) == key_id(await services[0].log_in(tenant.id, tenant.owner_email)) else None

    async with (
        serve(Identity, create_app, identity.settings) as one,
        serve(Identity, create_app, identity.settings) as two,
    ):
        people = await eventually(lambda: log_in(one, two, identity), what="all sign with the keys of this time")

        assert len({key_id(person) for person in people}) == 1
        for service in (one, two, identity):
            assert (await service.client.get("/v1/auth/test", headers=people[0].headers)).status_code == 200


async def test_a_new_root_key_proves_all_signing_keys_again_and_no_token_ends(backing: BackingStack) -> None:
    new = SigningRoot(b"another root key of these tests!")
    new_key = SecretStr(base64.b64encode(b"another root key of these tests!").decode())
    async with running(backing, signing_roots=f"{SIGNING_ROOT.public_text},{new.public_text}") as identity:
        tenant = await identity.create_tenant()
        person = await identity.log_in(tenant.id, tenant.owner_email)

        async def accepted_with(**changes: object) -> bool:
            """Whether the token is accepted by an identity that was started again with other settings."""
            settings = identity.settings.model_copy(update=changes)
            async with serve(Identity, create_app, settings) as restarted:
                return (await restarted.client.get("/v1/auth/test", headers=person.headers)).status_code == 200

        assert await accepted_with(signing_root_key=new_key)
        # From now on the old one vouches for nothing.
        assert await accepted_with(signing_root_key=new_key, signing_roots=new.public_text)
        first, again = await identity.events(key_id(person), "signing_key.published", "signing_key.published")
        for root, event in ((SIGNING_ROOT, first), (new, again)):
            SigningRoots([root.public_text]).check(event)

        # A database of before there were proofs.
        async with identity.database.transaction() as session:
            for table in ("signing_keys", "access_signing_keys"):
                await session.execute(text(f"UPDATE {table} SET proof = NULL"))
        assert await accepted_with()
        published = await identity.events(key_id(person), *["signing_key.published"] * 3)
        SigningRoots([SIGNING_ROOT.public_text]).check(published[-1])


async def test_a_key_that_somebody_wrote_into_the_projection_signs_nothing(identity: Identity, tenant: Tenant) -> None:
    person = await identity.log_in(tenant.id, tenant.owner_email)
    forged = Ed25519PrivateKey.generate()
    claims = jwt.decode(person.document["token"], options={"verify_signature": False})
    async with identity.database.transaction() as session:
        await session.execute(
            text(
                "INSERT INTO access_signing_keys (key_id, version, public_key, proof) VALUES ('sig_1', 1, :key, :key)"
            ),
            {"key": tokens.public_text(forged)},
        )

    token = jwt.encode(claims, forged, algorithm=tokens.ALGORITHM, headers={"kid": "sig_1"})
    answer = await identity.client.get("/v1/auth/test", headers={"Authorization": f"Bearer {token}"})

    assert answer.status_code == 401
    assert answer.json()["code"] == "token_key_unknown"


def key_id(person: Api) -> str:
    return str(jwt.get_unverified_header(person.document["token"])["kid"])
