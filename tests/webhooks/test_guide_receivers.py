"""The receivers of the guide (docs/guides/receivers) get real deliveries, and forged ones."""

import asyncio
import base64
import re
import shutil
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest
from aiohttp import web

from deploy import node
from deploy.devstack import broker
from deploy.devstack.processes import free_ports
from tests.harness import runtimes
from tests.harness.servers import serving
from tests.harness.waiting import eventually
from tests.harness.webhooks import Webhooks
from webhooks import signatures
from webhooks.config import Settings, parse_schedule

GUIDE = Path(__file__).parents[2] / "docs" / "guides" / "receivers"
LANGUAGES = ("python", "javascript", "go", "php", "java")
STOP_SECONDS = 20.0
OLDER_SECRET = signatures.format_secret(b"\x01" * 32)


@dataclass
class GuideReceiver:
    """A program of the guide that runs, and the delivery that it got."""

    port: int
    secret: str
    public_key: str
    folder: Path
    program: subprocess.Popen[bytes] | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""

    async def post(self, body: bytes, headers: Mapping[str, str]) -> int:
        async with httpx.AsyncClient(trust_env=False) as client:
            fields = {**headers, "content-type": "application/json"}
            return (await client.post(f"http://127.0.0.1:{self.port}/hooks", content=body, headers=fields)).status_code

    def start(self, language: str) -> None:
        """Build and start it."""
        shutil.copytree(GUIDE / language, self.folder)
        command = _command(language, self.folder, self.port)
        environment = {
            "PORT": str(self.port),
            "WEBHOOK_SECRET": f"{OLDER_SECRET},{self.secret}",
            "WEBHOOK_PUBLIC_KEY": self.public_key,
            "SEEN_FOLDER": str(self.folder),
        }
        with self.log.open("wb") as log:
            self.program = subprocess.Popen(command, cwd=self.folder, env=environment, stdout=log, stderr=log)

    @property
    def log(self) -> Path:
        return self.folder / "receiver.log"

    @property
    def events(self) -> list[str]:
        """What it has handled, a line for each event."""
        return [line for line in self.log.read_text().splitlines() if line.startswith("evt_")]

    async def listens(self) -> bool:
        assert self.program is not None
        assert self.program.poll() is None, self.log.read_text()
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", self.port)
        except OSError:
            return False
        writer.close()
        return True


def _command(language: str, folder: Path, port: int) -> list[str]:
    match language:
        case "python":
            return [sys.executable, "receiver.py"]
        case "javascript":
            return [*node.find().node, "receiver.mjs"]
        case "go":
            runtimes.run(*runtimes.go(), "build", "-o", "receiver", "receiver.go", folder=folder)
            return ["./receiver"]
        case "java":
            runtimes.compile_java("Receiver.java", folder)
            return [broker.java(), "-cp", ".", "Receiver"]
        case _:
            return [*runtimes.php(), "-S", f"127.0.0.1:{port}", "receiver.php"]


