"""Makes the environment with uv in it: the first step of `make install`. Runs in any Python 3.11, with its standard library alone.

    python3 deploy/environment.py .venv 'uv>=0.8,<1'

pip runs out of the wheel that Python brings for new environments, to fetch uv: to install pip first takes three seconds.
"""

import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

PYTHON_MIN = (3, 11)
# Where distributions keep the wheel that others have beside the module `ensurepip`.
DEBIAN_WHEELS = "/usr/share/python-wheels"


def main(folder: Path, requirement: str) -> int:
    """Make what is missing; the exit status."""
    if sys.version_info < PYTHON_MIN:
        sys.stderr.write("Waybill needs Python 3.11 or later: install one and call make PYTHON=/path/to/it\n")
        return 1
    pip = bundled_pip()
    if pip is None:
        sys.stderr.write(
            "This Python cannot make environments: install its venv package (Debian: apt-get install python3-venv)\n"
        )
        return 1
    python = folder / "bin" / "python"
    if not python.exists():
        venv.create(folder, symlinks=True)
    if not (folder / "bin" / "uv").exists():
        install = ["install", "--quiet", "--disable-pip-version-check", "--no-compile", requirement]
        return subprocess.run([python, pip / "pip", *install], check=False).returncode
    return 0


def bundled_pip() -> Path | None:
    """The newest wheel of pip that this Python has for new environments."""
    try:
        import ensurepip
    except ImportError:
        return None
    folders = [Path(ensurepip.__file__).parent / "_bundled", sysconfig.get_config_var("WHEEL_PKG_DIR"), DEBIAN_WHEELS]
    return next((wheel for folder in folders if folder for wheel in sorted(Path(folder).glob("pip-*.whl"))), None)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2]))
