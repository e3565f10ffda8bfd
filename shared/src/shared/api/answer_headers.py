"""Headers that an operation adds to the answer of the request in whose transaction it runs."""

from fastapi import Request
from sqlalchemy.ext.asyncio import AsyncSession

_HEADERS = "answer_headers"


def add_answer_header(session: AsyncSession, name: str, value: str) -> None:
    """Add a header to the answer if the transaction commits. The stored answer to an Idempotency-Key does not have it."""
    session.info.setdefault(_HEADERS, {})[name] = value


def keep(request: Request, session: AsyncSession) -> None:
    """Keep what was added in this transaction of the request."""
    added: dict[str, str] = session.info.get(_HEADERS, {})
    if added:
        request.state.answer_headers = {**kept(request), **added}


def kept(request: Request) -> dict[str, str]:
    """The headers of all transactions of the request."""
    return dict(getattr(request.state, _HEADERS, {}))
