"""The PDF and the XML of invoices: what they say, through the API, and that they stay what they are."""

import io
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import cast

import facturx
import pypdf
import pytest
from drafthorse.models.document import Document

from billing.invoice_documents import LANGUAGES, Seller, contents, rendering
from billing.invoice_documents.contents import Language
from billing.invoices import Invoice, InvoiceLine, InvoiceTax
from billing.invoices.schemas import Party
from tests.harness.billing import Billing
from tests.harness.client import refused
from tests.harness.people import Tenant, tenant_created
from tests.harness.waiting import eventually

SELLER = Seller("Waybill Inc.", "CA", "100 Rue Saint-Paul", "H2Y 1Z3", "Montréal (QC)", tax_id="123456789 RT0001")
AT = datetime(2026, 1, 31, 23, 30, tzinfo=UTC)


def invoice(**changes: object) -> Invoice:
    lines = [
        InvoiceLine(
            kind="credit",
            plan="starter_monthly",
            plan_version=1,
            names={"en": "Starter", "fr": "Essentiel"},
            period_start=AT,
            period_end=datetime(2026, 2, 28, 5, tzinfo=UTC),
            amount=-2450,
        ),
        InvoiceLine(
            kind="plan",
            plan="pro_monthly",
            plan_version=1,
            names={"en": "Pro"},
            period_start=AT,
            period_end=datetime(2026, 2, 28, 5, tzinfo=UTC),
            amount=7450,
        ),
    ]
    whole = Invoice(
        id="inv_01h455vb4pex5vsknk084sn02q",
        tenant_id="ten_01h455vb4pex5vsknk084sn02q",
        number="INV-0007",
        status="open",
        currency="CAD",
        customer=Party(name="Café « Ça & Là » <b>#[x] $1$ *_", country="CA"),
        lines=lines,
        taxes=[
            InvoiceTax(name="GST", rate_ppm=50_000, amount=250),
            InvoiceTax(name="QST", rate_ppm=99_750, amount=499),
        ],
        subtotal=5000,
        tax=749,
        total=5749,
        credit_applied=0,
        amount_due=5749,
        plan="pro_monthly",
        period_start=AT,
        period_end=datetime(2026, 2, 28, 5, tzinfo=UTC),
        due_at=datetime(2026, 2, 14, 23, 30, tzinfo=UTC),
        finalized_at=AT,
        settled_at=None,
        credit_note=None,
        livemode=True,
        created_at=AT,
        updated_at=AT,
        version=1,
    )
    return whole.model_copy(update=changes)


def documents(of: Invoice, *, language: Language = "en", seller: Seller = SELLER) -> tuple[str, bytes, bytes]:
    """The text of the PDF, the PDF, the XML."""
    zone = "America/Toronto"
    xml = rendering.xml_of(contents.for_programs(of, seller, language=language, zone=zone))
    pdf = rendering.pdf_of(contents.for_readers(of, seller, language=language, zone=zone), xml)
    pages = pypdf.PdfReader(io.BytesIO(pdf)).pages
    return "\n".join(page.extract_text() for page in pages), pdf, xml


def test_what_a_credit_has_paid_is_taken_off_what_is_due() -> None:
    text, _, xml = documents(invoice(credit_applied=749, amount_due=5000))
    read = Document.parse(xml)

    assert "Paid by your credit" in text
    assert "Amount due (CAD)" in text
    summary = read.trade.settlement.monetary_summation
    assert (summary.grand_total._amount, summary.prepaid_total._value, summary.due_amount._value) == (
        Decimal("57.49"),
        Decimal("7.49"),
        Decimal("50.00"),
    )


def test_another_program_reads_what_was_invoiced() -> None:
    _, pdf, xml = documents(invoice())

    name, carried = facturx.get_facturx_xml_from_pdf(pdf, check_xsd=True)
    read = Document.parse(carried)

    assert (name, carried) == ("factur-x.xml", xml)
    assert str(read.header.id) == "INV-0007"
    assert read.header.issue_date_time._value.isoformat() == "2026-01-31"
    sums = read.trade.settlement.monetary_summation
    assert (sums.line_total._value, sums.grand_total._amount, sums.due_amount._value) == (
        Decimal("50.00"),
        Decimal("57.49"),
        Decimal("57.49"),
    )
    lines = read.trade.items.children
    assert [
        (line.delivery.billed_quantity._amount, line.settlement.monetary_summation.total_amount._value)
        for line in lines
    ] == [
        (Decimal(-1), Decimal("-24.50")),
        (Decimal(1), Decimal("74.50")),
    ]
    assert str(read.trade.agreement.buyer.name) == "Café « Ça & Là » <b>#[x] $1$ *_"
    (tax,) = read.trade.settlement.trade_tax.children
    assert (tax.calculated_amount._value, tax.rate_applicable_percent._value) == (Decimal("7.49"), Decimal("14.975"))


