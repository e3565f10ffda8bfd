"""Processes beside the bench: each obeys commands, one JSON document a line on its input, and answers each on its output.

A child ends when its input does, so none outlives the bench however that goes.
"""

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import psutil
import uvloop

START_SECONDS = 20.0
STOP_SECONDS = 5.0
ANSWER_BYTES_MAX = 256 * 1024 * 1024

Document = dict[str, Any]
Handler = Callable[[Document], Awaitable[Document]]


class ChildFailed(Exception):
    """A child ended, or did not answer in time."""


class Child:
    """One child process of the bench."""

    def __init__(self, process: asyncio.subprocess.Process, name: str):
        self._process = process
        self._name = name
        self.measured = psutil.Process(process.pid)
        """For the account of processor time."""

    @classmethod
    async def start(cls, module: str) -> "Child":
        """Run `python -m module` and wait until it is ready."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            module,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=ANSWER_BYTES_MAX,
        )
        child = cls(process, module)
        try:
            await child.ask("ready", seconds=START_SECONDS)
        except BaseException:
            await child.stop()
            raise
        return child

    async def ask(self, do: str, *, seconds: float, **command: Any) -> Document:
        """Have a command carried out; its answer. Raises `ChildFailed` when none comes within `seconds`."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            async with asyncio.timeout(seconds):
                self._process.stdin.write(json.dumps({"do": do, **command}).encode() + b"\n")
                await self._process.stdin.drain()
                line = await self._process.stdout.readline()
        except (TimeoutError, ConnectionError) as error:
            raise ChildFailed(f"{self._name}: no answer to {do!r} within {seconds} s") from error
        if not line:
            raise ChildFailed(f"{self._name} ended during {do!r}")
        answer: Document = json.loads(line)
        return answer

    async def stop(self) -> None:
        """End it: in order when it listens, else by force."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await self._process.wait()
        except TimeoutError:
            self._process.kill()
            await self._process.wait()


def obey(commands: Mapping[str, Handler]) -> None:
    """In a child: carry out commands until the input ends."""
    uvloop.run(_obey({"ready": _ready, **commands}))


async def _ready(_: Document) -> Document:
    return {}


async def _obey(commands: Mapping[str, Handler]) -> None:
    loop = asyncio.get_running_loop()
    lines = asyncio.StreamReader(limit=ANSWER_BYTES_MAX)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    while line := await lines.readline():
        command: Document = json.loads(line)
        answer = await commands[command.pop("do")](command)
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()
