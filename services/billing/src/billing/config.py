"""The settings of billing: read once, validated at start, handed down by `app`."""

from typing import Literal, Self

from pydantic import Field, SecretStr, model_validator
from pydantic_settings import SettingsConfigDict

from billing.invoice_documents import Language, Seller
from billing.subscriptions import TRIAL_DAYS_MAX
from shared.service.settings import ServiceSettings


class Settings(ServiceSettings):
    """Billing's own settings, beside those of every service."""

    model_config = SettingsConfigDict(env_prefix="BILLING_")

    port: int = Field(8002, ge=1, le=65535, description="Port to listen on.")
    trial_days: int = Field(
        14,
        ge=0,
        le=TRIAL_DAYS_MAX,
        description="Length of a trial, in days, of a tenant that was created without one of its own.",
    )
    seller_name: str = Field(
        "Waybill", min_length=1, max_length=200, description="Who sells the plans, as invoices name it."
    )
    seller_address: str = Field("", max_length=200, description="Street and number of the seller.")
    seller_postcode: str = Field("", max_length=20, description="Postcode of the seller.")
    seller_city: str = Field("", max_length=100, description="City of the seller, with its region where that is usual.")
    seller_country: str = Field("CA", pattern="^[A-Z]{2}$", description="Country of the seller (ISO 3166-1).")
    seller_vat_id: str = Field("", max_length=50, description="VAT identification number of the seller.")
    seller_tax_id: str = Field(
        "", max_length=50, description="Any other tax number of the seller, such as that for GST."
    )
    invoice_language: Language = Field("en", description="Language of invoices: `en` or `fr`.")
    payment_provider: Literal["manual", "fake", "stripe"] = Field(
        "manual",
        description="Who takes payments: `stripe`; `fake` for trying things out; `manual`: invoices are paid by hand.",
    )
    checkout_return_url: str = Field(
        "",
        max_length=2000,
        description="Where the provider's page sends people back to, as `?checkout_session=…`: the console's `/billing`. Empty: nowhere.",
    )
    fake_provider_url: str = Field(
        "http://127.0.0.1:8010", description="Address of the provider for trying things out."
    )
    fake_provider_secret: SecretStr = Field(
        SecretStr(""), description="Secret that signs the notifications of that provider; empty: they are refused."
    )
    stripe_api_key: SecretStr | None = Field(None, description="Secret key of the Stripe account.")
    stripe_api_url: str = Field("https://api.stripe.com", description="Address of Stripe's API.")
    stripe_webhook_secrets: SecretStr = Field(
        SecretStr(""),
        description="Secrets (whsec_…) that sign Stripe's notifications, comma-separated: two while one replaces the other.",
    )
    test_clock_services: str = Field(
        "identity,jobs,webhooks",
        pattern=r"^([a-z]+(,[a-z]+)*)?$",
        description="Services that must go by the new time before a test clock is ready, comma-separated.",
    )

    @model_validator(mode="after")
    def _has_what_the_provider_needs(self) -> Self:
        if self.payment_provider == "stripe" and (self.stripe_api_key is None or not self.checkout_return_url):
            raise ValueError("stripe needs BILLING_STRIPE_API_KEY and BILLING_CHECKOUT_RETURN_URL")
        return self

    @property
    def seller(self) -> Seller:
        """Who sells the plans."""
        return Seller(
            name=self.seller_name,
            country=self.seller_country,
            address=self.seller_address,
            postcode=self.seller_postcode,
            city=self.seller_city,
            vat_id=self.seller_vat_id,
            tax_id=self.seller_tax_id,
        )

    @property
    def services_awaited(self) -> frozenset[str]:
        return frozenset(filter(None, self.test_clock_services.split(",")))
