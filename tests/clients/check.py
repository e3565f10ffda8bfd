"""Make clients of the documents that the running services serve, compile them, and use them (`make clients-check`).

The clients of all services are compiled. Those of jobs run against a suite of this program's own: each creates jobs, pages through them,
is refused, and imports a file, for a merchant of its own, and says what it saw.
"""

import asyncio
import shutil
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx

from tests.clients.generators import GENERATORS, WALKING_SERVICE, Failed, Generator, install, run
from tests.harness.people import Merchant
from tests.harness.stack import start_backing_stack
from tests.harness.suite import CHEAP_HASHES, SERVICES, Suite

AT_ONCE = 2
SHEET = (
    "reference_id,contact.first_name,contact.phone,address.raw\n"
    'I-1,Ada,+15145550100,"1 Rue Sherbrooke, Montréal"\n'
    'I-2,Ada,+15145550100,"2 Rue Sherbrooke, Montréal"\n'
)
SEEN = """\
created C-1 new 0
created C-2 new 0
created C-3 new 0
paged 2 3
refused 422 invalid /contact/phone
imported succeeded 2 0
"""
"""What every program says."""
REFERENCES = ["C-1", "C-2", "C-3", "I-1", "I-2"]


def main() -> int:
    """0 when every generator did all of it."""
    missing = sorted({name for one in GENERATORS for name in one.needs if shutil.which(name) is None})
    if missing:
        sys.stderr.write(f"clients-check: not on the path: {', '.join(missing)}\n")
        return 1
    with TemporaryDirectory(prefix="waybill-clients-") as folder:
        try:
            install()
            return asyncio.run(_check(Path(folder)))
        except Failed as error:
            sys.stderr.write(f"clients-check: {error}\n")
            return 1


async def _check(folder: Path) -> int:
    """0 when every generator did all of it; a suite runs meanwhile."""
    backing = start_backing_stack(folder / "stack")
    try:
        suite = await asyncio.to_thread(Suite, backing, folder, CHEAP_HASHES)
        await suite.start()
        try:
            return await _use_all(suite, folder)
        finally:
            await suite.stop()
    finally:
        await asyncio.to_thread(backing.stop)


async def _use_all(suite: Suite, folder: Path) -> int:
    documents = {service: await _document(suite, service, folder) for service in SERVICES}
    (folder / "jobs.csv").write_text(SHEET)
    tenant = await suite.create_tenant()
    merchants = {one.name: await tenant.create_merchant() for one in GENERATORS}
    turns = asyncio.Semaphore(AT_ONCE)

    async def check(one: Generator) -> bool:
        async with turns:
            started = time.monotonic()
            merchant = merchants[one.name]
            await merchant.reveal()
            wrong = await asyncio.to_thread(_use, one, documents, folder, suite.urls[WALKING_SERVICE], merchant)
            if wrong is None:
                wrong = await _differs(merchant)
            print(
                f"{one.name:26} {time.monotonic() - started:6.1f} s  {'good' if wrong is None else wrong}", flush=True
            )
            return wrong is None

    results = await asyncio.gather(*map(check, GENERATORS))
    return 0 if all(results) else 1


async def _document(suite: Suite, service: str, folder: Path) -> Path:
    """The document that a service serves, as a file."""
    answer: httpx.Response = await suite.client.get(f"{suite.urls[service]}/openapi.json")
    file = folder / f"{service}.json"
    file.write_bytes(answer.content)
    return file


def _use(one: Generator, documents: Mapping[str, Path], folder: Path, url: str, merchant: Merchant) -> str | None:
    """What is wrong, or None."""
    environment = {
        "WAYBILL_URL": url,
        "WAYBILL_ACCOUNT_ID": merchant.account_id,
        "WAYBILL_AUTH_KEY": merchant.key,
        "WAYBILL_FILE": str(folder / "jobs.csv"),
    }
    try:
        for service, document in documents.items():
            one.make(service, document, folder)
        said = run(*one.program(folder), folder=folder, environment=environment)
    except Failed as error:
        return str(error)
    return None if said == SEEN else f"it said\n{said}instead of\n{SEEN}"


async def _differs(merchant: Merchant) -> str | None:
    """How the merchant's jobs differ from those that a program creates, or None."""
    page = await merchant.api.at(WALKING_SERVICE).read("/v1/jobs", params={"sort": "created_at"})
    found = sorted(job["reference_id"] for job in page["data"])
    return None if found == REFERENCES else f"the jobs are {found} instead of {REFERENCES}"


if __name__ == "__main__":
    sys.exit(main())
