"""The texts of the console: brings the catalogue of each language up to date with the code and the templates.

    python -m deploy.catalogues

A part of `make contracts`. Catalogues are sorted and without line numbers, so that changes of two people meet as seldom as can be; a new
text is added without a translation, which a test then asks for.
"""

import sys
from io import BytesIO
from pathlib import Path

from babel.messages.catalog import Catalog
from babel.messages.extract import extract_from_dir
from babel.messages.pofile import read_po, write_po

ROOT = Path(__file__).parents[1]
CONSOLE = ROOT / "services/console/src/console"
PLURAL_FORMS = {"fr": "nplurals=2; plural=(n > 1);"}
"""The languages, and how each counts."""
METHODS = [("**.py", "python"), ("templates/**.html", "jinja2")]
KEYWORDS = {"_": None, "gettext": None, "mark": None, "ngettext": (1, 2)}
LINE_LENGTH = 120


def extracted() -> Catalog:
    """The texts as they are in the code and the templates now."""
    catalogue = Catalog(project="Waybill console", fuzzy=False)
    options = {"**.html": {"trimmed": "false", "silent": "false"}}
    for _, _, text, _, _ in extract_from_dir(CONSOLE, METHODS, options_map=options, keywords=KEYWORDS):
        catalogue.add(text)
    return catalogue


def file_of(language: str) -> Path:
    return CONSOLE / "locale" / language / "LC_MESSAGES" / "console.po"


def written(language: str) -> bytes:
    """The catalogue of a language, up to date."""
    file = file_of(language)
    present = read_po(BytesIO(file.read_bytes() if file.exists() else b""), locale=language, domain="console")
    catalogue = Catalog(locale=language, fuzzy=False)
    catalogue.mime_headers = [("Plural-Forms", PLURAL_FORMS[language])]
    for message in extracted():
        if message.id:
            known = present.get(message.id)
            catalogue.add(message.id, known.string if known is not None else "", flags=message.flags)
    text = BytesIO()
    write_po(text, catalogue, width=LINE_LENGTH, no_location=True, omit_header=True, sort_output=True)
    header = f'msgid ""\nmsgstr ""\n"Language: {language}\\n"\n"Content-Type: text/plain; charset=utf-8\\n"\n'
    plural = f'"Plural-Forms: {PLURAL_FORMS[language]}\\n"\n\n'
    return (header + plural).encode() + text.getvalue()


def main() -> int:
    """Write them."""
    for language in PLURAL_FORMS:
        file_of(language).parent.mkdir(parents=True, exist_ok=True)
        file_of(language).write_bytes(written(language))
    return 0


if __name__ == "__main__":
    sys.exit(main())
