"""What the documents of an invoice say: for readers, in their language, and for programs, by the terms of EN 16931."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any, Literal, get_args
from zoneinfo import ZoneInfo

from babel import Locale
from babel.dates import format_date
from babel.numbers import format_currency, format_decimal

from billing.invoices import Invoice, InvoiceLine, Party
from billing.money import major
from shared.errors import NotFound

Language = Literal["en", "fr"]
LANGUAGES: tuple[Language, ...] = get_args(Language)
PPM_PER_PERCENT = 10_000
COMMERCIAL_INVOICE = "380"
"""UNTDID 1001."""
ONE = "C62"
"""UN/ECE Recommendation 20: a unit of what is counted."""

_WORDS: Mapping[Language, Mapping[str, str]] = {
    "en": {
        "invoice": "Invoice",
        "from": "From",
        "to": "Billed to",
        "number": "Invoice number",
        "date": "Date",
        "due": "Due",
        "description": "Description",
        "period": "Period",
        "amount": "Amount",
        "credit": "Credit for what is left of {plan}",
        "subtotal": "Subtotal",
        "tax": "{name} ({rate} %)",
        "total": "Total",
        "credit_applied": "Paid by your credit",
        "amount_due": "Amount due",
        "vat_id": "VAT",
        "tax_id": "Tax number",
        "by_hand": "Please pay by {due}, and name {number}.",
        "by_charge": "Your payment method is charged: there is nothing else to do.",
    },
    "fr": {
        "invoice": "Facture",
        "from": "De",
        "to": "Facturé à",
        "number": "Numéro de facture",
        "date": "Date",
        "due": "Échéance",
        "description": "Description",
        "period": "Période",
        "amount": "Montant",
        "credit": "Crédit pour le reste : {plan}",
        "subtotal": "Sous-total",
        "tax": "{name} ({rate} %)",
        "total": "Total",
        "credit_applied": "Payé par votre crédit",
        "amount_due": "Montant à payer",
        "vat_id": "TVA",
        "tax_id": "Numéro de taxe",
        "by_hand": "Veuillez payer au plus tard le {due}, en mentionnant {number}.",
        "by_charge": "Votre mode de paiement est débité : vous n’avez rien d’autre à faire.",
    },
}
_TAXES: Mapping[Language, Mapping[str, str]] = {
    "en": {},
    "fr": {"GST": "TPS", "HST": "TVH", "QST": "TVQ", "PST": "TVP"},
}
"""Taxes that have another name in a language of their country."""


@dataclass(frozen=True, slots=True)
class Seller:
    """Who sells the plans."""

    name: str
    country: str
    address: str = ""
    postcode: str = ""
    city: str = ""
    vat_id: str = ""
    tax_id: str = ""


def for_readers(invoice: Invoice, seller: Seller, *, language: Language, zone: str) -> dict[str, Any]:
    """What `invoice.typ` draws: texts alone. Dates are those of the tenant's time zone."""
    words, taxes = _WORDS[language], _TAXES[language]
    locale = Locale.parse(f"{language}_{seller.country}") if _is_spoken(language, seller.country) else Locale(language)

    def amount(value: int) -> str:
        return format_currency(major(value, invoice.currency), invoice.currency, locale=locale)

    def day(instant: datetime, style: str = "long") -> str:
        return format_date(_date(instant, zone), style, locale=locale)

    due = None if invoice.due_at is None else day(invoice.due_at)
    number = invoice.number
    facts = [(words["number"], number), (words["date"], day(invoice.finalized_at))]
    return {
        "language": language,
        "title": f"{words['invoice']} {number}",
        "heading": words["invoice"],
        "number": number,
        "words": words,
        "seller": {"name": seller.name, "lines": _lines_of_seller(seller, words, locale)},
        "customer": {"name": invoice.customer.name, "lines": [_place(invoice.customer, locale)]},
        "facts": [*facts, *([] if due is None else [(words["due"], due)])],
        "lines": [
            {
                "description": _description(line, words, language),
                "period": f"{day(line.period_start, 'medium')} – {day(line.period_end, 'medium')}",
                "amount": amount(line.amount),
            }
            for line in invoice.lines
        ],
        "totals": [
            (words["subtotal"], amount(invoice.subtotal)),
            *(
                (
                    words["tax"].format(name=taxes.get(tax.name, tax.name), rate=_rate(tax.rate_ppm, locale)),
                    amount(tax.amount),
                )
                for tax in invoice.taxes
            ),
            *_used_credit(invoice, words, amount),
        ],
        "total": (f"{words[_last(invoice)]} ({invoice.currency})", amount(invoice.total - invoice.credit_applied)),
        "note": words["by_charge"] if due is None else words["by_hand"].format(due=due, number=number),
    }


