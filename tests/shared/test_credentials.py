"""Keys, seals, tokens: what opens, what does not."""

from datetime import UTC, datetime, timedelta

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from shared.access import tokens
from shared.access.credentials import Peppers, hint, is_well_formed, new_api_key
from shared.crypto.encryptor import DecryptionFailed, Encryptor

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
PRIVATE = Ed25519PrivateKey.generate()
PUBLIC = {"k1": PRIVATE.public_key()}


@pytest.mark.parametrize("livemode", [True, False])
def test_a_new_key_is_well_formed_and_says_what_it_is_for(livemode: bool) -> None:
    key = new_api_key(livemode=livemode)

    assert is_well_formed(key)
    assert key.startswith("wbk_live_") is livemode
    assert len(key) == len("wbk_live_") + 43 + 6


@given(position=st.integers(9, 57), letter=st.sampled_from("0Az"))
def test_any_single_typo_is_seen_before_a_look_up(position: int, letter: str) -> None:
    key = new_api_key(livemode=True)
    typo = key[:position] + letter + key[position + 1 :]

    assert is_well_formed(typo) is (typo == key)


@given(st.text(max_size=80))
def test_garbage_is_no_key(garbage: str) -> None:
    assert not is_well_formed(garbage)


def test_a_hint_does_not_give_the_key_away() -> None:
    key = new_api_key(livemode=False)

    assert len(hint(key)) == 14
    assert key[9:-4] not in hint(key)


def test_a_digest_matches_only_under_its_pepper_and_key() -> None:
    old, both = Peppers({1: b"a" * 32}), Peppers({1: b"a" * 32, 2: b"b" * 32})
    key, other = new_api_key(livemode=True), new_api_key(livemode=True)

    assert both.current_version == 2
    assert both.matches(key, old.digest(key), 1)
    assert not both.matches(other, old.digest(key), 1)
    assert not both.matches(key, old.digest(key), 2)
    assert not old.matches(key, both.digest(key), 2)
    assert both.digests(key) == [both.digest(key), old.digest(key)]


def test_a_seal_opens_with_any_key_of_the_ring_but_only_for_its_row() -> None:
    old, encryptor = Encryptor({1: b"a" * 32}), Encryptor({1: b"a" * 32, 2: b"b" * 32})
    sealed = old.encrypt(b"secret", associated_data="acct_1")

    assert encryptor.decrypt(sealed, associated_data="acct_1") == b"secret"
    assert encryptor.decrypt(encryptor.encrypt(b"new", associated_data="x"), associated_data="x") == b"new"
    for broken, row in (
        (sealed, "acct_2"),
        (sealed[:-1] + bytes([sealed[-1] ^ 1]), "acct_1"),
        (b"\x00\x09" + sealed[2:], "acct_1"),
    ):
        with pytest.raises(DecryptionFailed):
            encryptor.decrypt(broken, associated_data=row)


def claims(**changes: object) -> tokens.Claims:
    values: dict[str, object] = {
        "subject_id": "usr_1",
        "tenant_id": "ten_1",
        "session_id": "ses_1",
        "issued_at": NOW,
        "expires_at": NOW + timedelta(minutes=5),
        "livemode": True,
        **changes,
    }
    return tokens.Claims(**values)  # type: ignore[arg-type]


def test_a_token_says_what_was_signed_to_the_microsecond() -> None:
    exact = claims(issued_at=NOW + timedelta(microseconds=123_456))
    token = tokens.sign(exact, key_id="k1", private_key=PRIVATE)

    assert tokens.verify(token, public_keys=PUBLIC, now=NOW) == exact


def test_a_token_ends_at_its_instant() -> None:
    token = tokens.sign(claims(), key_id="k1", private_key=PRIVATE)

    tokens.verify(token, public_keys=PUBLIC, now=NOW + timedelta(minutes=5, microseconds=-1))
    with pytest.raises(tokens.TokenRefused, match="token_expired"):
        tokens.verify(token, public_keys=PUBLIC, now=NOW + timedelta(minutes=5))


def test_forged_tokens_are_refused() -> None:
    other = Ed25519PrivateKey.generate()
    good = tokens.sign(claims(), key_id="k1", private_key=PRIVATE)
    payload = {"iss": "waybill", "sub": "usr_1", "tid": "t", "sid": "s", "iat": 0, "exp": 9e12}
    cases = {
        "token_forged": tokens.sign(claims(), key_id="k1", private_key=other),
        "token_key_unknown": tokens.sign(claims(), key_id="k2", private_key=PRIVATE),
        "token_malformed": "x" * 3000,
    }
    unsigned = jwt.encode(payload, "", algorithm="none", headers={"kid": "k1"})
    symmetric = jwt.encode(payload, "a secret that is long enough for this", algorithm="HS256", headers={"kid": "k1"})
    head, body, signature = good.split(".")

    for code, token in cases.items():
        with pytest.raises(tokens.TokenRefused, match=code):
            tokens.verify(token, public_keys=PUBLIC, now=NOW)
    for token in (unsigned, symmetric, f"{head}.{body[:-2]}AA.{signature}", f"{head}.{body}.", "a.b", ""):
        with pytest.raises(tokens.TokenRefused):
            tokens.verify(token, public_keys=PUBLIC, now=NOW)
