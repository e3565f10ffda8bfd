"""What pages say of themselves is true: texts, permissions, calls. Nothing runs here."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from babel.messages.pofile import read_po
from jinja2 import nodes

from console.declarations import Page
from console.gateway import service_of
from console.menu import MENU
from console.pages import PAGES
from console.rendering import STATIC, TEMPLATES, create_environment
from deploy import browser_files, catalogues
from shared.chassis.static_files import StaticFiles
from tests.console.lint import faults

ROOT = Path(__file__).parents[2]
DOCUMENTS = ROOT / "tests/contracts/openapi"
WORDLESS = re.compile(r"[^\W\d_]")
TEXT_ATTRIBUTE = re.compile(r"\s(?:aria-label|title|placeholder|alt)=\"([^\"{]*[^\W\d_][^\"{]*)\"")
Text = str | tuple[str, ...] | list[str] | None
NAMES = frozenset({"Waybill", "px", "ms", "s", "KB", "id"})
"""What is the same in every language."""


def routes() -> dict[str, dict[str, Any]]:
    """Every route of every service, as pages name their calls."""
    found: dict[str, dict[str, Any]] = {}
    for service in ("identity", "billing", "jobs", "webhooks"):
        document = json.loads((DOCUMENTS / f"{service}.json").read_text())
        for path, operations in document["paths"].items():
            found |= {f"{service} {method.upper()} {path}": operation for method, operation in operations.items()}
    return found


ROUTES = routes()


def name_of(page: Page) -> str:
    return f"{page.method} {page.path}"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_a_page_declares_the_permissions_of_the_routes_that_it_calls(page: Page) -> None:
    unknown = [call for call in page.calls if call not in ROUTES]
    assert unknown == []
    needed = {ROUTES[call].get("x-required-permission") for call in page.calls} - {None}
    declared = set(page.permissions) | set(page.optional)
    if page.audience == "merchant":
        # Merchants hold what their account says; their pages are for them alone.
        assert declared == set()
    else:
        assert declared == needed


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_a_page_calls_what_its_audience_may_call(page: Page) -> None:
    kinds = {
        "anybody": "public",
        "staff": "session",
        "merchant": "merchant_session",
        "operator": "platform_key",
        "signed in": "",
    }
    wanted = kinds[page.audience]
    for call in page.calls:
        route = ROUTES[call]
        if wanted == "public":
            assert route["x-access"] == "public", call
        elif wanted:
            assert wanted in route["x-admits"] or route["x-access"] == "public", call


def test_each_route_of_the_api_is_handed_on_to_its_service() -> None:
    wrong = [
        route
        for route in ROUTES
        for service, _, path in [route.split(" ")]
        if service_of(path) != service and path not in ("/v1/auth/test", "/v1/permissions")
    ]

    assert wrong == []


def test_no_two_pages_have_one_address_or_one_place() -> None:
    addresses = [name_of(page) for page in PAGES]
    # A place may be taken by a page for staff and by one for merchants.
    places = [(page.menu, page.audience) for page in PAGES if page.menu and page.sample == page.path]
    known = {place.key for section in MENU for place in section.places}

    assert len(addresses) == len(set(addresses))
    assert len(places) == len(set(places))
    assert {page.menu for page in PAGES if page.menu} <= known


@pytest.mark.parametrize("language", catalogues.PLURAL_FORMS)
def test_every_text_is_translated_and_none_is_left_over(language: str) -> None:
    file = catalogues.file_of(language)
    with file.open("rb") as opened:
        catalogue = read_po(opened, locale=language)
    missing = [message.id for message in catalogue if message.id and not _is_translated(message.string)]
    altered = [
        message.id
        for message in catalogue
        if message.id and sorted(_names_in(message.id)) != sorted(_names_in(message.string))
    ]

    assert missing == [], "translate them"
    assert altered == [], "a translation fills in the same names"
    assert file.read_bytes() == catalogues.written(language), "bring it up to date: make contracts"


def _is_translated(text: Text) -> bool:
    return bool(text) if isinstance(text, str) else all(text or [""])


def _names_in(text: Text) -> set[str]:
    whole = text if isinstance(text, str) else " ".join(text or [])
    return set(re.findall(r"%\(\w+\)[sd]|\{\w+\}", whole))


def test_no_template_has_a_text_that_is_not_translated() -> None:
    environment = create_environment(StaticFiles(STATIC))
    found = []
    for file in sorted(TEMPLATES.rglob("*.html")):
        source = file.read_text()
        tree = environment.parse(source)
        # Joined, with a sign for what is filled in, so that a tag in pieces is still a tag.
        shown = "".join(
            part.data if isinstance(part, nodes.TemplateData) else "\N{OBJECT REPLACEMENT CHARACTER}"
            for output in tree.find_all(nodes.Output)
            for part in output.nodes
        )
        texts = re.sub(r"<(?:code|kbd)\b[^>]*>.*?</(?:code|kbd)>", " ", shown, flags=re.DOTALL)
        words = re.sub(r"<[^>]*>", " ", texts).split()
        found += [f"{file.relative_to(TEMPLATES)}: {word}" for word in words if _is_text(word)]
        found += [f"{file.relative_to(TEMPLATES)}: {text}" for text in TEXT_ATTRIBUTE.findall(source)]

    assert found == []


def _is_text(word: str) -> bool:
    """A word, and no piece of an attribute or of an id that a macro makes."""
    plain = word.strip(".,:;()[]'&·–—")
    glued = "\N{OBJECT REPLACEMENT CHARACTER}" in plain or '"' in plain or "=" in plain
    return bool(WORDLESS.search(plain)) and not glued and plain not in NAMES


def test_every_icon_that_is_shown_is_served() -> None:
    used = set()
    for file in TEMPLATES.rglob("*.html"):
        used |= set(re.findall(r"icon\(\"([a-z0-9-]+)\"\)|picture=\"([a-z0-9-]+)\"", file.read_text()))
    names = {name for pair in used for name in pair if name}
    names |= {place.icon for section in MENU for place in section.places}

    assert names - set(browser_files.ICONS) == set()


def test_templates_have_nothing_that_the_policy_refuses() -> None:
    assert faults() == []