def for_programs(invoice: Invoice, seller: Seller, *, language: Language, zone: str) -> dict[str, Any]:
    """The invoice by the numbers of its business terms. EN 16931 knows one tax of a line: several are told as one, at their common rate."""
    words = _WORDS[language]

    def amount(value: int) -> str:
        return str(major(value, invoice.currency))

    rate = str(Decimal(sum(tax.rate_ppm for tax in invoice.taxes)) / PPM_PER_PERCENT)
    category = "S" if invoice.taxes else "E"
    exempt = {} if invoice.taxes else {"BT-120": "no tax"}
    line_tax = {"BT-151": category, "BT-152": rate}
    return {
        "BT-1": invoice.number,
        "BT-2": _date(invoice.finalized_at, zone),
        "BT-3": COMMERCIAL_INVOICE,
        "BT-5": invoice.currency,
        **({} if invoice.due_at is None else {"BT-9": _date(invoice.due_at, zone)}),
        "BT-72": _date(invoice.period_start, zone),
        "BT-106": amount(invoice.subtotal),
        "BT-109": amount(invoice.subtotal),
        "BT-110": amount(invoice.tax),
        "BT-112": amount(invoice.total),
        **({"BT-113": amount(invoice.credit_applied)} if invoice.credit_applied else {}),
        "BT-115": amount(invoice.total - invoice.credit_applied),
        "BG-4": {
            "name": seller.name,
            "country_code": seller.country,
            **_given(addr_l1=seller.address, city=seller.city, postcode=seller.postcode),
            **_given(vat_identifier=seller.vat_id, tax_identifier=seller.tax_id),
        },
        "BG-7": {"name": invoice.customer.name, "country_code": invoice.customer.country},
        "BG-23": [
            {
                "BT-116": amount(invoice.subtotal),
                "BT-117": amount(invoice.tax),
                "BT-118": category,
                "BT-119": rate,
                **exempt,
            }
        ],
        "BG-25": [
            {
                "BT-126": str(number),
                # A price is never negative: a credit is less than none of it.
                "BT-129": "1" if line.amount >= 0 else "-1",
                "BT-130": ONE,
                "BT-131": amount(line.amount),
                "BT-134": _date(line.period_start, zone),
                "BT-135": _last_day(line, zone),
                "BT-146": amount(abs(line.amount)),
                "BT-153": _description(line, words, language),
                **line_tax,
            }
            for number, line in enumerate(invoice.lines, 1)
        ],
    }


class InvoiceDocumentMissing(NotFound):
    """There is an invoice, and no document of it."""

    code = "invoice_document_missing"

    def __init__(self) -> None:
        super().__init__("this invoice has no document yet: it is made within moments of the invoice")


def _date(instant: datetime, zone: str) -> date:
    return instant.astimezone(ZoneInfo(zone)).date()


def _last_day(line: InvoiceLine, zone: str) -> date:
    """The last day of a period whose end does not belong to it."""
    return max(_date(line.period_start, zone), _date(line.period_end - timedelta(microseconds=1), zone))


def _description(line: InvoiceLine, words: Mapping[str, str], language: Language) -> str:
    plan = line.names.get(language) or line.names.get("en") or line.plan
    return plan if line.kind == "plan" else words["credit"].format(plan=plan)


def _lines_of_seller(seller: Seller, words: Mapping[str, str], locale: Locale) -> Sequence[str]:
    lines = [seller.address, " ".join(part for part in (seller.postcode, seller.city) if part)]
    lines.append(_country(seller.country, locale))
    lines += [
        f"{words[name]} {value}" for name, value in (("vat_id", seller.vat_id), ("tax_id", seller.tax_id)) if value
    ]
    return [line for line in lines if line]


def _last(invoice: Invoice) -> str:
    """What the last of the totals is called."""
    return "amount_due" if invoice.credit_applied else "total"


def _used_credit(invoice: Invoice, words: Mapping[str, str], amount: Callable[[int], str]) -> Sequence[tuple[str, str]]:
    if not invoice.credit_applied:
        return []
    return [(words["total"], amount(invoice.total)), (words["credit_applied"], amount(-invoice.credit_applied))]


def _place(party: Party, locale: Locale) -> str:
    country = _country(party.country, locale)
    return country if party.region is None else f"{country} ({party.region})"


def _country(code: str, locale: Locale) -> str:
    return str(locale.territories.get(code, code))


def _rate(rate_ppm: int, locale: Locale) -> str:
    return format_decimal(Decimal(rate_ppm) / PPM_PER_PERCENT, "#,##0.####", locale=locale)


def _is_spoken(language: Language, country: str) -> bool:
    """Whether it is known how amounts and dates are written there in this language."""
    return f"{language}_{country}" in _locales()


def _locales() -> frozenset[str]:
    from babel.localedata import locale_identifiers

    return frozenset(locale_identifiers())


def _given(**texts: str) -> dict[str, str]:
    return {name: text for name, text in texts.items() if text}
