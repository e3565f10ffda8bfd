"""Session tokens: short-lived JWTs that identity signs (EdDSA) and every service verifies with public keys from events."""

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

ALGORITHM = "EdDSA"
ISSUER = "waybill"
TOKEN_LENGTH_MAX = 2048


@dataclass(frozen=True, slots=True)
class Claims:
    """The claims of a token: subject, tenant, session, and the time from issue to expiry."""

    subject_id: str
    tenant_id: str
    session_id: str
    issued_at: datetime
    expires_at: datetime
    livemode: bool
    stepped_up_at: datetime | None = None
    """When the person last gave the password again in this session; None: never."""
    enrolment_only: bool = False
    """Whether the tenant asks for a second factor that the person does not have yet: they can only enrol one."""


class TokenRefused(Exception):
    """The text is not a valid token; `code` says why."""

    def __init__(self, code: str):
        super().__init__(code)
        self.code = code


def sign(claims: Claims, *, key_id: str, private_key: Ed25519PrivateKey) -> str:
    """The token for these claims."""
    payload = {
        "iss": ISSUER,
        "sub": claims.subject_id,
        "tid": claims.tenant_id,
        "sid": claims.session_id,
        "iat": claims.issued_at.timestamp(),
        "exp": claims.expires_at.timestamp(),
        "live": claims.livemode,
        **({"sua": claims.stepped_up_at.timestamp()} if claims.stepped_up_at else {}),
        **({"enr": True} if claims.enrolment_only else {}),
    }
    return jwt.encode(payload, private_key, algorithm=ALGORITHM, headers={"kid": key_id})


def key_id_of(token: str) -> str:
    """The key that a token claims to be signed with. Raises `TokenRefused`."""
    if len(token) > TOKEN_LENGTH_MAX:
        raise TokenRefused("token_malformed")
    try:
        return str(jwt.get_unverified_header(token).get("kid", ""))
    except jwt.PyJWTError as error:
        raise TokenRefused("token_malformed") from error


def verify(token: str, *, public_keys: Mapping[str, Ed25519PublicKey], now: datetime) -> Claims:
    """The claims of a valid token. Raises `TokenRefused`: token_malformed, token_key_unknown, token_forged, token_expired."""
    public_key = public_keys.get(key_id_of(token))
    if public_key is None:
        raise TokenRefused("token_key_unknown")
    try:
        # The expiry is compared with `now` below: the library has a clock of its own and knows whole seconds only.
        payload = jwt.decode(
            token,
            public_key,
            algorithms=[ALGORITHM],
            issuer=ISSUER,
            options={"require": ["sub", "tid", "sid", "iat", "exp"], "verify_exp": False, "verify_iat": False},
        )
        claims = Claims(
            subject_id=str(payload["sub"]),
            tenant_id=str(payload["tid"]),
            session_id=str(payload["sid"]),
            issued_at=datetime.fromtimestamp(float(payload["iat"]), UTC),
            expires_at=datetime.fromtimestamp(float(payload["exp"]), UTC),
            livemode=bool(payload.get("live", False)),
            stepped_up_at=datetime.fromtimestamp(float(payload["sua"]), UTC) if "sua" in payload else None,
            enrolment_only=bool(payload.get("enr", False)),
        )
    except (jwt.PyJWTError, ValueError, TypeError, OverflowError) as error:
        raise TokenRefused("token_forged") from error
    if now >= claims.expires_at:
        raise TokenRefused("token_expired")
    return claims


def public_text(private_key: Ed25519PrivateKey) -> str:
    """The public key as base64 of its 32 raw bytes."""
    return base64.b64encode(private_key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)).decode()


def public_key(text: str) -> Ed25519PublicKey:
    """The key that `public_text` wrote."""
    return Ed25519PublicKey.from_public_bytes(base64.b64decode(text))
