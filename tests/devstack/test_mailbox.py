"""The mailbox of the private stack: it takes every mail, keeps within bounds, and shows a mail's HTML without trusting it."""

import asyncio
import smtplib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from email.message import EmailMessage

import httpx
import pytest
from aiohttp import web

from deploy.devstack import mailbox


@dataclass(frozen=True)
class Box:
    """A running mailbox."""

    http: httpx.AsyncClient
    smtp_port: int

    async def send(
        self, to: str, subject: str = "Hello", text: str = "See https://console.test/x#token=1", html: str = ""
    ) -> None:
        message = EmailMessage()
        message["From"], message["To"], message["Subject"] = "Waybill <no-reply@waybill.test>", to, subject
        message.set_content(text)
        if html:
            message.add_alternative(html, subtype="html")

        def hand_over() -> None:
            with smtplib.SMTP("127.0.0.1", self.smtp_port, timeout=30) as smtp:
                smtp.send_message(message)

        await asyncio.to_thread(hand_over)

    async def messages(self, **query: str) -> list[dict[str, object]]:
        answer = await self.http.get("/mail/messages", params=query)
        return list(answer.raise_for_status().json()["data"])


@pytest.fixture
async def box() -> AsyncIterator[Box]:
    mails = mailbox.Mails()
    server = await asyncio.get_running_loop().create_server(lambda: mailbox.create_smtp_server(mails), "127.0.0.1", 0)
    runner = web.AppRunner(mailbox.create_mailbox(mails))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    base_url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    async with httpx.AsyncClient(base_url=base_url, trust_env=False) as client:
        yield Box(client, server.sockets[0].getsockname()[1])
    server.close()
    await runner.cleanup()


async def test_a_mail_is_listed_for_its_recipient_alone_newest_first(box: Box) -> None:
    await box.send("ada@waybill.test", "First")
    await box.send("grace@waybill.test", "Other")
    await box.send("ada@waybill.test", "Second")

    mails = await box.messages(to="Ada@waybill.test")

    assert [mail["subject"] for mail in mails] == ["Second", "First"]
    assert mails[0]["links"] == ["https://console.test/x#token=1"]
    page = (await box.http.get("/mail", params={"to": "ada@waybill.test"})).text
    assert "Second" in page
    assert "Other" not in page


async def test_the_html_of_a_mail_is_shown_in_a_sandbox(box: Box) -> None:
    await box.send("ada@waybill.test", "<script>alert(1)</script>", html="<h1>Hi</h1><script>alert(2)</script>")
    (mail,) = await box.messages()

    page = await box.http.get(f"/mail/{mail['id']}")
    html = await box.http.get(f"/mail/{mail['id']}/html")

    assert "<script>" not in page.text
    assert 'sandbox="allow-popups allow-popups-to-escape-sandbox"' in page.text
    assert page.headers["Content-Security-Policy"].startswith("default-src 'none'")
    assert "<h1>Hi</h1>" in html.text
    assert html.headers["Content-Security-Policy"].startswith("sandbox ")
    assert "allow-scripts" not in html.headers["Content-Security-Policy"]


async def test_the_oldest_mails_go_first_and_all_on_request(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mailbox, "MAILS_KEPT_MAX", 2)
    for subject in ("One", "Two", "Three"):
        await box.send("ada@waybill.test", subject)

    assert [mail["subject"] for mail in await box.messages()] == ["Three", "Two"]
    assert (await box.http.get("/mail/1")).status_code == 404

    assert (await box.http.delete("/mail/messages")).status_code == 204
    assert await box.messages() == []


async def test_a_mail_that_is_too_large_is_refused(box: Box) -> None:
    with pytest.raises(smtplib.SMTPResponseException) as refused:
        await box.send("ada@waybill.test", text="x\n" * mailbox.MAIL_BYTES_MAX)

    assert refused.value.smtp_code == 552
    assert await box.messages() == []
