"""Browser files: brings the npm packages that services serve, and copies the named files, with licences, beside the code.

    python -m deploy.browser_files

A part of `make install`, and of the images. Of the icons only those that are used are served, as one file of symbols.
"""

import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from deploy import node

ICON_FILE = "icons.svg"
# fmt: off
ICONS = (
    "activity", "archive", "arrow-left", "arrow-right", "arrow-up-right", "ban", "bell", "book-open", "braces",
    "building-2", "calendar", "chart-column", "check", "chevron-down", "chevron-right", "chevron-up", "circle",
    "circle-alert", "circle-check", "circle-help", "circle-pause", "circle-play", "circle-x", "clipboard",
    "clock", "cloud-off", "code", "copy", "credit-card", "download", "ellipsis", "external-link", "eye",
    "eye-off", "file-text", "file-up", "filter", "flag", "flask-conical", "globe", "history", "house", "inbox",
    "info", "key-round", "layers", "link", "list-filter", "lock", "lock-open", "log-out", "mail", "map-pin",
    "menu", "monitor", "moon", "network", "package", "pause", "pencil", "play", "plug", "plus", "power",
    "power-off", "radio", "refresh-cw", "repeat", "rotate-ccw", "route", "save", "scroll-text", "search", "send",
    "settings", "shield", "shield-check", "skip-forward", "square-terminal", "store", "sun", "tag", "terminal",
    "timer", "trash-2", "trending-down", "trending-up", "triangle-alert", "truck", "undo-2", "unplug", "upload",
    "user", "user-plus", "users", "webhook", "wrench", "x", "zap",
)
# fmt: on
"""Icons that the console shows; another one is added here."""
SVG = re.compile(r"<svg[^>]*>(.*)</svg>", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Package:
    """What is served of one package: files by their path in it, and icons by name; all of it lies side by side."""

    name: str
    files: tuple[str, ...]
    icons: tuple[str, ...] = ()


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
    "services/console/src/console/static/vendor": (
        Package("htmx.org", ("dist/htmx.min.js", "LICENSE")),
        Package("basecoat-css", ("dist/basecoat.cdn.min.css", "LICENSE.md")),
        Package("uplot", ("dist/uPlot.esm.js", "dist/uPlot.min.css", "LICENSE")),
        Package("tinykeys", ("dist/tinykeys.mjs", "LICENSE")),
        Package("lucide-static", ("LICENSE",), ICONS),
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
            shutil.copyfile(modules / package.name / name, folder / Path(name).name)
        if package.icons:
            (folder / ICON_FILE).write_text(_symbols(modules / package.name / "icons", package.icons))
    shutil.rmtree(target, ignore_errors=True)
    unfinished.rename(target)


def _symbols(folder: Path, names: Sequence[str]) -> str:
    """One file of these icons, each a symbol with its name."""
    symbols = []
    for name in names:
        drawing = SVG.search((folder / f"{name}.svg").read_text())
        assert drawing is not None
        lines = "".join(line.strip() for line in drawing[1].splitlines())
        symbols.append(f'<symbol id="{name}" viewBox="0 0 24 24">{lines}</symbol>')
    return '<svg xmlns="http://www.w3.org/2000/svg">\n' + "\n".join(symbols) + "\n</svg>\n"


if __name__ == "__main__":
    sys.exit(main())
