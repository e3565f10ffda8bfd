"""All pages of the console, in the order in which the menu and the tests find them."""

from console.pages import home, sign_in

PAGES = [
    *home.pages.declared,
    *sign_in.pages.declared,
]

__all__ = ["PAGES"]
