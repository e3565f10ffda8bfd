"""In which language and with which theme the console is shown: kept in this browser."""

from starlette.responses import Response

from console.declarations import Pages
from console.i18n import LANGUAGES
from console.sessions import local_path
from console.visits import LANGUAGE_COOKIE, THEME_COOKIE, THEMES, Visit

pages = Pages()

KEPT_SECONDS = 365 * 86400
CHOICES = {"language": (LANGUAGE_COOKIE, LANGUAGES), "theme": (THEME_COOKIE, THEMES)}
"""The buttons' names, with the cookie and what it may be; anything else takes the choice back."""


@pages.action("/appearance", audience="anybody")
async def choose_appearance(visit: Visit) -> Response:
    form = await visit.form()
    response = visit.redirect(local_path(form.plain("back") or "/"))
    for name, (cookie, known) in CHOICES.items():
        chosen = form.plain(name)
        if chosen in known:
            response.set_cookie(
                cookie,
                chosen,
                max_age=KEPT_SECONDS,
                path="/",
                secure=visit.parts.cookie.secure,
                httponly=True,
                samesite="lax",
            )
        elif chosen:
            response.delete_cookie(cookie, path="/", secure=visit.parts.cookie.secure, httponly=True, samesite="lax")
    return response
