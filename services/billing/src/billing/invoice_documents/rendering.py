"""Makes the documents: Typst draws, factur-x writes the XML, checks it against its schema, and puts it into the PDF."""

import json
from functools import cache
from importlib.resources import files
from typing import Any

import facturx
import typst

PROFILE = "en16931"
_TIMESTAMP_OF_DRAWING = 0
"""The same invoice is always drawn as the same bytes."""


def xml_of(terms: dict[str, Any]) -> bytes:
    """The invoice for programs, by its business terms. Raises when it breaks the schema."""
    # The library may change what it is given.
    written = facturx.generate_cii_xml(dict(terms), level=PROFILE, check_xsd=True, check_schematron=False)
    assert isinstance(written, bytes)
    return written


def draw(texts: dict[str, Any]) -> bytes:
    """The invoice for readers, as a PDF."""
    return typst.compile(
        _template(),
        sys_inputs={"invoice": json.dumps(texts)},
        format="pdf",
        pdf_standards=["a-3b"],
        timestamp=_TIMESTAMP_OF_DRAWING,
        ignore_system_fonts=True,
    )


def pdf_of(texts: dict[str, Any], xml: bytes) -> bytes:
    """The invoice for readers, with the one for programs inside."""
    described = {
        "author": texts["seller"]["name"],
        "title": texts["title"],
        "subject": texts["title"],
        "keywords": texts["number"],
    }
    made = facturx.generate_from_binary(
        draw(texts),
        xml,
        flavor="factur-x",
        level=PROFILE,
        check_xsd=False,
        pdf_metadata=described,
        lang=texts["language"],
    )
    assert isinstance(made, bytes)
    return made


@cache
def _template() -> bytes:
    return files("billing.invoice_documents").joinpath("invoice.typ").read_bytes()
