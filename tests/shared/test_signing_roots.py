"""Root keys: what they vouch for, and what they do not."""

import base64
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from shared.access.signing_roots import SigningKeyFacts, SigningKeyUnproven, SigningRoot, SigningRoots, parse_roots
from shared.events.identity import SigningKeyPublished, SigningKeyState

ROOT, OTHER = SigningRoot(b"1" * 32), SigningRoot(b"2" * 32)
RETIRES_AT = datetime(2030, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
KEY = SigningKeyFacts("sig_1", 3, ROOT.public_text, RETIRES_AT)


def published(facts: SigningKeyFacts, proof: str | None) -> SigningKeyPublished:
    """The event as it comes out of Kafka."""
    state = SigningKeyState(
        key_id=facts.key_id,
        algorithm="EdDSA",
        public_key=facts.public_key,
        retires_at=facts.retires_at,
        proof=proof,
    )
    event = SigningKeyPublished(tenant_id=None, subject=facts.key_id, sequence=facts.version, data=state)
    return event.model_copy(update={"data": SigningKeyState.model_validate_json(event.value())})


def test_a_key_is_proven_by_any_root_that_is_accepted() -> None:
    accepted = SigningRoots([ROOT.public_text, OTHER.public_text])

    for root in (ROOT, OTHER):
        accepted.check(published(KEY, root.prove(KEY)))


@pytest.mark.parametrize(
    "changed",
    [
        {"key_id": "sig_2"},
        {"version": 4},
        {"public_key": OTHER.public_text},
        {"retires_at": None},
        {"retires_at": datetime(2040, 1, 1, tzinfo=UTC)},
    ],
)
def test_a_proof_is_good_for_nothing_else(changed: dict[str, Any]) -> None:
    with pytest.raises(SigningKeyUnproven):
        SigningRoots([ROOT.public_text]).check(published(replace(KEY, **changed), ROOT.prove(KEY)))


@pytest.mark.parametrize("proof", [None, "", "?", "AAAA", OTHER.prove(KEY)])
def test_what_no_accepted_root_has_signed_is_no_proof(proof: str | None) -> None:
    with pytest.raises(SigningKeyUnproven, match="sig_1 in version 3"):
        SigningRoots([ROOT.public_text]).check(published(KEY, proof))


def test_a_setting_holds_public_keys_alone() -> None:
    assert parse_roots(f" {ROOT.public_text}, {OTHER.public_text}") == [ROOT.public_text, OTHER.public_text]
    for wrong in ("", ",", "?", base64.b64encode(b"short").decode()):
        with pytest.raises(ValueError, match="expected"):
            parse_roots(wrong)
