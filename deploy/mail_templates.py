"""Compiles the layout of mails from MJML, and puts the words of all mails into the catalogs (`make contracts`).

What is compiled is committed, so that neither services nor images need the compiler; a test compares.
"""

import io
from pathlib import Path

import mrml
from babel.messages.catalog import Catalog
from babel.messages.extract import extract_from_dir
from babel.messages.pofile import read_po, write_po

FOLDER = Path(__file__).parents[1] / "services" / "identity" / "src" / "identity" / "mail"
SOURCE = FOLDER / "templates" / "layout.mjml"
COMPILED = FOLDER / "templates" / "layout.html"
CATALOGS = FOLDER / "locales"
LANGUAGES = ("fr",)
METHODS = [
    ("**.py", "python"),
    ("templates/layout.txt", "jinja2.ext.babel_extract"),
    ("templates/layout.mjml", "jinja2.ext.babel_extract"),
]
KEYWORDS = {"words": None, "count": (1, 2)}
LINE_LENGTH_MAX = 120
# Nothing that changes with the day or with who writes it.
HEADER = """msgid ""
msgstr ""
"Content-Type: text/plain; charset=utf-8\\n"
"Language: {language}\\n"
"Plural-Forms: nplurals=2; plural=(n > 1);\\n"

"""


def compile_layout() -> str:
    """The HTML of the layout; its Jinja is as in the source. Raises where the source is no good MJML."""
    compiled = mrml.to_html(SOURCE.read_text())
    if compiled.warnings:
        raise ValueError("; ".join(str(warning) for warning in compiled.warnings))
    return str(compiled.content) + "\n"


def update_catalog(language: str) -> str:
    """The catalog of a language with the words of all mails: what is new is untranslated, what is gone is gone."""
    template = Catalog(charset="utf-8")
    for name, _, message, comments, context in extract_from_dir(
        FOLDER, method_map=METHODS, options_map={"**": {"trimmed": "true"}}, keywords=KEYWORDS
    ):
        # Without line numbers: they would change with every line of code.
        template.add(message, None, [(name, 0)], auto_comments=comments, context=context)
    file = CATALOGS / f"{language}.po"
    present = file.read_bytes() if file.exists() else HEADER.format(language=language).encode()
    catalog = read_po(io.BytesIO(present), locale=language)
    catalog.update(template, no_fuzzy_matching=True)
    written = io.BytesIO()
    write_po(
        written,
        catalog,
        width=LINE_LENGTH_MAX,
        omit_header=True,
        ignore_obsolete=True,
        include_lineno=False,
        sort_output=True,
    )
    return HEADER.format(language=language) + written.getvalue().decode()


def main() -> None:
    """Write what has changed."""
    COMPILED.write_text(compile_layout())
    for language in LANGUAGES:
        (CATALOGS / f"{language}.po").write_text(update_catalog(language))


if __name__ == "__main__":
    main()
