"""The browser of the console's tests: Chromium of this machine, else one that comes as an npm package, pinned by its hash.

    python -m deploy.browser

A part of `make install`: where Chromium is on the path, only what the tests run inside it is fetched. The package has Chromium's headless
shell for Linux on x86-64 with the libraries and a font that it needs, so that it runs on a bare system and as root.
"""

import fcntl
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tarfile
from dataclasses import dataclass
from pathlib import Path

from deploy import node
from deploy.devstack import jars

FOLDER = node.ROOT / "tests/console/browser"
LOCK = FOLDER / "package-lock.json"
MODULES = FOLDER / "node_modules"
PACKAGE = MODULES / "@sparticuz/chromium/bin"
NAMES = ("chromium", "chromium-browser", "google-chrome")
UNPACK = """
const {createReadStream, createWriteStream} = require("node:fs");
const {createBrotliDecompress} = require("node:zlib");
require("node:stream").pipeline(createReadStream(process.argv[1]), createBrotliDecompress(), createWriteStream(process.argv[2]),
  (error) => process.exit(error ? 1 : 0));
"""

FONTS = """<?xml version="1.0"?>
<!DOCTYPE fontconfig SYSTEM "fonts.dtd">
<fontconfig>
  <dir>{folder}/fonts</dir>
  <cachedir>{folder}/fonts-cache</cachedir>
  <match target="pattern">
    <edit name="family" mode="append" binding="weak"><string>Open Sans</string></edit>
  </match>
</fontconfig>
"""
"""Where the fonts of the package are; Chromium ends at the first field of a form for which it finds none."""


@dataclass(frozen=True, slots=True)
class Browser:
    """A Chromium, and what its environment must have."""

    program: Path
    environment: dict[str, str]


class NoBrowser(Exception):
    """There is no browser, and none can be had for this machine."""


def find() -> Browser:
    """The browser to use; it must have been fetched. Raises `NoBrowser`."""
    on_path = _on_path()
    if on_path is not None:
        return Browser(on_path, {})
    folder = _unpacked()
    if not (folder / "chromium").exists():
        raise NoBrowser("there is no Chromium: run `make install`, or install one (Debian: apt-get install chromium)")
    return Browser(
        folder / "chromium",
        {"LD_LIBRARY_PATH": str(folder / "lib"), "FONTCONFIG_PATH": str(folder), "HOME": str(folder)},
    )


def main() -> int:
    """Fetch what is missing; the exit status."""
    comes_as_package = _on_path() is None and (platform.system(), platform.machine()) == ("Linux", "x86_64")
    try:
        node.install_packages(FOLDER, *([] if comes_as_package else ["--omit=optional"]))
        if comes_as_package and not _unpacked().is_dir():
            _unpack(_unpacked())
    except subprocess.CalledProcessError as error:
        sys.stderr.write(
            f"browser: `{error.cmd[0]}` failed: is the registry reachable? npm's own settings name a mirror\n"
        )
        return 1
    return 0


def _on_path() -> Path | None:
    return next((Path(found) for name in NAMES if (found := shutil.which(name))), None)


def _unpacked() -> Path:
    """Where it lies: another version has another folder, and all checkouts of this user share it."""
    return jars.cache().with_name(f"chromium-{hashlib.sha256(LOCK.read_bytes()).hexdigest()[:12]}")


def _unpack(folder: Path) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if folder.is_dir():
            return
        unfinished = folder.with_suffix(".partial")
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir()
        for name in ("chromium", "al2023.tar", "fonts.tar", "swiftshader.tar"):
            file = unfinished / name
            subprocess.run([*node.find().node, "-e", UNPACK, PACKAGE / f"{name}.br", file], check=True)
            if file.suffix == ".tar":
                with tarfile.open(file) as archive:
                    archive.extractall(unfinished, filter="data")
                file.unlink()
        os.chmod(unfinished / "chromium", 0o755)
        (unfinished / "fonts.conf").write_text(FONTS.format(folder=folder))
        unfinished.rename(folder)


if __name__ == "__main__":
    sys.exit(main())
