"""Mail servers that are away, slow, unwilling, or gone in the middle: nothing is lost, and a repeat can be recognised."""

import asyncio
from typing import Any

import pytest
from sqlalchemy import text

from deploy.devstack.processes import free_ports
from identity.mail.rules import NOTICE, PROMPT
from tests.harness.bodies import email, staff_body
from tests.harness.identity import CONSOLE, Identity, running
from tests.harness.mailbox import HANG_UP, TAKEN, Mailbox, mailbox
from tests.harness.people import Tenant
from tests.harness.stack import BackingStack
from tests.harness.waiting import eventually


async def invite(company: Tenant, address: str) -> dict[str, Any]:
    """Invite a member of staff."""
    answer = await company.owner.post("/v1/staff", {**staff_body("orders"), "email": address, "password": None})
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


async def waiting(service: Identity) -> list[dict[str, Any]]:
    """The tasks of mails that wait."""
    async with service.database.reading() as session:
        rows = await session.execute(
            text(
                "SELECT kind, key, payload, attempts, reason, set_aside_at IS NOT NULL AS set_aside"
                " FROM tasks WHERE kind IN (:prompt, :notice)"
            ),
            {"prompt": PROMPT, "notice": NOTICE},
        )
        return [dict(row._mapping) for row in rows]


async def until_none_waits(service: Identity) -> None:
    async def none() -> bool:
        return not await waiting(service)

    await eventually(none, what="no mail waits")


def first_answer(answer: str, address: str) -> Any:
    """Answers so once for this address, and takes everything else."""
    given = iter([answer])
    return lambda recipient: next(given, TAKEN) if recipient == address else TAKEN


@pytest.fixture(autouse=True)
def willing(box: Mailbox) -> None:
    """Each test begins with a server that takes everything."""
    box.on_recipient = box.on_message = lambda _: TAKEN


@pytest.mark.parametrize("asked", ["on_recipient", "on_message"])
async def test_a_mail_that_is_not_taken_now_is_taken_later(
    mailing: Identity, company: Tenant, box: Mailbox, asked: str
) -> None:
    address = email()
    setattr(box, asked, first_answer("451 4.7.1 greylisted, try again", address))

    await invite(company, address)

    expected = 1 if asked == "on_recipient" else 2
    mails = await box.wait_for(address, expected)
    await until_none_waits(mailing)
    assert len(box.to(address)) == expected
    assert len({mail.message["Message-ID"] for mail in mails}) == 1


async def test_a_lost_answer_repeats_the_mail_once_under_the_same_id(
    mailing: Identity, company: Tenant, box: Mailbox
) -> None:
    address = email()
    box.on_message = first_answer(HANG_UP, address)

    await invite(company, address)

    first, second = await box.wait_for(address, 2)
    await until_none_waits(mailing)
    assert len(box.to(address)) == 2
    assert first.message["Message-ID"] == second.message["Message-ID"]
    assert first.token == second.token


@pytest.mark.parametrize("asked", ["on_recipient", "on_message"])
async def test_an_address_that_is_refused_for_good_is_told_and_not_tried_again(
    mailing: Identity, company: Tenant, box: Mailbox, asked: str
) -> None:
    address = email()
    setattr(box, asked, lambda recipient: f"550 5.1.1 no mailbox {recipient}" if recipient == address else TAKEN)

    made = await invite(company, address)
    await until_none_waits(mailing)

    person = (await company.owner.get(f"/v1/staff/{made['id']}")).json()
    assert person["email_refusal"] == "550 5.1.1 no mailbox <recipient>"
    assert person["email_refused_at"] is not None
    assert person["version"] == made["version"] + 1
    _, updated = await mailing.audited(made["id"], "user.created", "user.updated")
    assert (updated.actor, updated.after and updated.after["email_refusal"]) == ("identity", person["email_refusal"])

    moved = await company.owner.patch(f"/v1/staff/{made['id']}", {"email": email()})
    assert moved.json()["email_refusal"] is None


async def test_a_merchant_whose_address_takes_mail_again_has_no_refusal(
    mailing: Identity, company: Tenant, box: Mailbox
) -> None:
    merchant = await company.create_merchant()
    address = merchant.document["login_email"]
    box.on_recipient = lambda recipient: "550 5.2.1 mailbox disabled" if recipient == address else TAKEN

    await merchant.reveal(settled=False)
    await until_none_waits(mailing)
    refused = (await company.owner.get(f"/v1/merchants/{merchant.id}")).json()
    box.on_recipient = lambda _: TAKEN
    await merchant.reveal(settled=False)
    await box.wait_for(address)
    await until_none_waits(mailing)

    taken = (await company.owner.get(f"/v1/merchants/{merchant.id}")).json()
    assert refused["email_refusal"] == "550 5.2.1 mailbox disabled"
    assert (taken["email_refusal"], taken["email_refused_at"]) == (None, None)


async def test_slow_and_unwilling_recipients_hold_up_no_other(mailing: Identity, company: Tenant, box: Mailbox) -> None:
    slow, prompt = email(), email()
    released = asyncio.Event()

    async def hang(recipient: str) -> str:
        if recipient == slow:
            await released.wait()
        return TAKEN

    box.on_recipient = hang
    await invite(company, slow)
    await invite(company, prompt)

    await box.wait_for(prompt)
    assert box.to(slow) == []
    released.set()
    await box.wait_for(slow)


async def test_what_waits_is_unreadable_and_is_sent_when_the_server_is_back(backing: BackingStack) -> None:
    (port,) = free_ports(1)
    address = email()
    async with running(backing, smtp_url=f"smtp://127.0.0.1:{port}", console_base_url=CONSOLE) as service:
        company = await service.create_tenant()
        await invite(company, address)

        async def tried() -> bool:
            return any(task["attempts"] > 0 and task["reason"] for task in await waiting(service))

        await eventually(tried, what="the mail was tried")
        (task,) = await waiting(service)
        assert address not in str(task)
        assert "wbi_" not in str(task)
        assert task["payload"]["mail"] == "invitation"

        async with mailbox(port) as box:
            (mail,) = await box.wait_for(address)
            await until_none_waits(service)
        assert mail.token.startswith("wbi_")


async def test_many_mails_share_few_connections(mailing: Identity, company: Tenant, box: Mailbox) -> None:
    before = box.connections
    addresses = [email() for _ in range(40)]

    await asyncio.gather(*(invite(company, address) for address in addresses))

    for address in addresses:
        await box.wait_for(address)
    assert box.connections - before <= mailing.settings.smtp_connections_max


async def test_a_mail_that_no_server_has_taken_for_two_days_is_told_as_refused(
    backing: BackingStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("identity.mail.worker.ATTEMPTS_MAX", 1)
    (port,) = free_ports(1)
    async with running(backing, smtp_url=f"smtp://127.0.0.1:{port}", console_base_url=CONSOLE) as service:
        company = await service.create_tenant()
        made = await invite(company, email())

        async def told() -> bool:
            return bool((await company.owner.read(f"/v1/staff/{made['id']}"))["email_refusal"])

        await eventually(told, what="the failure is told")
        (task,) = await waiting(service)
        assert task["set_aside"] is True
