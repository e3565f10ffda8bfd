"""One PostgreSQL and one Kafka for all workers of a run: the process that started the workers owns them and lends them out.

The owner starts a server when the first worker asks for it, and stops it after the last worker has ended, however that ended.
"""

import secrets
from collections.abc import Mapping
from functools import cached_property
from multiprocessing.connection import Client, Connection, Listener
from pathlib import Path
from threading import Lock, Thread
from typing import Any

from deploy.devstack.processes import LOOPBACK
from tests.harness.stack import BackingStack, start_backing_stack

SERVERS = ("postgres_admin_url", "kafka_bootstrap")
KEY_BYTES = 32


class NotLent(Exception):
    """The owner could not start a server."""


class Lender:
    """The owner's side, until `stop()`."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._stack = start_backing_stack(home)
        self._key = secrets.token_bytes(KEY_BYTES)
        self._locks = {name: Lock() for name in SERVERS}
        self._listener = Listener((LOOPBACK, 0), family="AF_INET", authkey=self._key)
        Thread(target=self._listen, daemon=True).start()

    @property
    def terms(self) -> dict[str, str]:
        """What a worker needs to borrow."""
        _, port = self._listener.address
        return {"home": str(self._home), "port": str(port), "key": self._key.hex()}

    def stop(self) -> None:
        """End the servers."""
        self._listener.close()
        self._stack.stop()

    def _listen(self) -> None:
        while True:
            try:
                connection = self._listener.accept()
            except OSError:
                return  # closed
            Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: "Connection[Any, Any]") -> None:
        with connection:
            name = connection.recv()
            try:
                with self._locks[name]:
                    connection.send((getattr(self._stack, name), None))
            except Exception as error:  # The worker raises it.
                connection.send((None, f"{type(error).__name__}: {error}"))


class BorrowedStack(BackingStack):
    """A worker's side: the servers of the owner, and databases of its own in them."""

    def __init__(self, terms: Mapping[str, str]) -> None:
        super().__init__(Path(terms["home"]), use_docker=False, fleeting=True)
        self._address = (LOOPBACK, int(terms["port"]))
        self._key = bytes.fromhex(terms["key"])

    @cached_property
    def postgres_admin_url(self) -> str:
        """Where the superuser reaches PostgreSQL (database `postgres`)."""
        return self._borrow("postgres_admin_url")

    @cached_property
    def kafka_bootstrap(self) -> str:
        """Bootstrap servers of Kafka, as `host:port`."""
        return self._borrow("kafka_bootstrap")

    def stop(self) -> None:
        """Leave nothing of this worker's on servers that existed before; the owner stops the others."""
        self.drop_databases()

    def _borrow(self, name: str) -> str:
        with Client(self._address, family="AF_INET", authkey=self._key) as connection:
            connection.send(name)
            value, failure = connection.recv()
        if failure is not None:
            raise NotLent(failure)
        return str(value)
