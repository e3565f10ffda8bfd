"""Tokens by which jobs and actions are found: those that a row is indexed under, and those that a search asks for.

A token is a kind and a folded value, such as `t:fragile` (a tag) or `w:sofa` (a word); all tokens of a row are one set under one
index, so any combination of conditions is one lookup. Substrings of names and numbers are found by n-grams of three and of six
characters, and of four letters; the rows found are compared with the folded names and numbers, which are stored beside the tokens.
Both sides are folded (case, accents) here, so they can never differ.
"""

import hashlib
import re
import unicodedata
import zlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Literal

from jobs.search_index import time_buckets
from shared.events.jobs import ActionState, ContactState, JobState

TokenKind = Literal["w", "g", "p", "e", "n", "z", "i", "b", "t", "m", "s", "x", "d", "a", "S", "T", "L", "N", "M", "V"]
"""Word, piece of a word, phone, e-mail, beginning of a name, postal code, invoice, barcode, tag, metadata, SKU, external reference,
distribution location, assignee; status, type, location, tenant, merchant; the rules by which it was filed."""

TOKENIZER_VERSION = "V:3"
"""A term of every row that is filed by the rules of this module. Change it with them: rows without it are filed anew."""
TOKEN_BYTES_MAX = 100
"""A longer one is filed under its digest: equality is all that is asked of it."""
WORD_CHARS_MAX = 40
SUBSTRING_CHARS_MIN = 3
"""Fewer would be in nearly every name."""
LONG_NGRAM_CHARS = 6
"""Of a part that is as long pieces of this length are looked up: there are few rows for each. Of a shorter one, those of three."""
LONG_NGRAM_STEP = 3
"""How far from each other the pieces of six lie that are looked up: they overlap, so that few other rows have them all."""
LETTER_NGRAM_CHARS = 4
"""Of a shorter part that is letters alone, these: names have much in common, and people search for short ones."""
NAME_PREFIX_CHARS = 6
"""So much of the beginning of a name is a term."""
FREE_TEXT_WORDS_MAX = 10

_WORD = re.compile(r"[^\W_]+")
_PHONE_LIKE = re.compile(r"\+?[\d\s().\-/]+")
_PHONE_DIGITS_MIN = 6
_SEPARATOR = "|"
_NAME_MARK = "||"
"""What stands before a name, and never before a number."""


def fold(text: str) -> str:
    """The text without case and accents, its white space single."""
    if not text.isascii():
        decomposed = unicodedata.normalize("NFKD", text)
        text = "".join(character for character in decomposed if not unicodedata.combining(character))
    return " ".join(text.casefold().split())


def token(kind: TokenKind, value: str) -> str:
    """The term under which a value is filed and asked for."""
    folded = fold(value)
    if kind == "z":
        folded = folded.replace(" ", "")
    if len(folded.encode()) > TOKEN_BYTES_MAX:
        return f"{kind}#{hashlib.blake2b(folded.encode(), digest_size=16).hexdigest()}"
    return f"{kind}:{folded}"


def metadata_token(key: str, value: str) -> str:
    """The term of one entry of metadata."""
    return token("m", f"{key}={value}")


def words(text: str) -> list[str]:
    """The folded words of a text."""
    return [word[:WORD_CHARS_MAX] for word in _WORD.findall(fold(text))]


def job_tokens(job: JobState, tenant_id: str) -> list[str]:
    """All terms of a job, each once, those of its actions' numbers included."""
    pieces = _ngrams((*_names(job.contact), *_numbers(job)))
    owners = (token("N", tenant_id), token("M", job.merchant_id))
    return list(dict.fromkeys([*_job_tokens(job), *pieces, *owners, TOKENIZER_VERSION]))


def action_tokens(action: ActionState, tenant_id: str, merchant_id: str) -> list[str]:
    """All terms of an action, each once."""
    numbers = _action_numbers(action)
    found = {f"w:{word}" for text in (action.description, *numbers) if text for word in words(text)}
    owners = (token("N", tenant_id), token("M", merchant_id))
    return sorted(
        found.union(_ngrams(numbers), _number_tokens(action), _column_tokens(action), owners, (TOKENIZER_VERSION,))
    )


