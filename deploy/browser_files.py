"""Browser files: brings the npm packages that services serve, and copies the named files, with licences, beside the code.

    python -m deploy.browser_files

A part of `make install`, and of the images. Each text has a compressed twin (`.gz`), made once here.
"""

import gzip
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from deploy import node

COMPRESSED = frozenset({".css", ".js", ".svg"})


@dataclass(frozen=True, slots=True)
class Package:
    """What is served of one package."""

    name: str
    files: tuple[str, ...]


VENDORED: dict[str, Sequence[Package]] = {
    "shared/src/shared/api/static/vendor": (
        Package(
            "swagger-ui-dist",
            (
                "swagger-ui-bundle.js",
                "swagger-ui-bundle.js.LICENSE.txt",
                "swagger-ui.css",
                "favicon-32x32.png",
                "LICENSE",
                "NOTICE",
            ),
        ),
    ),
}
"""The packages in each folder; the folder is made anew as a whole, and belongs to nobody else."""


def main() -> int:
    """Fetch and copy; the exit status."""
    with TemporaryDirectory(prefix="waybill-browser-files-") as temporary:
        folder = Path(temporary)
        for name in ("package.json", "package-lock.json"):
            shutil.copyfile(node.ROOT / name, folder / name)
        try:
            node.install_packages(folder, "--omit=dev")
        except subprocess.CalledProcessError as error:
            sys.stderr.write(
                f"browser_files: `{' '.join(map(str, error.cmd))}` failed:"
                " is the registry reachable? npm's own settings name a mirror\n"
            )
            return 1
        for target, packages in VENDORED.items():
            _copy(folder / "node_modules", packages, node.ROOT / target)
    return 0


def _copy(modules: Path, packages: Sequence[Package], target: Path) -> None:
    unfinished = target.with_name(f"{target.name}.new")
    shutil.rmtree(unfinished, ignore_errors=True)
    for package in packages:
        folder = unfinished / package.name
        folder.mkdir(parents=True)
        for name in package.files:
            file = folder / name
            shutil.copyfile(modules / package.name / name, file)
            if file.suffix in COMPRESSED:
                # Without a time in it: the same files make the same bytes.
                file.with_name(f"{name}.gz").write_bytes(gzip.compress(file.read_bytes(), mtime=0))
    shutil.rmtree(target, ignore_errors=True)
    unfinished.rename(target)


if __name__ == "__main__":
    sys.exit(main())
