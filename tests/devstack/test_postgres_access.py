"""Who enters the PostgreSQL of the private stack, and how."""

from pathlib import Path
from urllib.parse import urlencode, urlsplit

import asyncpg
import pytest

from deploy.devstack.settings import APPLICATIONS, StackSettings
from deploy.devstack.stack import database_urls
from shared.crypto import certificates


@pytest.mark.parametrize("service", APPLICATIONS)
async def test_a_service_comes_over_tls_and_not_without(running: StackSettings, service: str) -> None:
    url = database_urls(running)[service]

    connection = await asyncpg.connect(url)
    secured = await connection.fetchval("SELECT count(*) FROM pg_stat_ssl WHERE ssl AND pid = pg_backend_pid()")
    await connection.close()

    assert secured == 1
    with pytest.raises(asyncpg.InvalidAuthorizationSpecificationError, match="no encryption"):
        await asyncpg.connect(urlsplit(url)._replace(query="sslmode=disable").geturl())


async def test_every_connection_of_the_services_is_over_tls(running: StackSettings) -> None:
    connection = await asyncpg.connect(running.postgres_admin_url, ssl=False)
    rows = await connection.fetch(
        "SELECT usename, bool_and(ssl) AS secured FROM pg_stat_ssl JOIN pg_stat_activity USING (pid)"
        " WHERE usename LIKE 'waybill_%' GROUP BY usename"
    )
    await connection.close()

    assert {row["usename"]: row["secured"] for row in rows} == {f"waybill_{service}": True for service in APPLICATIONS}


async def test_another_server_in_its_place_is_not_spoken_to(running: StackSettings, tmp_path: Path) -> None:
    certificates.ensure(tmp_path, {"postgres": ("127.0.0.1",)})
    query = urlencode({"sslmode": "verify-full", "sslrootcert": tmp_path / certificates.CA_FILE})

    with pytest.raises(OSError, match="certificate verify failed"):
        await asyncpg.connect(urlsplit(database_urls(running)["jobs"])._replace(query=query).geturl())
