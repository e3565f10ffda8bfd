"""Signatures: what is signed, the text form of keys, and verification by the public libraries of four languages."""

import base64
import hmac
import json
import os
import random
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography.exceptions import InvalidSignature
from standardwebhooks import Webhook, WebhookVerificationError

from deploy import node
from deploy.devstack import broker
from tests.harness import runtimes
from tests.harness.http_harness import public_key
from webhooks import signatures

PROGRAMS = Path(__file__).parent / "interoperability"
BODY = '{"type":"job.created","timestamp":"2030-01-31T12:00:00Z","data":{"city":"Montréal","emoji":"📦"}}'.encode()
KEY, OLDER_KEY, OTHER_KEY = (bytes([number]) * 32 for number in (1, 2, 3))
SEED, OTHER_SEED = (bytes([number]) * 32 for number in (4, 5))


@dataclass(frozen=True, slots=True)
class Received:
    """A message as a receiver got it, and whether it verifies by secret and by public key."""

    secret: bytes
    seed: bytes
    signed: str
    body: bytes
    v1: bool
    v1a: bool
    message_id: str = "evt_01h455vb4pex5vsknk084sn02q"
    timestamp: int = 0

    def line(self) -> str:
        fields = (
            signatures.format_secret(self.secret),
            signatures.format_public_key(self.seed),
            self.message_id,
            str(self.timestamp),
            self.signed,
            base64.b64encode(self.body).decode(),
        )
        return "\t".join(fields)

    def headers(self) -> dict[str, str]:
        return {
            "webhook-id": self.message_id,
            "webhook-timestamp": str(self.timestamp),
            "webhook-signature": self.signed,
        }


def received() -> list[Received]:
    """One message with one and two secrets and with a key pair, and forged ones."""
    now = int(time.time())
    message_id = "evt_01h455vb4pex5vsknk084sn02q"

    def sign(keys: Sequence[bytes], seed: bytes | None) -> str:
        pair = None if seed is None else signatures.signing_key(seed)
        return signatures.Signer(keys, pair).sign(message_id, now, BODY)

    both = sign((KEY, OLDER_KEY), SEED)
    return [
        Received(KEY, SEED, sign((KEY,), None), BODY, v1=True, v1a=False, timestamp=now),
        Received(KEY, SEED, both, BODY, v1=True, v1a=True, timestamp=now),
        Received(OLDER_KEY, SEED, both, BODY, v1=True, v1a=True, timestamp=now),
        Received(OTHER_KEY, SEED, both, BODY, v1=False, v1a=True, timestamp=now),
        Received(KEY, OTHER_SEED, both, BODY, v1=True, v1a=False, timestamp=now),
        Received(KEY, SEED, both, BODY + b" ", v1=False, v1a=False, timestamp=now),
        Received(KEY, SEED, both, BODY, v1=False, v1a=False, timestamp=now, message_id="evt_another"),
        Received(KEY, SEED, both, BODY, v1=False, v1a=False, timestamp=now - 1),
    ]


# -- keys ----------------------------------------------------------------------------------------------------------------


def test_keys_are_written_with_the_prefixes_of_the_standard() -> None:
    assert signatures.format_secret(KEY) == "whsec_" + base64.b64encode(KEY).decode()
    assert base64.b64decode(signatures.format_public_key(SEED).removeprefix("whpk_")) == (
        signatures.signing_key(SEED).public_key().public_bytes_raw()
    )


def test_new_keys_are_of_the_right_size_and_never_the_same() -> None:
    assert len({signatures.new_secret() for _ in range(10)} | {signatures.new_signing_key() for _ in range(10)}) == 20
    assert {len(signatures.new_secret()), len(signatures.new_signing_key())} == {32}


@pytest.mark.parametrize("length", [0, 1, 32, 63, 64, 65, 200])
def test_a_signature_is_the_hmac_of_keys_of_any_length(length: int) -> None:
    key, body = random.Random(length).randbytes(length), b'{"a": 1}'
    expected = base64.b64encode(hmac.digest(key, b"evt_1.1700000000." + body, "sha256")).decode()

    signer = signatures.Signer([key, key])

    for _ in range(2):
        assert signer.sign("evt_1", 1_700_000_000, body) == f"v1,{expected} v1,{expected}"


def test_the_public_library_accepts_our_signature_and_no_other() -> None:
    key, other = signatures.new_secret(), signatures.new_secret()
    body = json.dumps({"type": "job.created", "city": "Montréal"}, ensure_ascii=False).encode()
    now = int(datetime.now(UTC).timestamp())
    value = signatures.Signer([other, key]).sign("evt_1", now, body)
    headers = {"webhook-id": "evt_1", "webhook-timestamp": str(now), "webhook-signature": value}

    Webhook(signatures.format_secret(key)).verify(body, headers)
    for forged in ({"webhook-id": "evt_2"}, {"webhook-timestamp": str(now + 1)}):
        with pytest.raises(WebhookVerificationError):
            Webhook(signatures.format_secret(key)).verify(body, {**headers, **forged})
    with pytest.raises(WebhookVerificationError):
        Webhook(signatures.format_secret(key)).verify(body + b" ", headers)


# -- receivers in other languages ------------------------------------------------------------------------------------------


def test_receivers_in_python_verify_what_we_sign() -> None:
    for one in received():
        assert (_holds_by_secret(one), _holds_by_public_key(one)) == (one.v1, one.v1a)


def test_receivers_in_javascript_verify_what_we_sign(tmp_path: Path) -> None:
    program = _program("javascript", tmp_path)
    node.install_packages(program)

    assert _verdicts(program, *node.find().node, "verify.mjs") == _expected()


def test_receivers_in_go_verify_what_we_sign(tmp_path: Path) -> None:
    program = _program("go", tmp_path)
    runtimes.run(*runtimes.go(), "build", "-o", "verify", ".", folder=program)

    assert _verdicts(program, "./verify") == _expected()


def test_receivers_in_java_verify_what_we_sign(tmp_path: Path) -> None:
    program = _program("java", tmp_path)
    runtimes.compile_java("Verify.java", program)
    class_path = f".{os.pathsep}{runtimes.java_libraries()}"

    assert _verdicts(program, broker.java(), "-cp", class_path, "Verify") == _expected()


def _holds_by_secret(one: Received) -> bool:
    return _holds(lambda: Webhook(signatures.format_secret(one.secret)).verify(one.body, one.headers()))


def _holds_by_public_key(one: Received) -> bool:
    key = public_key(signatures.format_public_key(one.seed))
    content = f"{one.message_id}.{one.timestamp}.".encode() + one.body
    signed = [part.removeprefix("v1a,") for part in one.signed.split() if part.startswith("v1a,")]
    return any(_holds(lambda raw=raw: key.verify(base64.b64decode(raw), content)) for raw in signed)  # type: ignore[misc]


def _holds(verify: Callable[[], object]) -> bool:
    try:
        verify()
    except (WebhookVerificationError, InvalidSignature):
        return False
    return True


def _expected() -> list[tuple[bool, bool]]:
    return [(one.v1, one.v1a) for one in received()]


def _program(language: str, folder: Path) -> Path:
    """A copy of the program, outside the checkout."""
    return Path(shutil.copytree(PROGRAMS / language, folder / language))


def _verdicts(program: Path, *command: str) -> list[tuple[bool, bool]]:
    lines = "".join(one.line() + "\n" for one in received())
    answers = [line.split() for line in runtimes.run(*command, folder=program, text=lines).splitlines()]
    return [(v1 == "true", v1a == "true") for v1, v1a in answers]
