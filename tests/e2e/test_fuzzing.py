"""What a tool makes of the published documents: thousands of requests, valid and not, alone and in chains, against running services.

Every answer must be one that the document lists, with the body that it describes; nothing invalid may be accepted, nothing valid refused
for its form, and nothing may end in a 5xx.
"""

import asyncio
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest

from deploy.devstack.forks import Forker, forking, start
from tests.harness.effort import FACTOR, SEED
from tests.harness.people import Tenant
from tests.harness.suite import Suite

SETTINGS = Path(__file__).with_name("schemathesis.toml")
EXAMPLES = 2 if FACTOR == 1 else 4 * FACTOR
PHASES = "examples,coverage,fuzzing"
LIMITS_TRIED_AT = ("/v1/jobs/{job_id}/actions", "/v1/locations", "/v1/billing/subscription", "/v1/webhook-endpoints")
"""Routes at which every run tries the limits of each value: nine tenths of all requests would be for those. A long run tries them at
every route."""
CHAINS = 10 if FACTOR == 1 else 20 * FACTOR
SECONDS_MAX = 480 * FACTOR
ANSWER_SECONDS_MAX = 60
"""On a machine that is busy with other things: how fast answers are is measured elsewhere."""
pytestmark = [pytest.mark.fuzz, pytest.mark.timeout(SECONDS_MAX + 30, func_only=True)]
PLAIN_TEXT = "^[A-Za-z0-9 ]*[A-Za-z0-9]$"
SAMPLES: dict[str, Any] = {
    "contact": {"enum": [{"first_name": "Ada", "phone": "+15145550100"}, {"company": "Caf\u00e9"}]},
    "address": {"enum": [{"raw": "1 Rue Sherbrooke"}, {"line1": "1 Rue X", "country": "CA"}]},
    "balance_owed": {"enum": [None, {"amount": 100, "currency": "CAD"}]},
    "phone": {"enum": ["+15145550100", "+442079460958"]},
    "email": {"enum": ["ada@example.com"]},
    "timezone": {"enum": ["America/Montreal"]},
    "currency": {"enum": ["CAD"]},
    "country": {"enum": ["CA"]},
    "time_window": {"enum": [None, {"start": "08:00", "end": "12:00"}]},
    "metadata": {"enum": [{}, {"shop": "7"}]},
    "reference_id": {"enum": [None, "A-1", "A-2", "A-3"]},
    "stop": {"type": "null"},
}
"""Properties whose values a schema describes only roughly."""
CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "negative_data_rejection",
    "unsupported_method",
    "allow_header_conformance",
    "use_after_free",
    "ignored_auth",
)


async def fuzz(
    url: str,
    headers: Mapping[str, str],
    home: Path,
    forker: Forker | None,
    *,
    phases: str = PHASES,
    mode: str = "all",
    ids: Mapping[str, str] | None = None,
) -> None:
    """Fails with what the tool found. With `ids`, by prefix, it works with a document of which every valid request can succeed."""
    async with httpx.AsyncClient(trust_env=False, timeout=ANSWER_SECONDS_MAX) as client:
        document = (await client.get(f"{url}/openapi.json")).json()
    described = home / "openapi.json"
    described.write_text(json.dumps(document if ids is None else of_valid_requests(document, ids)))
    settings = home / SETTINGS.name
    settings.write_text(SETTINGS.read_text() + ("" if FACTOR > 1 else fewer_limits(document["paths"])))
    command = [
        *("tests.harness.fuzzer", "--config-file", str(settings), "run", str(described)),
        *("--url", url, "--phases", phases, "--mode", mode, "--checks", ",".join(CHECKS)),
        # Chains are for what becomes of rows; that nobody gets in without credentials is looked at elsewhere, request by request.
        *(("--exclude-checks", "ignored_auth") if phases == "stateful" else ()),
        *(
            "--max-examples",
            str(CHAINS if phases == "stateful" else EXAMPLES),
            "--seed",
            str(SEED),
            "--generation-database",
            "none",
        ),
        *("--workers", "1", "--warnings", "off", "--no-color", "--request-timeout", str(ANSWER_SECONDS_MAX)),
        *(part for name, value in headers.items() for part in ("-H", f"{name}: {value}")),
    ]
    # Nothing is asked through a proxy that the environment names: this is loopback.
    report = home / f"report-{phases}"
    process = start(command, {"NO_PROXY": "*"}, output=report, forker=forker)
    try:
        status = await asyncio.to_thread(process.wait, SECONDS_MAX)
    finally:
        process.kill()
    assert status == 0, report.read_text()[-20_000:]


