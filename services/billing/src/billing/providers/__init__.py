"""Payment providers behind one port. Invoices that are paid by hand need none."""

from billing.providers.port import (
    Charge,
    Charger,
    ChargeResult,
    Declined,
    HostedPage,
    MethodGiven,
    NotificationRefused,
    PaymentProvider,
    Providers,
    Setup,
    SetupEnded,
    SetupOpen,
    SetupResult,
    Succeeded,
    Told,
    Unknown,
)

__all__ = [
    "Charge",
    "ChargeResult",
    "Charger",
    "Declined",
    "HostedPage",
    "MethodGiven",
    "NotificationRefused",
    "PaymentProvider",
    "Providers",
    "Setup",
    "SetupEnded",
    "SetupOpen",
    "SetupResult",
    "Succeeded",
    "Told",
    "Unknown",
]
