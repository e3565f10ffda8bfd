"""The first page."""

from starlette.responses import Response

from console.declarations import Pages
from console.i18n import mark
from console.visits import Visit

pages = Pages()


@pages.page("/", title=mark("Home"), audience="signed in", menu="home")
async def show_home(visit: Visit) -> Response:
    return visit.render("pages/home.html")
