"""Nobody ends up with more than the granter held: over random histories of grants, invitations, keys, transfers and disablements.

Once with the rules alone, over thousands of histories; once through the API, over one long history, where every answer is compared.
"""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from identity import users
from identity.api_keys import rules as key_rules
from identity.invitations import rules as invitation_rules
from identity.users import rules
from shared.access import authorization, permissions
from shared.access.principals import Principal, Via
from shared.errors import WaybillError
from tests.harness.bodies import PASSWORD, staff_body
from tests.harness.client import Api, document
from tests.harness.identity import Identity
from tests.harness.people import Tenant

CODES = sorted(permissions.TENANT_CODES)
code_sets = st.lists(st.sampled_from(CODES), max_size=4).map(tuple)
STAFF, KEYS = "settings.staff.write", "settings.api_keys.write"


@dataclass(frozen=True)
class Person:
    """A user as the operations see it."""

    kind: str
    status: str
    granted: tuple[str, ...] = ()
    inviters: tuple[str, ...] = ()


@dataclass(frozen=True)
class Key:
    """A user API key."""

    user: str
    scopes: tuple[str, ...]


@dataclass
class Tenancy:
    """Users and keys, changed as the operations change them: by the same rules, in the same order."""

    people: dict[str, Person] = field(default_factory=lambda: {"owner": Person("owner", "active")})
    keys: dict[str, Key] = field(default_factory=dict)

    def held(self, name: str) -> frozenset[str]:
        """What a person or key may do now: by the access decision."""
        key = self.keys.get(name)
        person = self.people[key.user if key else name]
        if person.status != "active":
            return frozenset()
        via: Via = "user_key" if key else "session"
        scopes = key.scopes if key else ()
        return authorization.permissions_of(
            via, Principal(subject_kind=person.kind, granted=person.granted, scopes=scopes)
        )

    def user_of(self, name: str) -> str:
        return self.keys[name].user if name in self.keys else name

    def invite(self, actor: str, codes: tuple[str, ...]) -> None:
        rules.check_grantable(permissions.expand(codes), self.held(actor))
        self.people[f"user {len(self.people)}"] = Person("staff", "invited", codes, (self.user_of(actor),))

    def accept(self, name: str) -> None:
        person = self.people[name]
        offered = {code: permissions.expand([code]) for code in person.granted}
        granted = {
            code
            for inviter in person.inviters
            for code in invitation_rules.still_grantable(offered, self.held(inviter))
            if STAFF in self.held(inviter)
        }
        self.people[name] = replace(person, status="active", granted=tuple(sorted(granted)), inviters=())

    def set_permissions(self, actor: str, name: str, codes: tuple[str, ...]) -> None:
        person = self.people[name]
        rules.check_not_owner(person.kind)
        rules.check_not_self(self.user_of(actor), name)
        former, requested = permissions.expand(person.granted), permissions.expand(codes)
        rules.check_grantable(requested - former, self.held(actor))
        if former - requested:
            rules.check_may_manage(former, self.held(actor))
        inviters = (*person.inviters, self.user_of(actor)) if person.status == "invited" else ()
        self.people[name] = replace(person, granted=codes, inviters=inviters)

    def disable(self, actor: str, name: str) -> None:
        person = self.people[name]
        rules.check_not_owner(person.kind)
        rules.check_not_self(self.user_of(actor), name)
        rules.check_may_manage(permissions.expand(person.granted), self.held(actor))
        self.people[name] = replace(person, status="disabled")

    def enable(self, actor: str, name: str) -> None:
        person = self.people[name]
        rules.check_not_self(self.user_of(actor), name)
        rules.check_grantable(permissions.expand(person.granted), self.held(actor))
        self.people[name] = replace(person, status="active")

    def create_key(self, actor: str, scopes: tuple[str, ...]) -> None:
        user = key_rules.owner_of(self.user_of(actor))
        users.check_grantable(permissions.expand(scopes), self.held(actor))
        self.keys[f"key {len(self.keys)}"] = Key(user, scopes)

    def transfer(self, name: str) -> None:
        owner = next(one for one, person in self.people.items() if person.kind == "owner")
        rules.check_not_self(owner, name)
        rules.check_can_own(self.people[name].status)
        self.people[owner] = Person("staff", "active", permissions.ALL_SECTIONS)
        self.people[name] = Person("owner", "active")


