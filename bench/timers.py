"""`python -m bench.timers`: how late trials end when ten thousand of them end in one minute, and all at once."""

import asyncio
import sys
from datetime import UTC, datetime, timedelta

from bench.billing_stage import COUNT, BillingStage, on_stage
from bench.figures import Figure, Results
from bench.single import run

SPREAD = timedelta(minutes=1)
LEAD = timedelta(seconds=30)
"""Longer than it takes to write the trials: the worker begins before the first is due."""
LATE_AIM_SECONDS = 5.0
ROUNDS = 3
RUN_SECONDS_MAX = 600.0

_DUE = "SELECT FROM subscriptions WHERE status = 'trialing' AND trial_ends_at <= clock_timestamp()"
_OLDEST = """
    SELECT coalesce(extract(epoch FROM max(clock_timestamp() - trial_ends_at)), 0)::float8
    FROM subscriptions WHERE status = 'trialing' AND trial_ends_at <= clock_timestamp()
"""
_BARE = (
    "UPDATE subscriptions SET status = 'expired', trial_outcome = 'expired', version = version + 1, updated_at = now()"
)


async def measure(stage: BillingStage, *, quick: bool) -> Results:
    """First spread over a minute, as on a busy day; then all at the same instant, beside one statement that ends all."""
    results = Results(quick)
    count = COUNT // 10 if quick else COUNT
    first = datetime.now(UTC) + LEAD
    await stage.begin_trials(count, lambda number: first + SPREAD * (number / count))
    latest = 0.0
    async with stage.working():
        while await stage.connection.fetchval("SELECT EXISTS (SELECT FROM subscriptions WHERE status = 'trialing')"):
            latest = max(latest, await stage.connection.fetchval(_OLDEST))
            await asyncio.sleep(0.05)
    spread = f"latest of {count:,} trials that end within a minute"
    met = latest <= LATE_AIM_SECONDS
    results.figures.append(Figure(spread, "s", [latest], aim=f"≤ {LATE_AIM_SECONDS:g} s", met=met))

    worked, bare = [], []
    for _ in range(1 if quick else ROUNDS):
        await stage.begin_trials(count, lambda _: first)
        async with stage.working():
            worked.append(await stage.seconds_until_none(_DUE))
        await stage.begin_trials(count, lambda _: first)
        began = asyncio.get_running_loop().time()
        await stage.connection.execute(_BARE)
        bare.append(asyncio.get_running_loop().time() - began)
    results.figures.append(Figure(f"{count:,} trials that end at one instant", "s", worked, bare, "one bare UPDATE"))
    return results


if __name__ == "__main__":
    sys.exit(run("timers", "How late trials end.", on_stage(measure), seconds_max=RUN_SECONDS_MAX))
