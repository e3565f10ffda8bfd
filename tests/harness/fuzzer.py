"""The fuzzer as a program of ours: `python -m tests.harness.fuzzer run …`."""

import json
import sys
from typing import Any

import schemathesis
from schemathesis.cli import schemathesis as command


@schemathesis.serializer("application/x-ndjson")
def write_lines(_: schemathesis.SerializationContext, value: Any) -> bytes:
    """A body of this type, which the tool does not know: the text itself, and whatever is no text as JSON."""
    return (value if isinstance(value, str) else json.dumps(value)).encode("utf-8", "surrogatepass")


if __name__ == "__main__":
    sys.exit(command())
