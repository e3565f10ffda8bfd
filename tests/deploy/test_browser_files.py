"""The browser files are where services look for them, whole, and in the package that is published."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from deploy.browser_files import ICON_FILE, VENDORED

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("folder", VENDORED)
def test_each_package_comes_with_its_licence(folder: str) -> None:
    for package in VENDORED[folder]:
        files = {file.name for file in (ROOT / folder / package.name).iterdir()}

        served = [Path(name).name for name in package.files] + [ICON_FILE] * bool(package.icons)
        assert set(served) <= files
        assert any("LICENSE" in name for name in files)


@pytest.mark.parametrize("folder", VENDORED)
def test_the_wheel_has_them(folder: str, tmp_path: Path) -> None:
    project, _, package = folder.partition("/src/")
    build = ["build", "--quiet", "--wheel", "--no-build-isolation", "--offline", "--python", sys.executable]
    subprocess.run([Path(sys.executable).with_name("uv"), *build, "--out-dir", tmp_path, project], cwd=ROOT, check=True)

    (wheel,) = tmp_path.glob("*.whl")
    held = {name for name in zipfile.ZipFile(wheel).namelist() if name.startswith(f"{package}/")}
    assert held == {
        file.relative_to(ROOT / project / "src").as_posix() for file in (ROOT / folder).rglob("*") if file.is_file()
    }
