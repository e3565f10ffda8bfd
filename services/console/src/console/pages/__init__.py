"""All pages of the console, in the order in which the menu and the tests find them."""

from console.pages import home, job_forms, job_imports, jobs, reports, sign_in

PAGES = [
    *home.pages.declared,
    *job_forms.pages.declared,
    *jobs.pages.declared,
    *job_imports.pages.declared,
    *reports.pages.declared,
    *sign_in.pages.declared,
]

__all__ = ["PAGES"]
