"""The types of problems: each code that the suite can answer has its page, in every service, and says what to do."""

import ast
import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from shared.api import problem_documents
from shared.problem_types import problem_types
from tests.harness.client import refused
from tests.harness.edge_app import EdgeTestApp, edge_database, run_edge_app
from tests.harness.stack import BackingStack

ROOT = Path(__file__).parents[2]
SOURCES = [ROOT / "shared/src", *(ROOT / "services").glob("*/src")]
WITH_A_CODE = {"_refuse": 1, "_refused": 1, "TokenRefused": 0, "document": 1, "_unavailable_response": 2}
"""Calls that take a problem's code as this positional argument."""
ANY_OTHER = "[a-z_]+"


def codes_in(tree: ast.AST) -> Iterator[str]:
    """Patterns of the problem codes in a module: as `code=…`, as a class's `code`, or given to one of `WITH_A_CODE`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            yield from (pattern(value) for value in class_codes(node))
        if isinstance(node, ast.FunctionDef):
            yield from (pattern(value) for value in defaults_of(node, "code"))
        if isinstance(node, ast.Call):
            yield from (pattern(keyword.value) for keyword in node.keywords if keyword.arg == "code")
            name = ast.unparse(node.func).rpartition(".")[2]
            place = WITH_A_CODE.get(name)
            if place is not None and len(node.args) > place:
                yield pattern(node.args[place])


def class_codes(node: ast.ClassDef) -> Iterator[ast.expr]:
    for statement in node.body:
        if isinstance(statement, ast.AnnAssign) and ast.unparse(statement.target) == "code" and statement.value:
            yield statement.value
        if isinstance(statement, ast.Assign):
            target, value = statement.targets[0], statement.value
            if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
                yield from (
                    one for name, one in zip(target.elts, value.elts, strict=True) if ast.unparse(name) == "code"
                )
            elif ast.unparse(target) == "code":
                yield value


def defaults_of(node: ast.FunctionDef, name: str) -> Iterator[ast.expr]:
    arguments = node.args.args[len(node.args.args) - len(node.args.defaults) :]
    yield from (value for argument, value in zip(arguments, node.args.defaults, strict=True) if argument.arg == name)


def pattern(value: ast.expr) -> str:
    """The value as a regular expression; what is only known at run time is any text."""
    if isinstance(value, ast.Constant):
        return re.escape(str(value.value)) if isinstance(value.value, str) else ""
    if isinstance(value, ast.JoinedStr):
        return "".join(
            re.escape(str(one.value)) if isinstance(one, ast.Constant) else ANY_OTHER for one in value.values
        )
    return ""


@pytest.fixture(scope="module")
async def edge(backing: BackingStack) -> AsyncIterator[EdgeTestApp]:
    async with run_edge_app(await edge_database(backing)) as running:
        yield running


@pytest.fixture(scope="module")
def patterns() -> set[str]:
    files = [file for source in SOURCES for file in source.rglob("*.py") if "migrations" not in file.parts]
    return {found for file in files for found in codes_in(ast.parse(file.read_text("utf-8"))) if found}


def test_every_code_in_the_source_has_its_page(patterns: set[str]) -> None:
    assert len(patterns) > 80
    assert [one for one in patterns if not any(re.fullmatch(one, code) for code in problem_types())] == []


def test_every_page_is_of_a_code_in_the_source(patterns: set[str]) -> None:
    text = "\n".join(file.read_text("utf-8") for source in SOURCES for file in source.rglob("*.py"))
    unused = [
        code
        for code in problem_types()
        if not any(re.fullmatch(one, code) for one in patterns) and f'"{code}"' not in text
    ]

    assert unused == []


@pytest.mark.parametrize("code", problem_types())
def test_every_page_says_when_and_what_to_do_with_a_valid_example(code: str) -> None:
    known = problem_types()[code]

    assert re.fullmatch("[a-z_]+", code)
    assert known.title[0].isupper()
    assert not known.title.endswith(".")
    assert known.when.endswith(".")
    assert known.remedy.endswith(".")
    problem_documents.example(code)


async def test_the_type_of_a_problem_leads_to_its_page(edge: EdgeTestApp) -> None:
    problem = refused(await edge.nobody.get("/v1/notes"), 401, "credentials_missing")

    page = await edge.nobody.get(problem["type"])
    html = await edge.nobody.get(problem["type"], headers={"Accept": "text/html,*/*;q=0.8"})

    assert page.json()["title"] == problem["title"]
    assert page.json()["status"] == 401
    assert page.json()["remedy"]
    assert page.json()["example"]["code"] == "credentials_missing"
    assert html.headers["content-type"].startswith("text/html")
    assert html.headers["vary"] == "Accept"
    assert problem["title"] in html.text
    policy = html.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "<script" not in html.text


async def test_all_problems_are_listed(edge: EdgeTestApp) -> None:
    listed = (await edge.nobody.get("/problems")).json()["data"]
    html = await edge.nobody.get("/problems", headers={"Accept": "text/html"})

    assert [one["code"] for one in listed] == list(problem_types())
    assert '<a href="/problems/invalid">' in html.text


@pytest.mark.parametrize("accept", ["text/html", "application/json"])
async def test_an_unknown_problem_has_no_page(edge: EdgeTestApp, accept: str) -> None:
    refused(await edge.nobody.get("/problems/<script>", headers={"Accept": accept}), 404, "route_not_found")
