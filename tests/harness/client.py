"""The HTTP client of all tests: a service, or each service of the suite, as one caller sees it."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import httpx

from shared.api.problem_documents import kind_of
from tests.harness.bodies import PASSWORD, smallest_job
from tests.harness.waiting import eventually


@dataclass
class Api:
    """A service, called with the credentials of one caller; `at` names the service where there are several."""

    client: httpx.AsyncClient
    headers: dict[str, str] = field(default_factory=dict)
    document: dict[str, Any] = field(default_factory=dict, repr=False)
    """The answer that gave the credentials: of a session, its tokens and its principal."""
    urls: Mapping[str, str] = field(default_factory=dict)
    """The addresses of several services, by their names."""
    url: str = ""

    def at(self, service: str) -> "Api":
        """The same caller at this service; a client of one service stays where it is."""
        return replace(self, url=self.urls.get(service, self.url))

    def using(self, headers: Mapping[str, str], document: dict[str, Any] | None = None) -> "Api":
        """The same services, called with these credentials alone."""
        return replace(self, headers=dict(headers), document=document or {})

    def basic(self, account_id: str, key: str) -> "Api":
        """The same services, called with these API credentials."""
        return self.using(basic(account_id, key))

    def in_tenant(self, tenant_id: str) -> "Api":
        """A platform key in this tenant."""
        return replace(self, headers={**self.headers, "X-Tenant-Id": tenant_id})

    @property
    def subject_id(self) -> str:
        """Whose session this is."""
        return str(self.document["principal"]["id"])

    async def request(self, method: str, path: str, body: object = None, **options: Any) -> httpx.Response:
        """The answer; `options` are those of httpx, and `headers` come on top of the credentials."""
        content: dict[str, Any] = {} if body is None else {"json": body}
        headers = {**self.headers, **options.pop("headers", {})}
        return await self.client.request(method, f"{self.url}{path}", headers=headers, **content, **options)

    async def get(self, path: str, **options: Any) -> httpx.Response:
        return await self.request("GET", path, **options)

    async def post(self, path: str, body: object = None, **options: Any) -> httpx.Response:
        return await self.request("POST", path, body, **options)

    async def put(self, path: str, body: object, **options: Any) -> httpx.Response:
        return await self.request("PUT", path, body, **options)

    async def patch(self, path: str, body: object = None, **options: Any) -> httpx.Response:
        return await self.request("PATCH", path, body, **options)

    async def delete(self, path: str, **options: Any) -> httpx.Response:
        return await self.request("DELETE", path, **options)

    async def read(self, path: str, **options: Any) -> dict[str, Any]:
        """GET, expect 200, and return the document."""
        return document(await self.get(path, **options))

    async def create(self, path: str, body: object = None, **options: Any) -> dict[str, Any]:
        """POST, expect 200 or 201, and return the document."""
        return document(await self.post(path, body, **options), 200, 201)

    async def create_job(self, body: object = None, **options: Any) -> dict[str, Any]:
        """Create a job, by default the smallest one; returns it."""
        return document(await self.post("/v1/jobs", smallest_job() if body is None else body, **options), 201)

    async def listed(self, path: str = "/v1/jobs", *, limit: int = 200, **conditions: Any) -> list[str]:
        """The ids of a whole list, read page by page; a condition with several values is a list."""
        return await self._pages("GET", path, "params", {"limit": limit, **conditions})

    async def searched(self, path: str = "/v1/jobs/search", *, limit: int = 200, **conditions: Any) -> list[str]:
        """The ids of all that a search finds, read page by page."""
        return await self._pages("POST", path, "json", {"limit": limit, **conditions})

    async def _pages(self, method: str, path: str, where: str, asked: dict[str, Any]) -> list[str]:
        found: list[str] = []
        while True:
            page = document(await self.request(method, path, **{where: asked}))
            assert page["object"] == "list"
            assert len(page["data"]) <= asked["limit"]
            found += [row["id"] for row in page["data"]]
            if not page["has_more"]:
                assert page["next_cursor"] is None
                return found
            asked = {**asked, "cursor": page["next_cursor"]}

    async def stepped_up(self, password: str = PASSWORD) -> "Api":
        """The same session, in which identity has been given the password again."""
        made = await self.at("identity").create("/v1/auth/step-up", {"password": password})
        return replace(self, headers={**self.headers, "Authorization": f"Bearer {made['token']}"})

    async def settled(self, *services: str) -> "Api":
        """Wait until these services (default: all) know this caller."""
        for service in services or self.urls:
            at = self.at(service)

            async def known(at: Api = at) -> bool:
                return (await at.get("/v1/auth/test")).status_code == 200

            await eventually(known, what=f"{service} knows the caller")
        return self


def basic(account_id: str, key: str) -> dict[str, str]:
    """The HTTP Basic header of API credentials."""
    encoded = base64.b64encode(f"{account_id}:{key}".encode()).decode()
    return {"Authorization": f"Basic {encoded}"}


def document(answer: httpx.Response, *statuses: int) -> dict[str, Any]:
    """The answer's JSON; its status must be one of these (default: 200)."""
    assert answer.status_code in (statuses or (200,)), f"{answer.request.url}: {answer.status_code} {answer.text}"
    found: dict[str, Any] = answer.json()
    return found


def refused(answer: httpx.Response, status: int, code: str) -> dict[str, Any]:
    """The problem document of a refusal, which must have this status and code, and be as OpenAPI describes it."""
    assert (answer.status_code, answer.json().get("code")) == (status, code), answer.text
    found: dict[str, Any] = answer.json()
    kind_of(status).model_validate(found)
    return found


def pointers(problem: dict[str, Any]) -> Sequence[str]:
    """The fields that a refusal names."""
    return [error["pointer"] for error in problem["errors"]]
