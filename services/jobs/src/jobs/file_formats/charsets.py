"""The charsets of files: an import names one, or its file begins with a byte order mark; it is stored in UTF-8."""

import codecs
from collections.abc import Callable, Mapping
from types import MappingProxyType

from shared.errors import UnsupportedMediaType

UTF_8 = "utf-8"
_UTF_16_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_CODECS: Mapping[str, str] = MappingProxyType(
    {
        **dict.fromkeys((UTF_8, "utf8", "us-ascii", "ascii"), UTF_8),
        **{name: name for name in ("utf-16", "utf-16le", "utf-16be")},
        **{f"windows-{number}": f"cp{number}" for number in (874, *range(1250, 1259))},
        # What is called Latin-1 is Windows-1252 in practice, as in browsers.
        **dict.fromkeys(("iso-8859-1", "latin1"), "cp1252"),
        **{f"iso-8859-{part}": f"iso8859-{part}" for part in (*range(2, 11), *range(13, 17))},
        "macintosh": "mac-roman",
        "ibm437": "cp437",
        "ibm850": "cp850",
        "koi8-r": "koi8-r",
        "koi8-u": "koi8-u",
        "shift_jis": "cp932",
        "euc-jp": "euc-jp",
        "gbk": "gbk",
        "gb18030": "gb18030",
        "big5": "big5",
        "euc-kr": "cp949",
    }
)
"""The codec of each charset that a request can name."""
CHARSETS = tuple(_CODECS)


def require_charset(name: str | None) -> str | None:
    """The charset that a request names, or None. Raises `UnsupportedMediaType` for an unknown one."""
    if name is not None and name not in _CODECS:
        raise UnsupportedMediaType(
            f"the charset {name[:40]!r} is not known: send the file in UTF-8", accepted=list(CHARSETS)
        )
    return name


def charset_of(beginning: bytes, named: str | None) -> str:
    """The charset of a file that begins so."""
    return named or ("utf-16" if beginning.startswith(_UTF_16_MARKS) else UTF_8)


def to_utf8(charset: str) -> Callable[[bytes, bool], bytes] | None:
    """Converts the pieces of a file, the last one with True; None if it is in UTF-8. What is no text becomes a byte that is no UTF-8."""
    if _CODECS[charset] == UTF_8:
        return None
    decoder = codecs.getincrementaldecoder(_CODECS[charset])(errors="replace")

    def convert(piece: bytes, last: bool) -> bytes:
        text = decoder.decode(piece, last)
        return text.replace("\N{REPLACEMENT CHARACTER}", "\udcff").encode(errors="surrogateescape")

    return convert