@pytest.mark.parametrize(
    ("language", "told"),
    [
        (
            "en",
            [
                "Invoice",
                "January 31, 2026",
                "February 14, 2026",
                "Credit for what is left of Starter",
                "-$24.50",
                "QST (9.975 %)",
                "$57.49",
            ],
        ),
        (
            "fr",
            [
                "Facture",
                "31 janvier 2026",
                "14 février 2026",
                "Crédit pour le reste : Essentiel",
                "TVQ (9,975 %)",
                "57,49 $",
            ],
        ),
    ],
)
def test_people_read_it_in_their_language_and_time_zone(language: Language, told: list[str]) -> None:
    text, _, _ = documents(invoice(), language=language)

    flat = " ".join(text.split())
    assert [words for words in told if words not in flat] == []
    # What a tenant is called is text, never markup.
    assert "Café « Ça & Là » <b>#[x] $1$ *_" in flat


def test_currencies_without_hundredths_and_invoices_without_taxes_are_right() -> None:
    free = invoice(currency="JPY", taxes=[], tax=0, total=5000, amount_due=5000, due_at=None)

    text, pdf, xml = documents(free, seller=replace(SELLER, country="JP"))

    assert "5,000" in text
    assert "50.00" not in text
    read = Document.parse(facturx.get_facturx_xml_from_pdf(pdf)[1])
    assert read.trade.settlement.monetary_summation.grand_total._amount == Decimal(5000)
    assert b"<ram:CategoryCode>E</ram:CategoryCode>" in xml


@pytest.mark.parametrize("language", LANGUAGES)
def test_it_is_an_archivable_pdf_drawn_the_same_each_time(language: Language) -> None:
    texts = contents.for_readers(invoice(), SELLER, language=language, zone="America/Toronto")

    _, pdf, _ = documents(invoice(), language=language)

    catalogue = pypdf.PdfReader(io.BytesIO(pdf)).root_object
    metadata = cast(pypdf.generic.StreamObject, catalogue["/Metadata"]).get_data()
    assert b"<pdfaid:part>3</pdfaid:part>" in metadata
    assert b"<fx:ConformanceLevel>EN 16931</fx:ConformanceLevel>" in metadata
    assert str(catalogue["/Lang"]) == language
    assert rendering.draw(texts) == rendering.draw(texts)


async def buy(billing: Billing) -> tuple[Tenant, str]:
    tenant = await billing.create_tenant(tenant_created(trial_days=0))
    await tenant.owner.create("/v1/billing/subscription", {"plan": "starter_monthly"})
    (one,) = (await tenant.owner.read("/v1/billing/invoices"))["data"]
    return tenant, f"/v1/billing/invoices/{one['id']}"


async def test_both_documents_are_there_within_moments_and_stay(billing: Billing) -> None:
    tenant, path = await buy(billing)

    async def made() -> bool:
        return (await tenant.owner.get(f"{path}.pdf")).status_code == 200

    await eventually(made, what="the document is made")
    pdf, xml = await tenant.owner.get(f"{path}.pdf"), await tenant.owner.get(f"{path}.xml")
    await billing.platform().post(f"/v1/billing/tenants/{tenant.id}{path.removeprefix('/v1/billing')}/mark-paid")

    assert pdf.headers["content-type"] == "application/pdf"
    assert pdf.headers["content-disposition"] == 'attachment; filename="INV-0001.pdf"'
    assert xml.headers["content-type"].partition(";")[0] == "application/xml"
    assert facturx.get_facturx_xml_from_pdf(pdf.content)[1] == xml.content
    assert (await tenant.owner.get(f"{path}.pdf")).content == pdf.content


async def test_documents_of_others_do_not_exist(billing: Billing) -> None:
    _, path = await buy(billing)
    stranger, _ = await buy(billing)
    dispatcher = await stranger.create_staff("orders")

    for kind in ("pdf", "xml"):
        refused(await stranger.owner.get(f"{path}.{kind}"), 404, "invoice_not_found")
        refused(await dispatcher.get(f"{path}.{kind}"), 403, "permission_missing")
    assert (await stranger.owner.get("/v1/billing/invoices/nothing.pdf")).status_code == 422
