"""Java's own HTTP client, which asks for an upgrade with every request over http."""

import asyncio
import os
import shutil
import subprocess
from pathlib import Path

from deploy.devstack import broker, jars
from tests.harness.edge_process import EdgeProcess

PROGRAM = Path(__file__).parent / "java" / "Post.java"
COMPILER = "org.eclipse.jdt.internal.compiler.batch.Main"
LIBRARIES = Path(__file__).parents[1] / "webhooks" / "interoperability" / "java" / "jars.lock"
RUN_SECONDS = 120


def run(*command: str, folder: Path) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=RUN_SECONDS)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def post(url: str, authorization: str, body: str, folder: Path) -> list[str]:
    """What the program says of its two requests."""
    shutil.copy(PROGRAM, folder)
    libraries = os.pathsep.join(map(str, jars.ensure(LIBRARIES).glob("*.jar")))
    run(broker.java(), "-cp", libraries, COMPILER, "-17", PROGRAM.name, folder=folder)
    return run(broker.java(), "-cp", ".", PROGRAM.stem, url, authorization, body, folder=folder).splitlines()


async def test_javas_own_client_posts_its_body(edge: EdgeProcess, tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{edge.port}/v1/notes"
    authorization = edge.tenant.owner.headers["Authorization"]

    answers = await asyncio.to_thread(post, url, authorization, '{"text": "from Java"}', tmp_path)

    assert [answer.split(" ")[:2] for answer in answers] == [["HTTP_1_1", "201"]] * 2
    assert all('"text":"from Java"' in answer for answer in answers)
