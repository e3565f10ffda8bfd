"""What somebody pastes: an id, an e-mail address, a request id; it opens its record."""

import re

from starlette.responses import Response

from console.declarations import Pages
from console.i18n import mark
from console.visits import Visit

pages = Pages()

RECORDS = {
    "job": "/jobs/{id}",
    "mer": "/merchants/{id}",
    "acct": "/merchants?q={id}",
    "loc": "/locations/{id}",
    "usr": "/settings/staff/{id}",
    "ep": "/webhooks/endpoints/{id}",
    "dlv": "/webhooks/deliveries/{id}",
    "evt": "/webhooks/deliveries?event_id={id}",
    "imp": "/jobs/imports/{id}",
    "inv": "/billing",
    "req": "/settings/audit?request_id={id}",
}
"""Where the record of each kind of id is shown."""
ID = re.compile(r"([a-z]{2,4})_[0-9a-z]{20,40}")


@pages.page("/find", title=mark("Find"), audience="signed in", sample="/find?q=nothing")
async def find(visit: Visit) -> Response:
    asked = visit.query.get("q", "").strip()
    found = ID.fullmatch(asked)
    if found and found[1] in RECORDS:
        return visit.redirect(RECORDS[found[1]].format(id=asked))
    places = [
        (page.title, page.path)
        for page in visit.parts.pages
        if page.menu and page.sample == page.path and visit.may_open(page)
    ]
    known = {path for _, path in places}
    searched = [(title, f"{path}?q={asked}") for title, path in places if path in SEARCHED & known]
    return visit.render("pages/find.html", asked=asked, searched=searched)


SEARCHED = frozenset({"/merchants", "/settings/staff", "/locations", "/jobs"})
"""Pages whose list is searched by words."""
