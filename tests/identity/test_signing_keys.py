"""Signing keys: one key signs at a time, and a rotation ends no valid token."""

from datetime import UTC, datetime

import jwt

from identity.app import create_app, create_encryptor, create_root, create_service
from identity.signing_keys import operations as signing_keys_operations
from tests.harness.client import Api
from tests.harness.identity import Identity
from tests.harness.people import Tenant
from tests.harness.services import serve
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


def key_id(person: Api) -> str:
    return str(jwt.get_unverified_header(person.document["token"])["kid"])
