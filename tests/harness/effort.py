"""How far tests go that try random things: a little in every run, much further under `make fuzz`, from a seed of its own."""

import os
import random
from typing import Any

from hypothesis import HealthCheck, settings

FACTOR = int(os.environ.get("FUZZ_FACTOR", "1"))
"""1: what every run does."""
USUAL_SEED = 20261122
SEED = int(os.environ.get("FUZZ_SEED", str(USUAL_SEED)))
EXAMPLES = 100


def load_profile() -> None:
    """Have Hypothesis go as far."""
    # How long an example takes says how busy the machine is; each test has a bound of its own.
    options: dict[str, Any] = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}
    # Every run tries the same, so that what fails has something to do with the change; `make fuzz` tries something else each time.
    settings.register_profile("waybill", max_examples=EXAMPLES * FACTOR, derandomize=FACTOR == 1, **options)
    settings.load_profile("waybill")


def seeds(count: int) -> list[int]:
    """Seeds for so many runs of one test: the same ones in every run, others and more under `make fuzz`."""
    if FACTOR == 1:
        return list(range(1, count + 1))
    return random.Random(SEED).sample(range(2**31), count * FACTOR)
