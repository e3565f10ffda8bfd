"""The tokens of jobs and actions: those that a row is indexed under, and those that a search looks up.

A token is a kind and a folded value, such as `t:fragile` (a tag) or `w:sofa` (a word). All tokens of a row are one set in one column
(`terms`) under one index, so any combination of conditions is one lookup. Substrings of names and numbers are found by n-grams of three
and of six characters, and of four letters; the rows found are then compared with the folded names and numbers in the column `parts`.
Stored values and searched values are folded and broken into words by the same functions (`shared.folding`), so they cannot differ.
"""

import hashlib
import zlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Literal

from jobs.search_index import time_buckets
from shared.events.jobs import ActionState, ContactState, JobState
from shared.folding import fold, parts_of_two, words, words_of

TokenKind = Literal["w", "g", "p", "e", "n", "z", "i", "b", "t", "m", "s", "x", "d", "a", "S", "T", "L", "N", "M", "V"]
"""w: word, g: n-gram, p: phone number, e: e-mail address, n: beginning of a name, z: postal code, i: invoice, b: barcode, t: tag,
m: metadata, s: SKU, x: external reference, d: distribution location, a: assignee, S: status, T: type, L: location, N: tenant,
M: merchant, V: version of the tokenizer."""

TOKENIZER_VERSION = "V:4"
"""A token of every row. Change it with every change of the rules of this module or of `shared.folding`: rows without it are reindexed."""
TOKEN_BYTES_MAX = 100
"""A longer token is replaced by a digest, since tokens are only compared for equality."""
SUBSTRING_CHARS_MIN = 3
"""Shortest substring that is searched: shorter ones are in nearly every name."""
LONG_NGRAM_CHARS = 6
"""N-grams of this length are looked up for a substring that is at least as long: few rows have each of them."""
LONG_NGRAM_STEP = 3
"""Distance between the starts of the long n-grams that are looked up. They overlap, so few other rows have them all."""
LETTER_NGRAM_CHARS = 4
"""N-grams of this length are looked up for a shorter substring of letters alone: in names, those of three are too frequent."""
NAME_PREFIX_CHARS = 6
"""Characters of a name's beginning that are a token."""

_SEPARATOR = "|"
_NAME_MARK = "||"
"""Separates names in `parts`; a number has a single separator before it."""


def token(kind: TokenKind, value: str) -> str:
    """The token of a value."""
    folded = fold(value)
    if kind == "z":
        folded = folded.replace(" ", "")
    if len(folded.encode()) > TOKEN_BYTES_MAX:
        return f"{kind}#{hashlib.blake2b(folded.encode(), digest_size=16).hexdigest()}"
    return f"{kind}:{folded}"


def metadata_token(key: str, value: str) -> str:
    """The token of one metadata entry."""
    return token("m", f"{key}={value}")


def job_tokens(job: JobState, tenant_id: str) -> list[str]:
    """All tokens of a job, each once. The numbers of its actions are included."""
    ngrams = _ngrams((*_names(job.contact), *_numbers(job)))
    owners = (token("N", tenant_id), token("M", job.merchant_id))
    return list(dict.fromkeys([*_job_tokens(job), *ngrams, *owners, TOKENIZER_VERSION]))


def action_tokens(action: ActionState, tenant_id: str, merchant_id: str) -> list[str]:
    """All tokens of an action, each once."""
    numbers = _action_numbers(action)
    found = {f"w:{word}" for text in (action.description, *numbers) if text for word in words(text)}
    found.update(f"w:{part}" for part in parts_of_two(action.description or ""))
    owners = (token("N", tenant_id), token("M", merchant_id))
    return sorted(
        found.union(_ngrams(numbers), _number_tokens(action), _column_tokens(action), owners, (TOKENIZER_VERSION,))
    )


def job_parts(job: JobState) -> str:
    """The folded names and numbers of a job, as the column `parts` holds them."""
    names, numbers = (dict.fromkeys(map(fold_part, texts)) for texts in (_names(job.contact), _numbers(job)))
    marked = [_NAME_MARK + name for name in names if name]
    return "".join([*marked, *(_SEPARATOR + number for number in numbers if number)])


def action_parts(action: ActionState) -> str:
    """The folded numbers of an action, as the column `parts` holds them."""
    return "".join(_SEPARATOR + fold_part(number) for number in _action_numbers(action))


def fold_part(text: str) -> str:
    """The text as `job_parts` and `action_parts` contain it."""
    return fold(text).replace(_SEPARATOR, " ")


def ngrams_of(word: str) -> tuple[list[str], bool]:
    """N-gram tokens that every row with this part of a word has, and whether every row with all of them has this part.

    Example: `sherbr` is one n-gram of six, which proves it; `sherbrooke` is `sherbr`, `rbrook` and `brooke`, which do not. Empty for a
    part that is too short.
    """
    if len(word) < SUBSTRING_CHARS_MIN:
        return [], True
    length = LONG_NGRAM_CHARS
    if len(word) < LONG_NGRAM_CHARS:
        length = LETTER_NGRAM_CHARS if len(word) >= LETTER_NGRAM_CHARS and word.isalpha() else SUBSTRING_CHARS_MIN
    exact = word.isascii() and len(word) == length
    starts = [*range(0, len(word) - length, LONG_NGRAM_STEP if length == LONG_NGRAM_CHARS else 1), len(word) - length]
    return [_ngram_token(word[start : start + length]) for start in starts], exact


