"""Logging in at the usual cost: the suite of these tests makes cheap hashes, which a replica with the usual settings replaces."""

from pathlib import Path

import asyncpg

from deploy.devstack.forks import Forker
from deploy.devstack.processes import LOOPBACK, free_ports
from tests.harness.bodies import PASSWORD
from tests.harness.people import Tenant
from tests.harness.suite import CHEAP_HASHES, Process, Suite

USUAL = "$argon2id$v=19$m=65536,t=3,p=4$"


async def test_a_password_is_kept_at_the_usual_cost_once_it_was_used(
    suite: Suite, tenant: Tenant, forker: Forker | None, tmp_path: Path
) -> None:
    (port,) = free_ports(1)
    usual = {name: value for name, value in suite.environment.items() if name not in CHEAP_HASHES}
    environment = {**usual, "IDENTITY_PORT": str(port), "WAYBILL_ROLES": "api"}
    replica = Process("identity", environment, tmp_path / "log", f"http://{LOOPBACK}:{port}", forker)
    body = {"tenant": tenant.id, "email": tenant.owner_email, "password": PASSWORD}
    replica.start()
    try:
        await replica.ready()
        for _ in range(2):
            answer = await suite.client.post(f"{replica.url}/v1/sessions", json=body)
            assert answer.status_code == 201, answer.text
    finally:
        replica.stop()

    identity = await asyncpg.connect(suite.databases["identity"])
    try:
        kept = await identity.fetchval("SELECT password_hash FROM logins WHERE email_key = $1", tenant.owner_email)
    finally:
        await identity.close()
    assert kept.startswith(USUAL)
