"""How texts are compared in searches: folded (case, accents, invisible characters), and broken into words.

What is stored and what is searched for go through the same functions, so they cannot differ. A word is a run of letters, marks and digits;
scripts that write no spaces between words are found by parts of two characters, too. Services store what comes of this: with every change
of these rules they have to rebuild it.
"""

import re
import unicodedata
from collections.abc import Iterator

import regex

WORD_CHARS_MAX = 40
FREE_TEXT_WORDS_MAX = 10
"""Words of a free text (`q`)."""

_ASCII_WORD = re.compile(r"[^\W_]+")
_WORD = regex.compile(r"[\p{L}\p{N}][\p{L}\p{N}\p{M}]*")
"""As Unicode breaks words (UAX 29), marks belong to the letter before them; but points and underscores end a word, so that parts of a
number are found."""
_UNSPACED = regex.compile(
    r"[\p{Han}\p{Hiragana}\p{Katakana}\u30fc\p{Bopomofo}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}\p{Tibetan}][\p{M}"
    r"\p{Han}\p{Hiragana}\p{Katakana}\u30fc\p{Bopomofo}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}\p{Tibetan}]*"
)
"""Text in scripts that write no spaces between words."""
PART_CHARS = 2
"""Length of the parts by which such text is found."""
_INVISIBLE = regex.compile(r"[\p{Cf}\p{Variation_Selector}\u034f\u115f\u1160\u3164\uffa0]+")
_UNDECOMPOSED = str.maketrans(
    {
        **dict(zip("łøđıħŧƀƶɨɉŀɖɓɗƙ", "lodihtbzijldbdk", strict=True)),
        **dict.fromkeys("ʼʻʹ", ""),
        "æ": "ae",
        "œ": "oe",
        "ð": "d",
        "þ": "th",
        "ŋ": "ng",
        "ĸ": "k",
        "ə": "e",
    }
)
"""Letters that differ by a stroke or a join, which Unicode does not decompose, as people type them without. `ß` is folded with the case."""
_PHONE_LIKE = re.compile(r"\+?[\d\s().\-/]+")
_PHONE_DIGITS_MIN = 6


def fold(text: str) -> str:
    """The text in lower case, without accents and invisible characters, with single spaces."""
    if text.isascii():
        return " ".join(text.lower().split())
    decomposed = unicodedata.normalize("NFKD", _INVISIBLE.sub("", text))
    plain = "".join(character for character in decomposed if not unicodedata.combining(character))
    return " ".join(plain.casefold().translate(_UNDECOMPOSED).split())


def words(text: str) -> list[str]:
    """The folded words of a text."""
    return [word[:WORD_CHARS_MAX] for word in words_of(fold(text))]


def parts_of_two(text: str) -> Iterator[str]:
    """The parts of a text that is written without spaces: each character, and each two that follow one another."""
    if not text.isascii():
        for run in _UNSPACED.findall(fold(text)):
            yield from run
            yield from (run[start : start + PART_CHARS] for start in range(len(run) - 1))


def words_of(folded: str) -> list[str]:
    """The words of a text that is folded already, as long as they are."""
    return _ASCII_WORD.findall(folded) if folded.isascii() else _WORD.findall(folded)


def parse_free_text(text: str) -> list[list[str]]:
    """The alternatives that a free text asks for; of one alternative, all words must be found.

    A text in a script that writes no spaces has another alternative: its parts of two. So has a text that looks like a phone number: its
    digits as one word, as phone numbers are indexed.
    Example: `514 555-0100` is `[["514", "555", "0100"], ["5145550100"]]`.
    """
    alternatives = [list(dict.fromkeys(words(text)))]
    if not text.isascii() and _UNSPACED.search(fold(text)):
        alternatives.append(list(dict.fromkeys(_wanted_parts(text)))[:FREE_TEXT_WORDS_MAX])
    digits = "".join(character for character in text if character.isdigit())
    if _PHONE_LIKE.fullmatch(text.strip()) and len(digits) >= _PHONE_DIGITS_MIN:
        alternatives.append([digits])
    return [found for place, found in enumerate(alternatives) if found and found not in alternatives[:place]]


def _wanted_parts(text: str) -> Iterator[str]:
    """What a row must have for this text: words, and of a run without spaces as few parts of two as cover it."""
    for word in words_of(fold(text)):
        place = 0
        for run in _UNSPACED.finditer(word):
            if run.start() > place:
                yield word[place : run.start()]
            place, found = run.end(), run.group()
            yield from (found[start : start + PART_CHARS] for start in range(0, len(found) - 1, PART_CHARS))
            if len(found) % PART_CHARS:
                yield found[-PART_CHARS:]
        if word[place:]:
            yield word[place:]
