"""All pages of the console, in the order in which the menu and the tests find them."""

from console.pages import account, company, find, home, job_forms, job_imports, jobs, reports, sign_in

PAGES = [
    *home.pages.declared,
    *job_forms.pages.declared,
    *jobs.pages.declared,
    *job_imports.pages.declared,
    *reports.pages.declared,
    *sign_in.pages.declared,
    *account.pages.declared,
    *company.pages.declared,
    *find.pages.declared,
]

__all__ = ["PAGES"]