def job_parts(job: JobState) -> str:
    """Names and numbers of a job, folded."""
    names, numbers = (dict.fromkeys(map(fold_part, texts)) for texts in (_names(job.contact), _numbers(job)))
    marked = [_NAME_MARK + name for name in names if name]
    return "".join([*marked, *(_SEPARATOR + number for number in numbers if number)])


def action_parts(action: ActionState) -> str:
    """The numbers of an action, folded."""
    return "".join(_SEPARATOR + fold_part(number) for number in _action_numbers(action))


def fold_part(text: str) -> str:
    """The text as `job_parts` and `action_parts` hold it."""
    return fold(text).replace(_SEPARATOR, " ")


def ngrams_of(word: str) -> tuple[list[str], bool]:
    """Terms that each row with this part of a word has, some of them; whether no other row has them all. None of what is too short."""
    if len(word) < SUBSTRING_CHARS_MIN:
        return [], True
    length = LONG_NGRAM_CHARS
    if len(word) < LONG_NGRAM_CHARS:
        length = LETTER_NGRAM_CHARS if len(word) >= LETTER_NGRAM_CHARS and word.isalpha() else SUBSTRING_CHARS_MIN
    exact = word.isascii() and len(word) == length
    starts = [*range(0, len(word) - length, LONG_NGRAM_STEP if length == LONG_NGRAM_CHARS else 1), len(word) - length]
    return [_ngram_token(word[start : start + length]) for start in starts], exact


def name_token(name: str) -> str:
    """The term under which a name is filed, and one that begins so where the beginning is as long."""
    return f"n:{fold_part(name)[:NAME_PREFIX_CHARS]}"


def fills_name_token(beginning: str) -> bool:
    """Whether all names that begin so are filed under one term."""
    return len(fold_part(beginning)) >= NAME_PREFIX_CHARS


def ngrams_of_name(beginning: str) -> list[str]:
    """Terms that each row with a name that begins so has; others have them, too."""
    return [piece for word in _WORD.findall(fold_part(beginning)) for piece in ngrams_of(word)[0]]


def marked_name(name: str) -> str:
    """What `job_parts` has of a name that begins so."""
    return _NAME_MARK + fold_part(name)


def parse_free_text(text: str) -> list[list[str]]:
    """What a free text asks for: alternatives, each of words that are all to be found.

    One that looks like a phone number may also mean a single word of its digits, which is how phone numbers are filed.
    """
    alternatives = [list(dict.fromkeys(words(text)))]
    digits = "".join(character for character in text if character.isdigit())
    if _PHONE_LIKE.fullmatch(text.strip()) and len(digits) >= _PHONE_DIGITS_MIN:
        alternatives.append([digits])
    return [asked for place, asked in enumerate(alternatives) if asked and asked not in alternatives[:place]]


def customer_key(contact: ContactState) -> str | None:
    """What tells one customer from another: the phone number, else the e-mail address, else the name; None for nobody."""
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
        *job.invoices,
        *job.barcodes,
    )
    for word in words(" ".join(text for text in texts if text)):
        yield f"w:{word}"
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
    """What has a column of its own is a term, too: any mixture of conditions, and a span of time, is then found at once."""
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
    """The terms of all pieces of the words of these texts."""
    for word in dict.fromkeys(word for text in texts for word in _WORD.findall(fold(text))):
        for length in (SUBSTRING_CHARS_MIN, LETTER_NGRAM_CHARS, LONG_NGRAM_CHARS):
            for start in range(len(word) - length + 1):
                piece = word[start : start + length]
                if length != LETTER_NGRAM_CHARS or piece.isalpha():
                    yield _ngram_token(piece)


def _ngram_token(text: str) -> str:
    # Of other letters a digest, for all terms of a row together have to stay below PostgreSQL's limit of a megabyte.
    return f"g:{text}" if text.isascii() else f"g#{zlib.crc32(text.encode()):08x}"


def _number_tokens(action: ActionState) -> Iterable[str]:
    kinds: tuple[tuple[TokenKind, str | None], ...] = (
        ("s", action.sku),
        ("b", action.barcode),
        ("i", action.invoice_number),
        ("x", action.external_reference_id),
    )
    return (token(kind, value) for kind, value in kinds if value)