def fewer_limits(paths: Iterable[str]) -> str:
    """Settings of the tool that leave out the limits of values, except at one route of each service."""
    return "".join(
        f'\n[[operations]]\ninclude-path = "{path}"\nphases.coverage.enabled = false\n'
        for path in paths
        if path not in LIMITS_TRIED_AT
    )


def of_valid_requests(document: dict[str, Any], ids: Mapping[str, str]) -> dict[str, Any]:
    """The document with samples in all that requests are made of; what answers look like stays."""
    schemas = document["components"]["schemas"]
    waiting = [
        operation[part]
        for path in document["paths"].values()
        for operation in path.values()
        for part in ("requestBody", "parameters")
        if part in operation
    ]
    sent: set[str] = set()
    while waiting:
        found = set(re.findall(r"#/components/schemas/(\w+)", json.dumps(waiting.pop()))) - sent
        sent |= found
        waiting += [schemas[name] for name in found]
    for name in sent:
        schemas[name] = with_samples(schemas[name], ids)
    # Who is no merchant has to say whose a job is.
    schemas["JobIn"]["required"].append("merchant_id")
    link_jobs(document)
    return document


def link_jobs(document: dict[str, Any]) -> None:
    """Say in the document that a job that was created opens all routes of that job, and likewise for actions."""
    operations = [(path, one) for path, methods in document["paths"].items() for one in methods.values()]
    made = {"create_job": {"job_id": "id"}, "add_action": {"job_id": "job_id", "action_id": "id"}}
    for _, source in operations:
        known = made.get(source["operationId"], {})
        links = {
            target["operationId"]: {
                "operationId": target["operationId"],
                "parameters": {name: f"$response.body#/{known[name]}" for name in asked},
            }
            for path, target in operations
            if (asked := set(re.findall(r"{(\w+)}", path))) and asked <= known.keys()
        }
        if links:
            source["responses"]["201"]["links"] = links


def with_samples(node: Any, ids: Mapping[str, str]) -> Any:
    """A schema with samples and plain text where it says less than all that a value has to be."""
    if isinstance(node, list):
        return [with_samples(one, ids) for one in node]
    if not isinstance(node, dict):
        return node
    if node.get("type") == "integer":
        # A whole number may also be written with a fraction of zero, which these fields do not take.
        return {"type": "integer", "enum": sorted({node.get("minimum", 0), node.get("minimum", 0) + 2})}
    prefix = str(node.get("pattern", "")).removeprefix("^").partition("_")[0]
    if prefix in ids:
        return {**node, "type": "string", "enum": [ids[prefix]], "examples": [ids[prefix]]}
    if node.get("type") == "string" and not node.keys() & {"enum", "const", "format"}:
        return node if "pattern" in node else {**node, "pattern": PLAIN_TEXT}
    replaced = {name: with_samples(value, ids) for name, value in node.items()}
    properties = replaced.get("properties")
    if isinstance(properties, dict):
        replaced["properties"] = properties | {name: one for name, one in SAMPLES.items() if name in properties}
    return replaced


@pytest.fixture(scope="module")
def fuzzers() -> Iterator[Forker | None]:
    """What starts the fuzzer's processes; None where they start from nothing."""
    with forking("tests.harness.fuzzer") as forker:
        yield forker


@pytest.mark.parametrize("who", ["merchant", "platform"])
async def test_jobs_keeps_to_its_document(
    suite: Suite, tenant: Tenant, who: str, tmp_path: Path, fuzzers: Forker | None
) -> None:
    if who == "merchant":
        headers = (await (await tenant.create_merchant()).reveal()).headers
        await fuzz(suite.urls["jobs"], headers, tmp_path, fuzzers)
    else:
        await fuzz(suite.urls["jobs"], {**suite.platform.headers, "X-Tenant-Id": tenant.id}, tmp_path, fuzzers)


async def test_jobs_keeps_to_its_document_in_chains_of_requests(
    suite: Suite, tenant: Tenant, tmp_path: Path, fuzzers: Forker | None
) -> None:
    merchant = await tenant.create_merchant()
    ids = {"loc": tenant.default_location, "mer": merchant.id}

    for headers in ((await merchant.reveal()).headers, {**suite.platform.headers, "X-Tenant-Id": tenant.id}):
        await fuzz(suite.urls["jobs"], headers, tmp_path, fuzzers, phases="stateful", mode="positive", ids=ids)


@pytest.mark.parametrize("service", ["identity", "billing", "webhooks"])
async def test_each_service_keeps_to_its_document(
    suite: Suite, tenant: Tenant, service: str, tmp_path: Path, fuzzers: Forker | None
) -> None:
    await fuzz(suite.urls[service], {**suite.platform.headers, "X-Tenant-Id": tenant.id}, tmp_path, fuzzers)