@pytest.fixture(scope="module")
async def receivers(
    service: Webhooks, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[dict[str, GuideReceiver]]:
    """The program of each language, after a job's event was delivered to it."""
    folder = tmp_path_factory.mktemp("guide")
    tenant = await service.create_tenant()
    found: dict[str, GuideReceiver] = {}

    async def pass_on(request: web.Request) -> web.Response:
        receiver = found[request.path.removeprefix("/")]
        receiver.body = await request.read()
        receiver.headers = {
            name.lower(): value for name, value in request.headers.items() if name.lower().startswith("webhook-")
        }
        return web.Response(status=await receiver.post(receiver.body, receiver.headers))

    async with AsyncExitStack() as stack:
        url = await stack.enter_async_context(serving(pass_on))
        for language, port in zip(LANGUAGES, free_ports(len(LANGUAGES)), strict=True):
            made = await tenant.create_endpoint(f"{url}/{language}", sign_v1a=True)
            key = await tenant.owner.read(f"/v1/webhook-endpoints/{made['id']}/public-key")
            receiver = GuideReceiver(port, made["secret"], key["public_key"], folder / language)
            found[language] = receiver
            await asyncio.to_thread(receiver.start, language)
            assert receiver.program is not None
            stack.callback(receiver.program.wait, STOP_SECONDS)
            stack.callback(receiver.program.terminate)
        for language, receiver in found.items():
            await eventually(receiver.listens, what=f"the receiver in {language} listens")
        await tenant.publish_job()
        await tenant.delivered(len(LANGUAGES))
        yield found


def only(version: str, headers: Mapping[str, str]) -> dict[str, str]:
    """The headers with the signatures of this version alone."""
    kept = [one for one in headers["webhook-signature"].split(" ") if one.startswith(f"{version},")]
    assert len(kept) == 1
    return {**headers, "webhook-signature": kept[0]}


@pytest.mark.parametrize("language", LANGUAGES)
async def test_a_real_delivery_is_accepted_by_either_signature_and_handled_once(
    receivers: dict[str, GuideReceiver], language: str
) -> None:
    receiver = receivers[language]

    by_secret = await receiver.post(receiver.body, only("v1", receiver.headers))
    by_key = await receiver.post(receiver.body, only("v1a", receiver.headers))

    assert (by_secret, by_key) == (204, 204)
    assert receiver.events == [f"{receiver.headers['webhook-id']} job.created"]


@pytest.mark.parametrize("language", LANGUAGES)
async def test_a_forged_or_old_delivery_is_refused(receivers: dict[str, GuideReceiver], language: str) -> None:
    receiver = receivers[language]
    headers, body = receiver.headers, receiver.body
    message_id, now = headers["webhook-id"], int(time.time())

    def signed(secret: str, timestamp: int) -> dict[str, str]:
        key = base64.b64decode(secret.removeprefix("whsec_"))
        signer = signatures.Signer([key], signatures.signing_key(b"\x02" * 32))
        value = signer.sign(message_id, timestamp, body)
        return {"webhook-id": message_id, "webhook-timestamp": str(timestamp), "webhook-signature": value}

    genuine = await receiver.post(body, signed(receiver.secret, now))
    before_rotation = await receiver.post(body, signed(OLDER_SECRET, now))
    forged = {
        "another body": await receiver.post(body.replace(b"job.created", b"job.deleted"), headers),
        "another id": await receiver.post(body, {**headers, "webhook-id": "evt_another"}),
        "another time": await receiver.post(body, {**headers, "webhook-timestamp": str(now + 7)}),
        "of ten minutes ago": await receiver.post(body, signed(receiver.secret, now - 600)),
        "of the future": await receiver.post(body, signed(receiver.secret, now + 600)),
        "another secret": await receiver.post(body, signed(signatures.format_secret(b"\x03" * 32), now)),
        "no signature": await receiver.post(body, {**headers, "webhook-signature": ""}),
        "an unknown version": await receiver.post(
            body, {**headers, "webhook-signature": headers["webhook-signature"].replace("v1", "v9")}
        ),
        "half a signature": await receiver.post(
            body, {**headers, "webhook-signature": only("v1", headers)["webhook-signature"][:-6]}
        ),
        "no time": await receiver.post(body, {**headers, "webhook-timestamp": "now"}),
        "no headers": await receiver.post(body, {}),
    }

    assert (genuine, before_rotation) == (204, 204)
    assert forged == dict.fromkeys(forged, 401)


def test_the_guide_has_the_usual_schedule_of_retries() -> None:
    (row,) = re.findall(r"^\| after \|(.*)\|$", (GUIDE.parent / "receive-webhooks.md").read_text(), re.MULTILINE)
    seconds = {"s": 1, "min": 60, "h": 3600}

    named = [int(number) * seconds[unit] for number, unit in (cell.split() for cell in row.split("|"))]

    assert named == list(parse_schedule(Settings.model_fields["retry_schedule_seconds"].default))
