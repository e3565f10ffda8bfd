"""Rewrite the committed contracts (`make contracts`): OpenAPI, AsyncAPI, and event schemas unless that breaks a promise to a reader."""

import json
import sys
from pathlib import Path
from typing import Any

from tests.harness import compatibility, documents

FOLDER = Path(__file__).with_name("events")


def committed(topic: str) -> dict[str, Any] | None:
    """The contract of a topic as it stands in this folder; None for a topic that has none yet."""
    file = FOLDER / f"{topic}.json"
    if not file.exists():
        return None
    document: dict[str, Any] = json.loads(file.read_text())
    return document


def main() -> int:
    """0 when everything was written; 1, with nothing written, when a reader of a topic would break."""
    current = {topic: compatibility.document(events) for topic, events in compatibility.events().items()}
    found = [
        f"{topic}: {breach}"
        for topic, document in current.items()
        for breach in compatibility.breaches(committed(topic) or document, document)
    ]
    if found:
        sys.stderr.write(
            "\n".join([*found, "nothing was written: add fields that have a default, or make a new type\n"])
        )
        return 1
    FOLDER.mkdir(exist_ok=True)
    for topic, document in current.items():
        (FOLDER / f"{topic}.json").write_text(json.dumps(document, indent=2, ensure_ascii=False, sort_keys=True) + "\n")
    for (service, kind), text in documents.generate().items():
        file = documents.path_of(service, kind)
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