class Histories(RuleBasedStateMachine):
    """Random histories; after each step everybody is looked at."""

    @initialize()
    def found(self) -> None:
        self.tenancy = Tenancy()
        self.before: Mapping[str, frozenset[str]] = {}

    def everybody(self) -> list[str]:
        return [*self.tenancy.people, *self.tenancy.keys]

    def attempt(self, actor: str, needed: str, change: Callable[[], None]) -> None:
        """An actor who holds what the route requires tries a change; nobody gains what the actor did not hold."""
        held = self.tenancy.held(actor)
        if needed not in held:
            return
        before = {name: self.tenancy.held(name) for name in self.everybody()}
        try:
            change()
        except WaybillError:
            assert {name: self.tenancy.held(name) for name in self.everybody()} == before
            return
        for name in self.everybody():
            gained = self.tenancy.held(name) - before.get(name, frozenset())
            assert gained <= held, f"{name} got {sorted(gained - held)} from {actor}"
        user = self.tenancy.user_of(actor)
        assert self.tenancy.held(user) == before[user], "an actor changed its own permissions"

    @rule(data=st.data(), codes=code_sets)
    def invite(self, data: st.DataObject, codes: tuple[str, ...]) -> None:
        actor = data.draw(st.sampled_from(self.everybody()))
        if len(self.tenancy.people) < 6:
            self.attempt(actor, STAFF, lambda: self.tenancy.invite(actor, codes))

    @precondition(lambda self: any(one.status == "invited" for one in self.tenancy.people.values()))
    @rule(data=st.data())
    def accept(self, data: st.DataObject) -> None:
        waiting = [name for name, person in self.tenancy.people.items() if person.status == "invited"]
        name = data.draw(st.sampled_from(waiting))
        inviters = self.tenancy.people[name].inviters
        could_give = frozenset[str]().union(*(self.tenancy.held(one) for one in inviters))
        self.tenancy.accept(name)
        assert self.tenancy.held(name) <= could_give

    @rule(data=st.data(), codes=code_sets)
    def set_permissions(self, data: st.DataObject, codes: tuple[str, ...]) -> None:
        actor = data.draw(st.sampled_from(self.everybody()))
        name = data.draw(st.sampled_from(sorted(self.tenancy.people)))
        self.attempt(actor, STAFF, lambda: self.tenancy.set_permissions(actor, name, codes))

    @rule(data=st.data(), ends=st.booleans())
    def disable_or_enable(self, data: st.DataObject, ends: bool) -> None:
        actor = data.draw(st.sampled_from(self.everybody()))
        name = data.draw(st.sampled_from(sorted(self.tenancy.people)))
        if ends or self.tenancy.people[name].status == "disabled":
            change = self.tenancy.disable if ends else self.tenancy.enable
            self.attempt(actor, STAFF, lambda: change(actor, name))

    @rule(data=st.data(), scopes=code_sets)
    def create_key(self, data: st.DataObject, scopes: tuple[str, ...]) -> None:
        actor = data.draw(st.sampled_from(self.everybody()))
        if len(self.tenancy.keys) < 6:
            self.attempt(actor, KEYS, lambda: self.tenancy.create_key(actor, scopes))

    @rule(data=st.data())
    def transfer(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(self.tenancy.people)))
        try:
            self.tenancy.transfer(name)
        except WaybillError:
            return
        former = [person for person in self.tenancy.people.values() if person.granted == permissions.ALL_SECTIONS]
        assert former

    @invariant()
    def there_is_one_owner_with_everything(self) -> None:
        owners = [name for name, person in self.tenancy.people.items() if person.kind == "owner"]
        assert len(owners) == 1
        assert self.tenancy.held(owners[0]) == permissions.OWNER

    @invariant()
    def keys_only_narrow(self) -> None:
        for name, key in self.tenancy.keys.items():
            assert self.tenancy.held(name) <= self.tenancy.held(key.user) & permissions.expand(key.scopes)


