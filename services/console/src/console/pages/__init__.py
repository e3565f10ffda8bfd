"""All pages of the console, in the order in which the menu and the tests find them."""

from console.pages import (
    account,
    api_keys,
    api_settings,
    audit,
    company,
    find,
    home,
    job_forms,
    job_imports,
    jobs,
    locations,
    merchant_access,
    merchants,
    receipts,
    reports,
    sign_in,
    staff,
)

PAGES = [
    *home.pages.declared,
    *job_forms.pages.declared,
    *jobs.pages.declared,
    *job_imports.pages.declared,
    *merchants.pages.declared,
    *merchant_access.pages.declared,
    *api_settings.pages.declared,
    *locations.pages.declared,
    *receipts.pages.declared,
    *reports.pages.declared,
    *staff.pages.declared,
    *api_keys.pages.declared,
    *audit.pages.declared,
    *sign_in.pages.declared,
    *account.pages.declared,
    *company.pages.declared,
    *find.pages.declared,
]

__all__ = ["PAGES"]
