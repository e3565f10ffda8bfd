"""`python -m bench.people`: the cost of lists and searches among ten thousand merchants, compared with that among a hundred.

Identity is whole, in this process, with its own PostgreSQL and Kafka. Both tenants are in one database, beside many small ones. Requests to
both come in turns, so that other load of the machine affects both; the time is that of the whole request.
"""

import statistics
import sys
import time
from collections.abc import Sequence

from bench.figures import Figure, Results
from bench.single import run
from shared.observability.logs import configure_logging
from tests.harness.client import Api
from tests.harness.identity import running
from tests.harness.merchant_stock import write_merchants
from tests.harness.people import Tenant
from tests.harness.stack import BackingStack

RUN_SECONDS_MAX = 300.0
FEW, MANY = 100, 10_000
NEIGHBOURS, OF_NEIGHBOUR = 5, 500
ROUNDS = 3
ASKED_TIMES = 100
WARMING_TIMES = 20
GROWTH_AIM = 2.0
NAMES = ("Boulangerie", "Fleuriste", "Librairie", "Quincaillerie", "Épicerie")

CASES: Sequence[tuple[str, str]] = (
    ("the first page", "/v1/merchants"),
    ("a merchant by number", "/v1/merchants?q=numero{number}"),
    ("a merchant by e-mail address", "/v1/merchants?q=m{number}@example.com"),
    ("a merchant by reference", "/v1/merchants?q=r-{number:06d}"),
    ("beginning of an address", "/v1/merchants?q=m{digit}&limit=10"),
    ("a word that a fifth has", "/v1/merchants?q=boul&limit=10"),
    ("a word that all have", "/v1/merchants?q=numero"),
    ("a word that nobody has", "/v1/merchants?q=zzz"),
    ("names for dispatchers", "/v1/directory/merchants?q=fleuriste%20numero{number}"),
)
"""What is requested, with a number that differs each time; pages of ten where a hundred merchants have fewer than fifty such."""


def _name(number: int) -> str:
    return f"{NAMES[number % len(NAMES)]} Numéro{number}"


async def _ask(api: Api, path: str, count: int, number: int) -> float:
    """The milliseconds of a request."""
    chosen = number * 7919 % count
    began = time.perf_counter()
    answer = await api.get(path.format(number=chosen, digit=chosen % 10))
    took = (time.perf_counter() - began) * 1e3
    assert answer.status_code == 200, answer.text
    return took


async def measure(backing: BackingStack, *, quick: bool) -> Results:
    """All cases with both tenants, in turns."""
    configure_logging("bench", "ERROR")
    results = Results(quick)
    async with running(backing, credential_rate_per_second=100_000, tenant_rate_per_second=100_000) as identity:
        few, many = await identity.create_tenant(), await identity.create_tenant()
        neighbours = [await identity.create_tenant() for _ in range(NEIGHBOURS)]
        stock: list[tuple[Tenant, int]] = [*((one, OF_NEIGHBOUR) for one in neighbours), (few, FEW), (many, MANY)]
        for tenant, count in stock:
            await write_merchants(identity.settings, tenant, count, _name)
        callers = [
            (await identity.log_in(few.id, few.owner_email), FEW),
            (await identity.log_in(many.id, many.owner_email), MANY),
        ]
        for name, path in CASES:
            rounds: dict[int, list[float]] = {FEW: [], MANY: []}
            for _ in range(1 if quick else ROUNDS):
                took: dict[int, list[float]] = {FEW: [], MANY: []}
                for number in range(WARMING_TIMES + ASKED_TIMES):
                    for api, count in callers:
                        spent = await _ask(api, path, count, number)
                        if number >= WARMING_TIMES:
                            took[count].append(spent)
                for count, times in took.items():
                    rounds[count].append(statistics.median(times))
            met = statistics.median(rounds[MANY]) <= GROWTH_AIM * statistics.median(rounds[FEW])
            results.figures.append(
                Figure(name, " ms", rounds[MANY], rounds[FEW], f"{FEW} merchants", f"≤ {GROWTH_AIM:.0f} ×", met)
            )
    return results


if __name__ == "__main__":
    sys.exit(run("people", "Searches among ten thousand merchants.", measure, seconds_max=RUN_SECONDS_MAX))
