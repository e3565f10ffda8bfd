"""The code of the guides for integrators runs as it stands there."""

import asyncio
import re
from pathlib import Path
from typing import Any

import pytest

from tests.harness.people import Merchant
from tests.harness.suite import Suite, end_trial

GUIDES = Path(__file__).parents[2] / "docs" / "guides"
PYTHON = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def run_guide(name: str, names: dict[str, Any]) -> None:
    """Run the blocks of Python in a guide, one after the other, as one program with these names."""
    blocks = PYTHON.findall((GUIDES / name).read_text())
    assert blocks
    for number, block in enumerate(blocks, start=1):
        exec(compile(block, f"{name}, block {number}", "exec"), names)


def introduce(monkeypatch: pytest.MonkeyPatch, suite: Suite, merchant: Merchant) -> None:
    monkeypatch.setenv("JOBS_URL", suite.urls["jobs"])
    monkeypatch.setenv("ACCOUNT_ID", merchant.account_id)
    monkeypatch.setenv("AUTH_KEY", merchant.key)


async def test_the_guides_to_jobs_and_imports_run(
    suite: Suite, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tenant = await suite.create_tenant()
    merchant = await tenant.create_merchant()
    await merchant.reveal()
    introduce(monkeypatch, suite, merchant)
    names: dict[str, Any] = {}

    await asyncio.to_thread(run_guide, "call-the-jobs-api.md", names)
    await asyncio.to_thread(run_guide, "import-a-file.md", names)

    said = capsys.readouterr().out
    assert f"{names['job']['id']} new" in said
    assert names["open_jobs"] == [names["job"]["id"]]
    assert "/contact/phone phone_number" in said
    assert "3 rows, 1 would be refused" in said
    assert "succeeded 2 1" in said
    assert "4 ORDER-2003 invalid ['/contact/phone']" in said
    found = await merchant.api.at("jobs").read("/v1/jobs?sort=-created_at")
    assert [one["reference_id"] for one in found["data"]][-1] == "ORDER-1001"
    assert len(found["data"]) == 3

    assert await asyncio.to_thread(names["may_call"]) is True
    await end_trial(tenant)
    assert await asyncio.to_thread(names["may_call"]) is False
    with pytest.raises(names["Problem"], match="402 subscription_required"):
        await asyncio.to_thread(names["ask"], "GET", "/v1/jobs")
    names["api"].close()