def name_token(name: str) -> str:
    """The token of a name: its first six characters."""
    return f"n:{fold_part(name)[:NAME_PREFIX_CHARS]}"


def fills_name_token(beginning: str) -> bool:
    """True if all names with this beginning have the same name token."""
    return len(fold_part(beginning)) >= NAME_PREFIX_CHARS


def ngrams_of_name(beginning: str) -> list[str]:
    """N-gram tokens that every row with such a name has; other rows can have them, too."""
    return [ngram for word in words_of(fold_part(beginning)) for ngram in ngrams_of(word)[0]]


def marked_name(name: str) -> str:
    """The substring that `job_parts` contains if a name begins so."""
    return _NAME_MARK + fold_part(name)


def customer_key(contact: ContactState) -> str | None:
    """The key that identifies the customer: the phone number, else the e-mail address, else the name; None if all are missing."""
    if contact.phone:
        return token("p", contact.phone)
    if contact.email:
        return token("e", contact.email)
    names = " ".join(name for name in (contact.first_name, contact.last_name, contact.company) if name)
    return token("n", names) if names else None


def _job_tokens(job: JobState) -> Iterator[str]:
    contact, address = job.contact, job.address
    texts = (
        job.reference_id,
        job.short_description,
        contact.first_name,
        contact.last_name,
        contact.company,
        contact.email,
        address.raw,
        address.line1,
        address.line2,
        address.city,
        address.region,
        address.postal_code,
    )
    written = " ".join(text for text in texts if text)
    for word in words(" ".join((written, *job.invoices, *job.barcodes))):
        yield f"w:{word}"
    yield from (f"w:{part}" for part in parts_of_two(written))
    yield from map(name_token, _names(contact))
    if contact.phone:
        yield f"w:{contact.phone[1:]}"
        yield token("p", contact.phone)
    if contact.email:
        yield token("e", contact.email)
    if address.postal_code:
        yield token("z", address.postal_code)
    yield from (token("i", invoice) for invoice in job.invoices)
    yield from (token("b", barcode) for barcode in job.barcodes)
    yield from (token("t", tag) for tag in job.tags)
    yield from (metadata_token(key, value) for key, value in job.metadata.items())
    if job.distribution_location_id:
        yield token("d", job.distribution_location_id)
    if job.assigned_to:
        yield token("a", job.assigned_to)
    for action in job.actions:
        yield from _number_tokens(action)
    yield from _column_tokens(job)
    yield token("L", job.location_id)
    yield from time_buckets.bucket_tokens(
        "D", time_buckets.day_number(job.scheduled_date or time_buckets.UNSCHEDULED_DAY)
    )


def _column_tokens(row: JobState | ActionState) -> Iterator[str]:
    """Tokens of values that have a column of their own, so that one lookup serves any combination of conditions and time ranges."""
    yield token("S", row.status)
    yield token("T", row.type)
    yield from time_buckets.bucket_tokens("C", time_buckets.hour_number(row.created_at))
    yield from time_buckets.bucket_tokens("U", time_buckets.hour_number(row.updated_at))


def _names(contact: ContactState) -> Iterator[str]:
    full_name = " ".join(name for name in (contact.first_name, contact.last_name) if name)
    yield from (name for name in (full_name, contact.last_name, contact.company) if name)


def _numbers(job: JobState) -> Sequence[str]:
    contact = job.contact
    numbers = (job.reference_id, (contact.phone or "").lstrip("+"), contact.email, *job.invoices, *job.barcodes)
    return [number for number in numbers if number]


def _action_numbers(action: ActionState) -> Sequence[str]:
    numbers = (action.sku, action.barcode, action.invoice_number, action.external_reference_id)
    return [number for number in numbers if number]


def _ngrams(texts: Iterable[str]) -> Iterator[str]:
    """All n-gram tokens of the words of these texts."""
    for word in dict.fromkeys(word for text in texts for word in words_of(fold(text))):
        for length in (SUBSTRING_CHARS_MIN, LETTER_NGRAM_CHARS, LONG_NGRAM_CHARS):
            for start in range(len(word) - length + 1):
                ngram = word[start : start + length]
                if length != LETTER_NGRAM_CHARS or ngram.isalpha():
                    yield _ngram_token(ngram)


def _ngram_token(text: str) -> str:
    # A digest keeps other scripts short: all tokens of a row together must be smaller than a megabyte (PostgreSQL's limit).
    return f"g:{text}" if text.isascii() else f"g#{zlib.crc32(text.encode()):08x}"


def _number_tokens(action: ActionState) -> Iterable[str]:
    kinds: tuple[tuple[TokenKind, str | None], ...] = (
        ("s", action.sku),
        ("b", action.barcode),
        ("i", action.invoice_number),
        ("x", action.external_reference_id),
    )
    return (token(kind, value) for kind, value in kinds if value)