Histories.TestCase.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)
TestHistories = pytest.mark.hypothesis(Histories.TestCase)


async def test_no_history_through_the_api_gives_more_than_the_granter_held(identity: Identity, tenant: Tenant) -> None:
    chance = random.Random(20_300_102)
    sessions: dict[str, Api] = {tenant.owner.subject_id: tenant.owner}
    addresses = {tenant.owner.subject_id: tenant.owner_email}

    async def held() -> dict[str, frozenset[str]]:
        """What everybody may do now, as the services would decide."""
        found = {}
        for user_id, api in sessions.items():
            answer = await api.get("/v1/permissions")
            if answer.status_code == 401 and answer.json()["code"] == "session_revoked":
                login = {"tenant": tenant.id, "email": addresses[user_id], "password": PASSWORD}
                again = await identity.nobody.post("/v1/sessions", login)
                if again.status_code == 201:
                    made = again.json()
                    api = sessions[user_id] = identity.nobody.using({"Authorization": f"Bearer {made['token']}"}, made)
                    answer = await api.get("/v1/permissions")
            found[user_id] = frozenset(answer.json()["scopes"]) if answer.status_code == 200 else frozenset()
        return found

    before, changed, refused = await held(), 0, 0
    for _ in range(60):
        actor = chance.choice(sorted(sessions))
        target = chance.choice(sorted(sessions))
        codes = chance.sample(CODES, chance.randint(1, 3)) + (["settings.staff.write"] if chance.random() < 0.6 else [])
        api, granted = sessions[actor], before[actor]
        what = chance.choice(["create", "create", "grant", "grant", "grant", "disable", "enable", "key", "transfer"])
        match what:
            case "create":
                body = staff_body(*codes)
                answer = await api.post("/v1/staff", body)
                if answer.status_code == 201:
                    user_id = answer.json()["id"]
                    addresses[user_id] = body["email"]
                    sessions[user_id] = await identity.log_in(tenant.id, body["email"])
            case "grant":
                answer = await api.put(f"/v1/staff/{target}/permissions", {"permissions": codes})
            case "key":
                answer = await api.post("/v1/api-keys", {"name": "a key", "scopes": codes})
                if answer.status_code == 201:
                    key = identity.nobody.using({"X-Api-Key": answer.json()["api_key"]})
                    assert frozenset((await key.read("/v1/permissions"))["scopes"]) <= granted
            case "transfer":
                answer = await api.post("/v1/tenant/transfer-ownership", {"user_id": target, "password": PASSWORD})
            case _:
                answer = await api.post(f"/v1/staff/{target}/{what}")
        assert answer.status_code < 500, answer.text
        changed, refused = changed + (answer.status_code < 300), refused + (answer.status_code >= 400)
        after = await held()
        for user_id, holds in after.items():
            gained = holds - before.get(user_id, frozenset())
            assert gained <= granted, f"{what} by {actor}: {user_id} got {sorted(gained - granted)}"
        if answer.status_code >= 400:
            assert after == before
        before = after
        owners = [one for one in (await _staff(identity, tenant)) if one["kind"] == "owner"]
        assert len(owners) == 1

    assert changed > 10
    assert refused > 10


async def _staff(identity: Identity, tenant: Tenant) -> list[dict[str, str]]:
    listed = document(await identity.platform.in_tenant(tenant.id).get("/v1/staff?limit=200"))
    found: list[dict[str, str]] = listed["data"]
    return found
