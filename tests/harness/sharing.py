"""Which worker runs which tests: a module's tests stay together, and so do all that share a suite of processes; the longest begin first."""

from xdist.scheduler import LoadScopeScheduling
from xdist.workermanage import WorkerController

PRIVATE_SERVERS = "private servers"
PRIVATE_STACK = "a private stack"
TOGETHER = {
    "tests/e2e/": "end to end",
    "tests/console/": "the console",
    "tests/faults/": PRIVATE_SERVERS,
    "tests/devstack/test_stack.py": PRIVATE_STACK,
    "tests/devstack/test_kafka_access.py": PRIVATE_STACK,
    "tests/devstack/test_postgres_access.py": PRIVATE_STACK,
}
"""What of a path makes its tests share something that takes long to start."""
LONGEST_FIRST = (
    "end to end",
    PRIVATE_SERVERS,
    PRIVATE_STACK,
    "the console",
)
"""What would keep a last worker busy alone, if it began late."""


def scope_of(nodeid: str) -> str:
    """What a test belongs to: a group of those that share something, or its own module."""
    file = nodeid.partition("::")[0]
    return next((scope for path, scope in TOGETHER.items() if file.startswith(path)), file)


class Scheduler(LoadScopeScheduling):  # type: ignore[misc]
    """Gives a worker that has little left to do the longest of what remains."""

    def _split_scope(self, nodeid: str) -> str:
        return scope_of(nodeid)

    def _assign_work_unit(self, node: WorkerController) -> None:
        for scope in LONGEST_FIRST:
            if scope in self.workqueue:
                self.workqueue.move_to_end(scope, last=False)
                break
        super()._assign_work_unit(node)
