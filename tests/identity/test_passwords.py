"""Passwords as people type them: on any keyboard, with blanks; and those that too many people have."""

import unicodedata

import asyncpg
import pytest
from argon2 import PasswordHasher

from tests.harness.bodies import email, staff_body
from tests.harness.client import pointers, refused
from tests.harness.identity import Identity
from tests.harness.people import Tenant

NFC = unicodedata.normalize("NFC", "Pâtisserie Zoë à l'été")
NFD = unicodedata.normalize("NFD", NFC)


async def log_in(identity: Identity, tenant: Tenant, address: str, password: str) -> int:
    body = {"tenant": tenant.id, "email": address, "password": password}
    return (await identity.nobody.post("/v1/sessions", body)).status_code


async def set_hash(identity: Identity, address: str, password: str) -> None:
    """Store the hash of a password as the first releases did."""
    stored = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash(password)
    connection = await asyncpg.connect(identity.settings.database_url)
    try:
        await connection.execute("UPDATE logins SET password_hash = $1 WHERE email_key = $2", stored, address)
    finally:
        await connection.close()


@pytest.mark.parametrize(("chosen", "typed"), [(NFC, NFD), (NFD, NFC)])
async def test_a_password_is_the_same_on_any_keyboard(
    identity: Identity, tenant: Tenant, chosen: str, typed: str
) -> None:
    address = email("staff")
    await tenant.owner.create("/v1/staff", {**staff_body(), "email": address, "password": chosen})

    assert await log_in(identity, tenant, address, chosen) == 201
    assert await log_in(identity, tenant, address, typed) == 201


async def test_blanks_around_a_password_are_part_of_it(identity: Identity, tenant: Tenant) -> None:
    address = email("staff")
    await tenant.owner.create("/v1/staff", {**staff_body(), "email": address, "password": "  two  blanks "})

    assert await log_in(identity, tenant, address, "  two  blanks ") == 201
    assert await log_in(identity, tenant, address, "two  blanks") == 401
    assert await log_in(identity, tenant, address, "  two  blanks") == 401


@pytest.mark.parametrize("kept", ["an older password", NFC, NFD])
async def test_a_password_of_before_goes_on_working(identity: Identity, tenant: Tenant, kept: str) -> None:
    address = email("staff")
    await tenant.owner.create("/v1/staff", {**staff_body(), "email": address})
    await set_hash(identity, address, kept)

    assert await log_in(identity, tenant, address, f" {kept} ") == 201
    assert await log_in(identity, tenant, address, "another one") == 401
    assert await log_in(identity, tenant, address, kept) == 201
    assert await log_in(identity, tenant, address, unicodedata.normalize("NFD", kept)) == 201
    assert await log_in(identity, tenant, address, unicodedata.normalize("NFC", kept)) == 201
    assert await log_in(identity, tenant, address, f" {kept} ") == 401


@pytest.mark.parametrize(
    "password",
    [
        "password",
        "PassWord",
        " password ",
        "ｐａｓｓｗｏｒｄ",
        "12345678",
        "qwertyuiop",
        "iloveyou",
        "p@ssw0rd",
        "password123",
        "        ",
        "aaaaaaaaaaaa",
        "abababab",
        "98765432",
        "123456789012",
        "abcdefgh",
        "letmein1",
    ],
)
async def test_a_password_that_many_people_have_is_refused(tenant: Tenant, password: str) -> None:
    created = await tenant.owner.post("/v1/staff", {**staff_body(), "password": password})
    accepted = await tenant.owner.post("/v1/invitations/accept", {"token": "x" * 40, "password": password})

    for answer in (created, accepted):
        problem = refused(answer, 422, "invalid")
        assert pointers(problem) == ["/password"]
        assert problem["errors"][0]["code"] == "password_common"


@pytest.mark.parametrize(
    ("password", "code"),
    [
        ("short 7", "string_too_short"),
        ("ab" * 65, "string_too_long"),
        (12345678, "string_type"),
        (["x"], "string_type"),
    ],
)
async def test_a_password_has_8_to_128_characters(tenant: Tenant, password: object, code: str) -> None:
    problem = refused(await tenant.owner.post("/v1/staff", {**staff_body(), "password": password}), 422, "invalid")

    assert [(error["pointer"], error["code"]) for error in problem["errors"]] == [("/password", code)]
