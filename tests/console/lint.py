"""What templates and scripts of the console may not have: the policy of its pages would refuse it, in a browser, later.

    python -m tests.console.lint

A part of `make check`.
"""

import re
import sys
from pathlib import Path

CONSOLE = Path(__file__).parents[2] / "services/console/src/console"
REFUSED = {
    re.compile(r"<script(?![^>]*\ssrc=)", re.IGNORECASE): "a script inside a page",
    re.compile(r"<style[\s>]", re.IGNORECASE): "a style inside a page",
    re.compile(r"\sstyle\s*=", re.IGNORECASE): "a style of one element: make a class",
    re.compile(r"\son[a-z]+\s*=\s*[\"']", re.IGNORECASE): "a handler inside a page: listen in app.js",
    re.compile(r"\shx-on"): "hx-on is compiled, which the policy refuses",
    re.compile(r"[\"'(]\s*js:|javascript:", re.IGNORECASE): "a script in a value",
    re.compile(r"hx-trigger\s*=\s*\"[^\"]*\["): "a filter of a trigger is compiled, which the policy refuses",
    re.compile(r"\|\s*safe\b|autoescape\s+false"): "text that is not escaped",
    re.compile(r"(?:src|href|action)\s*=\s*\"(?:https?:)?//", re.IGNORECASE): "an address of another host",
}
LINES_MAX = 400


def faults() -> list[str]:
    """Each with its place."""
    found = []
    for file in sorted(CONSOLE.glob("templates/**/*.html")):
        text = re.sub(r"\{#.*?#\}", lambda comment: "\n" * comment[0].count("\n"), file.read_text(), flags=re.DOTALL)
        for pattern, reason in REFUSED.items():
            for match in pattern.finditer(text):
                line = text.count("\n", 0, match.start()) + 1
                found.append(f"{file.relative_to(CONSOLE)}:{line}: {reason}")
    for file in sorted(CONSOLE.glob("static/*")):
        if file.suffix in (".css", ".js"):
            lines = file.read_text().count("\n")
            if lines > LINES_MAX:
                found.append(f"{file.relative_to(CONSOLE)}: {lines} lines, more than {LINES_MAX}")
            if file.suffix == ".js" and re.search(
                r"\beval\(|new Function|innerHTML|setAttribute\(\"style\"", file.read_text()
            ):
                found.append(f"{file.relative_to(CONSOLE)}: what the policy refuses, or text that is not escaped")
    return found


def main() -> int:
    for fault in faults():
        print(fault)
    return 1 if faults() else 0


if __name__ == "__main__":
    sys.exit(main())
