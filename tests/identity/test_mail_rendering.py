"""What mails look like to those who get them, and to those who try to abuse them."""

import re
from collections.abc import Iterator
from dataclasses import replace
from email.header import decode_header, make_header
from email.headerregistry import Address
from email.utils import parseaddr
from html.parser import HTMLParser
from string import Formatter

import pytest
from babel.messages.pofile import read_po
from hypothesis import given
from hypothesis import strategies as st

from deploy import mail_templates
from identity import mail
from identity.config import Settings
from identity.mail import business_kinds, kinds
from identity.mail.connections import MailServer
from identity.mail.rendering import AddressUnusable, Layouts, Words
from identity.mail.schemas import Button, Content, Details, Paragraph
from shared.chassis.settings import load_settings
from shared.observability.redaction import redact
from tests.harness.documents import ENVIRONMENT
from tests.harness.sample_mails import CONSOLE, NOW, SAMPLES, TENANT, TOKEN, body, lay_out, recipient

LANGUAGES = ("en", "fr")
WORDS = ("Boulangerie", "é", "à", "Laurier", "livraisons", "échec", "東京", "Zoë", "O'Neil", "(Nord)", "3,5")
CRLF = "\r\nBcc: thief@evil.test\r\n\r\nhello"


class Reader(HTMLParser):
    """The words and the links of a page."""

    def __init__(self, page: str):
        super().__init__()
        self.text = ""
        self.links: list[str] = []
        self._quiet = 0
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._quiet += tag in ("style", "title")
        self.links += [value for name, value in attrs if name in ("href", "src", "background") and value]

    def handle_endtag(self, tag: str) -> None:
        self._quiet -= tag in ("style", "title")

    def handle_data(self, data: str) -> None:
        self.text += "" if self._quiet else data


def squeezed(text: str) -> str:
    return re.sub(r"\s+", " ", text)


def test_every_kind_of_mail_is_looked_at() -> None:
    assert {type(said) for said in SAMPLES.values()} == {*kinds.ALL, *business_kinds.ALL}


def pieces(content: Content) -> Iterator[str]:
    """All that a mail says."""
    yield content.heading
    for part in content.parts:
        match part:
            case Paragraph():
                yield part.text
            case Button():
                yield from (part.label, part.url)
            case Details():
                yield from (word for line in part.lines for word in line)


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("name", SAMPLES)
def test_both_bodies_of_a_mail_say_the_same(name: str, language: str) -> None:
    said = SAMPLES[name]
    content = said.content(Words(language, "America/Toronto", CONSOLE), TENANT)
    message = lay_out(said, language)

    text, page = squeezed(body(message, "plain")), Reader(body(message, "html"))
    for piece in pieces(content):
        assert squeezed(piece) in text
        assert squeezed(piece) in squeezed(page.text)
    assert squeezed(content.note) in text
    assert message["Subject"] == squeezed(content.subject)
    assert message["Content-Language"] == language
    assert len(message["To"].addresses) == 1
    # Nothing is fetched, and nothing leads elsewhere.
    assert all(link.startswith(f"{CONSOLE}/") for link in page.links)
    assert "{" not in text + page.text


@pytest.mark.parametrize("name", [name for name, said in SAMPLES.items() if hasattr(said, "token")])
def test_a_token_is_in_the_fragment_of_its_link_alone(name: str) -> None:
    message = lay_out(SAMPLES[name])

    for found in (body(message, "plain"), body(message, "html")):
        assert found.count(TOKEN) == found.count(f"#token={TOKEN}") > 0
    assert TOKEN not in "".join(str(value) for value in message.values())


@pytest.mark.parametrize(
    "said",
    [
        mail.PasswordChanged(changed_at=NOW, address=f"1.2.3.4{CRLF}"),
        mail.OwnershipMoved(former_owner=f"Ada{CRLF}", new_owner="<img src=x onerror=alert(1)>", moved_at=NOW),
        mail.EndpointDisabled(endpoint_id="ep_1", url='https://shop.test/"><script>alert(1)</script>', reason=CRLF),
        SAMPLES["invitation-staff"],
    ],
)
def test_no_value_begins_a_header_a_recipient_or_an_element(said: mail.Mail) -> None:
    tenant = f"Laurier <b>{CRLF}"

    message = lay_out(said, tenant=tenant, to=recipient(name=f'Ada", thief@evil.test{CRLF}'))

    assert "Bcc" not in message
    assert message["Cc"] is None
    assert [address.addr_spec for address in message["To"].addresses] == ["ada@example.com"]
    assert "\n" not in message["Subject"]
    assert [part.get_content_type() for part in message.iter_parts()] == ["text/plain", "text/html"]
    page = body(message, "html")
    assert "<b>" not in page
    assert "<img" not in page
    assert "<script" not in page


@pytest.mark.parametrize(
    "address",
    [
        "ada@example.com, thief@evil.test",
        "ada@example.com\r\nRCPT TO:<thief@evil.test>",
        "<ada@example.com>",
        "ada",
        "",
    ],
)
def test_what_is_not_one_address_is_refused(address: str) -> None:
    with pytest.raises(AddressUnusable):
        lay_out(SAMPLES["trial-ended"], to=recipient(email=address))


def test_domains_of_other_scripts_are_written_as_mail_servers_take_them() -> None:
    layouts = Layouts(sender=Address("Waybill", addr_spec="no-reply@waybill.test"))
    words = Words("fr", "America/Toronto", CONSOLE)
    content = SAMPLES["trial-ended"].content(words, TENANT)

    def address(email: str) -> str:
        return layouts.lay_out("id", recipient(email=email), content, words, tenant=TENANT, now=NOW)[0]

    assert address("ada@boulangerie-é.example") == "ada@xn--boulangerie--meb.example"
    assert address("adé@boulangerie-é.example") == "adé@xn--boulangerie--meb.example"


