"""Payment providers behind one port. Invoices that are paid by hand need none."""

from billing.providers.port import Charge, ChargeResult, Declined, PaymentProvider, Providers, Succeeded, Unknown

__all__ = ["Charge", "ChargeResult", "Declined", "PaymentProvider", "Providers", "Succeeded", "Unknown"]
