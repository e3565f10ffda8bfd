"""Which HTTP client deliveries are sent with, by measurement: processor time of the client for one signed request, under the guard.

    .venv/bin/python -m bench.webhook_clients [--rounds 3] [--requests 30000]

Client and receiver are processes of their own on one machine; rounds are interleaved and medians shown. `pyreqwest` is measured where it
is installed (it is no dependency of Waybill). The figures that decided stand in the record
`docs/decisions/0011-webhooks-are-sent-by-a-client-of-our-own.md`.
"""

import argparse
import asyncio
import os
import statistics
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import psutil

from bench.children import Child, Document
from tests.support.servers import Authority

RECEIVER = "bench.webhook_receiver"
CANDIDATES = "bench.webhook_candidates"
BODY_BYTES = 1000
PATIENCE_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class Scene:
    """One way to use a client. `share` of the requests of a run, since new connections take their time."""

    name: str
    origins: int = 1
    in_flight: int = 100
    tls: bool = False
    kept: bool = True
    share: float = 1.0


SCENES = (
    Scene("one endpoint, 100 in flight"),
    Scene("one endpoint, 1 in flight", in_flight=1, share=0.2),
    Scene("1,000 endpoints", origins=1000),
    Scene("TLS, kept", tls=True, share=0.5),
    Scene("new connection each", kept=False, share=0.1),
    Scene("new TLS connection each", kept=False, tls=True, share=0.05),
)


async def run(rounds: int, requests: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        authority = Authority(folder)
        hosts = [_host(number) for number in range(max(scene.origins for scene in SCENES))]
        certificate = authority.issue("bench.example.com", "*.bench.example.com")
        receiver = await Child.start(RECEIVER)
        try:
            ports = await receiver.ask("listen", seconds=PATIENCE_SECONDS, certificate=str(certificate))
            first = await Child.start(CANDIDATES)
            candidates = (await first.ask("available", seconds=PATIENCE_SECONDS))["candidates"]
            await first.stop()
            samples: dict[tuple[str, str], list[Document]] = {}
            for number in range(rounds):
                for scene in SCENES:
                    port = ports[f"{scene.tls} {scene.kept}"]
                    scheme = "https" if scene.tls else "http"
                    urls = [f"{scheme}://{host}:{port}/hooks" for host in hosts[: scene.origins]]
                    for candidate in candidates:
                        if candidate == "bare" and not _is_floor(scene):
                            continue
                        sample = await _sample(candidate, scene, urls, int(requests * scene.share), authority.file)
                        samples.setdefault((scene.name, candidate), []).append(sample)
                print(f"round {number + 1} of {rounds} done", file=sys.stderr)
        finally:
            await receiver.stop()
    _show(samples, candidates)


async def _sample(candidate: str, scene: Scene, urls: list[str], requests: int, ca_file: Path) -> Document:
    """One run in a fresh process, so that no client inherits what another has left behind."""
    child = await Child.start(CANDIDATES)
    try:
        sample = await child.ask(
            "measure",
            seconds=PATIENCE_SECONDS,
            candidate=candidate,
            urls=urls,
            requests=requests,
            in_flight=scene.in_flight,
            body_bytes=BODY_BYTES,
            ca_file=str(ca_file) if scene.tls else "",
        )
    finally:
        await child.stop()
    if sample["accepted"] != requests:
        raise RuntimeError(f"{candidate}, {scene.name}: {sample['accepted']} of {requests} were accepted")
    return {**sample, "requests": requests}


def _is_floor(scene: Scene) -> bool:
    return scene.origins == 1 and scene.kept and not scene.tls


def _host(number: int) -> str:
    return f"r{number}.bench.example.com"


def _show(samples: dict[tuple[str, str], list[Document]], candidates: list[str]) -> None:
    print(f"{os.cpu_count()} processors, load {psutil.getloadavg()[0]:.1f}; {BODY_BYTES} byte bodies")
    print("Processor µs of the client per request (requests a second), medians:\n")
    print("| | " + " | ".join(candidates) + " |")
    print("|---|" + "--:|" * len(candidates))
    for scene in SCENES:
        cells = []
        for candidate in candidates:
            found = samples.get((scene.name, candidate))
            if found is None:
                cells.append("–")
                continue
            cost_us = statistics.median(one["spent_seconds"] / one["requests"] * 1e6 for one in found)
            rate = statistics.median(one["requests"] / one["seconds"] for one in found)
            cells.append(f"{cost_us:.1f} ({rate:,.0f})")
        print(f"| {scene.name} | " + " | ".join(cells) + " |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--requests", type=int, default=30_000, help="of a run with kept connections")
    options = parser.parse_args()
    asyncio.run(run(options.rounds, options.requests))


if __name__ == "__main__":
    main()