@given(st.lists(st.sampled_from(WORDS), min_size=1, max_size=25).map(" ".join))
def test_names_and_subjects_of_any_script_arrive_as_they_are(name: str) -> None:
    message = lay_out(SAMPLES["trial-ended"], "fr", tenant=name, to=recipient(name=name))

    raw = dict(message.raw_items())
    shown_name, address = parseaddr(str(raw["To"]))
    assert decoded(str(raw["Subject"])) == f"{name} : l’essai a pris fin"
    assert (decoded(shown_name), address) == (name, "ada@example.com")
    assert all(len(line) <= 78 for line in str(message).partition("\n\n")[0].splitlines())


def decoded(text: str) -> str:
    """Encoded words as the standard says; Python's newer reader doubles blanks between some of them."""
    return str(make_header(decode_header(text)))


def test_a_mail_of_a_test_tenant_says_so() -> None:
    message = lay_out(SAMPLES["trial-ended"], to=replace(recipient(), livemode=False))

    assert message["Subject"].startswith("[Test] ")
    assert "is a test tenant" in body(message, "plain")
    assert "is a test tenant" in body(message, "html")
    assert "is a test tenant" not in body(lay_out(SAMPLES["trial-ended"]), "html")


def test_instants_and_amounts_are_written_as_each_language_does() -> None:
    english, french = (Words(language, "America/Toronto", CONSOLE) for language in LANGUAGES)

    assert squeezed(english.instant(NOW)) == "November 30, 2026, 2:02 p.m. EST"
    assert squeezed(french.instant(NOW)) == "30 novembre 2026, 14 h 02 HNE"
    assert (english.amount(14_900, "CAD"), squeezed(french.amount(14_900, "CAD"))) == ("$149.00", "149,00 $")
    assert english.amount(14_900, "JPY") == "JP¥14,900"


def test_the_compiled_layout_and_the_catalogs_are_the_present_ones() -> None:
    assert mail_templates.COMPILED.read_text() == mail_templates.compile_layout(), "run `make contracts`"
    for language in mail_templates.LANGUAGES:
        present = (mail_templates.CATALOGS / f"{language}.po").read_text()
        assert present == mail_templates.update_catalog(language), "run `make contracts`"


@pytest.mark.parametrize("language", mail_templates.LANGUAGES)
def test_every_text_is_translated_with_the_same_values(language: str) -> None:
    with (mail_templates.CATALOGS / f"{language}.po").open("rb") as opened:
        catalog = read_po(opened, locale=language)

    for message in catalog:
        if message.id:
            sources = (message.id,) if isinstance(message.id, str) else message.id
            texts = (message.string,) if isinstance(message.string, str) else tuple(message.string or ("",))
            assert all(texts), message.id
            assert not message.fuzzy, message.id
            for text in texts:
                assert _values(text) == _values(sources[-1])


def _values(text: str) -> set[str]:
    return {name for _, name, _, _ in Formatter().parse(text) if name}


@pytest.mark.parametrize("token", ["wbi_Zk3nq0y2J3fW6o0lq2u1xw", "wbr_Zk3nq0y2J3fW6o0lq2u1xw"])
def test_tokens_of_people_are_removed_from_logs(token: str) -> None:
    assert token not in str(redact({"event": f"sent {token}", "url": f"{CONSOLE}/invitation#token={token}"}))


@pytest.mark.parametrize(
    ("variables", "wrong"),
    [
        ({"IDENTITY_SMTP_URL": "smtp://127.0.0.1:2525"}, "IDENTITY_CONSOLE_BASE_URL"),
        ({"IDENTITY_SMTP_URL": "smtp://ada:secret@mail.test"}, "IDENTITY_SMTP_URL"),
        ({"IDENTITY_SMTP_URL": "http://ada:secret@mail.test"}, "IDENTITY_SMTP_URL"),
        ({"IDENTITY_CONSOLE_BASE_URL": "console.test"}, "IDENTITY_CONSOLE_BASE_URL"),
        ({"IDENTITY_MAIL_SENDER": "Waybill"}, "IDENTITY_MAIL_SENDER"),
        ({"IDENTITY_MAIL_SENDER": "a@waybill.test, b@waybill.test"}, "IDENTITY_MAIL_SENDER"),
    ],
)
def test_a_wrong_setting_of_mail_is_named_at_the_start(
    variables: dict[str, str], wrong: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in {**ENVIRONMENT, "IDENTITY_CONSOLE_BASE_URL": CONSOLE, **variables}.items():
        monkeypatch.setenv(name, value)
    if wrong == "IDENTITY_CONSOLE_BASE_URL" and wrong not in variables:
        monkeypatch.delenv(wrong)

    with pytest.raises(SystemExit):
        load_settings(Settings)

    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith(f"{wrong}: ")
    assert "secret" not in "".join(lines)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("smtp://mail.internal", ("mail.internal", 25, "smtp", None, None)),
        ("smtps://ada:p%40ss@mail.example.com", ("mail.example.com", 465, "smtps", "ada", "p@ss")),
        ("smtp+starttls://ada:p@mail.example.com:2525", ("mail.example.com", 2525, "smtp+starttls", "ada", "p")),
    ],
)
def test_a_mail_server_is_read_from_its_url(url: str, expected: tuple[object, ...]) -> None:
    server = MailServer.from_url(url)

    assert (server.hostname, server.port, server.scheme, server.username, server.password) == expected


@pytest.mark.parametrize("url", ["http://mail.test", "smtp://", "smtps://ada@mail.test", "smtp://mail.test/path"])
def test_what_is_no_mail_server_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="expected"):
        MailServer.from_url(url)
