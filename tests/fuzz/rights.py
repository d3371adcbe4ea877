"""Who holds what, read from the database, and what may never happen to it.

Authority is a set of atoms: ("scope", name), ("role", name), ("audience", name) of a client, and
EVERYTHING of a client that may ask for whatever its users hold.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection
from sqlmodel import col, select

from identity.directory.access.granting import BUILT_IN, OPENID
from identity.directory.access.table import Role, RoleScope, Scope
from identity.directory.clients.table import Client, ClientSecret
from identity.directory.hashes.recognising import recognise
from identity.directory.users.table import User, UserRole
from identity.tokens.sessions.table import LoginSession

Atom = tuple[str, str]
Atoms = frozenset[Atom]

EVERYTHING: Atom = ("everything", "*")
WARDEN: Atom = ("scope", "roles:write")
ANYBODYS = {("scope", scope) for scope in ("account", *OPENID)}
"""Every user holds them, whatever their roles."""


@dataclass(frozen=True)
class Token:
    """An access token, whose it is, and what it was given."""

    text: str
    client: str
    user: str | None
    scopes: frozenset[str]
    audience: str
    session: str | None
    refresh_token: str | None = None


@dataclass
class State:
    """All that administration changes. Two are equal where nothing was changed."""

    users: dict[str, dict[str, Any]]
    clients: dict[str, dict[str, Any]]
    homes: dict[str, str | None]
    """Scope → the resource it belongs to."""
    roles: dict[str, set[str]]
    """Role → its scopes."""
    sessions: dict[str, tuple[str, str]]
    """Live session → its user and its client."""
    own_audiences: frozenset[str] = field(compare=False)

    @classmethod
    def of(cls, connection: Connection, own_audiences: frozenset[str]) -> "State":
        def rows(*columns: Any) -> list[Any]:
            return list(connection.execute(select(*columns)).all())

        roles: dict[str, set[str]] = {name: set() for (name,) in rows(col(Role.name))}
        for role, scope in rows(col(RoleScope.role), col(RoleScope.scope)):
            roles[role].add(scope)
        u: Any = User
        users = {
            row[0]: {"roles": set(), "looks": tuple(row[1:])}
            for row in rows(
                u.id, u.status, u.password_hash, u.must_change_password, u.username, u.email, u.name
            )
        }
        for user, role in rows(col(UserRole.user_id), col(UserRole.role)):
            users[user]["roles"].add(role)
        c: Any = Client
        clients = {
            row[0]: {
                "scopes": set(row[1]), "audiences": set(row[2]), "builtin": row[3],
                "confidential": row[4] == "confidential", "grants": set(row[5]),
                "looks": tuple(row[6:]), "secrets": set(),
            }
            for row in rows(c.id, c.scopes, c.audiences, c.builtin, c.type, c.grants, c.status,
                            c.name)
        }  # fmt: skip
        for client, secret in rows(col(ClientSecret.client_id), col(ClientSecret.id)):
            clients[client]["secrets"].add(secret)
        live = select(
            col(LoginSession.id), col(LoginSession.user_id), col(LoginSession.client_id)
        ).where(col(LoginSession.ended_at).is_(None))
        sessions = {sid: (user, client) for sid, user, client in connection.execute(live)}
        homes = dict(rows(col(Scope.name), col(Scope.audience)))
        return cls(users, clients, homes, roles, sessions, own_audiences)

    # --- What principals hold ----------------------------------------------------------------

    def of_user(self, user: str) -> Atoms:
        roles = self.users[user]["roles"]
        return frozenset(("role", role) for role in roles) | {
            ("scope", scope) for role in roles for scope in self.roles[role]
        }

    def of_client(self, client: str) -> Atoms:
        it = self.clients[client]
        scopes = {("scope", scope) for scope in it["scopes"] - {"*"}}
        audiences = {("audience", audience) for audience in it["audiences"]}
        serves_all = it["builtin"] or "*" in it["scopes"]
        return frozenset(scopes | audiences | ({EVERYTHING} if serves_all else set()))

    def made_since(self, before: "State") -> set[str]:
        return self.homes.keys() - before.homes.keys()

    def reach(self) -> dict[str, Atoms]:
        return {user: self.of_user(user) for user in self.users} | {
            client: self.of_client(client) for client in self.clients
        }

    def held(self, token: Token) -> Atoms:
        """What the bearer may hand out: nothing once its user or client has gone."""
        client = self.clients.get(token.client)
        if client is None or client["looks"][0] != "active":
            return frozenset()
        own = {s for s in token.scopes if "*" in client["scopes"] or s in client["scopes"]}
        if token.user is None:
            return frozenset(("scope", scope) for scope in own)
        user = self.users.get(token.user)
        if user is None or user["looks"][0] != "active" or token.session not in self.sessions:
            return frozenset()
        mine = self.of_user(token.user)
        made_later = {(k, name) for k, name in mine if k == "role" or name not in BUILT_IN}
        return frozenset(made_later | (mine & {("scope", scope) for scope in own}))

    def covers(self, held: Atoms, atoms: Iterable[Atom]) -> list[Atom]:
        """Those of `atoms` that whoever holds `held` may not give."""
        return [atom for atom in atoms if not self._may_give(held, atom)]

    def _may_give(self, held: Atoms, atom: Atom) -> bool:
        kind, name = atom
        if atom in held or atom in ANYBODYS or (kind in ("role", "audience") and WARDEN in held):
            return True
        if kind == "audience":
            if name in self.own_audiences:
                return ("scope", "introspect") in held
            return any(home == name and ("scope", s) in held for s, home in self.homes.items())
        return atom == EVERYTHING and held >= {("scope", s) for s in BUILT_IN} - ANYBODYS

    # --- Who can still log in ----------------------------------------------------------------

    def administrators(self, *, one_time: bool) -> set[str]:
        """Who can log in; `one_time`: or could after changing a one-time password."""
        return {
            user
            for user, it in self.users.items()
            if "admin" in it["roles"]
            and it["looks"][0] == "active"
            and recognise(it["looks"][1] or "")
            and (one_time or not it["looks"][2])
        }


def check_act(before: State, after: State, held: Atoms) -> None:
    """What may never happen, of an act by whoever held `held`."""
    was, now = before.reach(), after.reach()
    assert not after.users.keys() & after.clients.keys(), "the ids of a user and a client meet"

    # Nobody may more by the act of somebody who may not give it. A scope that is made is the
    # administrators', so that somebody can hand it out.
    made = {("scope", scope) for scope in after.made_since(before)}
    for who, atoms in now.items():
        gained = atoms - was.get(who, frozenset())
        if "admin" in after.users.get(who, {"roles": ()})["roles"]:
            gained -= made
        beyond = before.covers(held, gained)
        assert not beyond, f"{who} gained {beyond}"

    # Nobody lays hands on somebody who may more: whoever could would become them.
    for who in touched(before, after):
        beyond = before.covers(held, was[who])
        assert not beyond, f"{who} was changed, who holds {beyond}"
    for sid in before.sessions.keys() - after.sessions.keys():
        user, client = before.sessions[sid]
        ends = [before.covers(held, was[user]), before.covers(held, was[client])]
        assert not all(ends), f"{user} was logged out at {client}"

    # Nor on a role or scope that they do not hold.
    for role, scopes in before.roles.items():
        left = after.roles[role] - after.made_since(before) if role in after.roles else None
        if left != {scope for scope in scopes if scope in after.homes}:
            beyond = before.covers(held, {("role", role), *(("scope", s) for s in scopes)})
            assert not beyond, f"the role {role} was changed, that holds {beyond}"
    for scope, home in before.homes.items():
        if scope not in after.homes or after.homes[scope] != home:
            assert ("scope", scope) in held, f"the scope {scope} was changed"
    assert held or before == after, "somebody who holds nothing changed something"


def touched(before: State, after: State) -> set[str]:
    """Users and clients that were changed. Whoever lost something that has gone altogether was
    not: that is for whoever lets roles and scopes go."""
    found = set()
    for user, was in before.users.items():
        now = after.users.get(user)
        there = after.roles.keys()
        if now is None or was["looks"] != now["looks"] or was["roles"] & there != now["roles"]:
            found.add(user)
    for client, was in before.clients.items():
        now = after.clients.get(client)
        there = after.homes.keys() | {"*"}
        if now is None or was | {"scopes": was["scopes"] & there} != now:
            found.add(client)
    return found


def check_administrators(before: State, after: State, *, reset: bool) -> None:
    """Somebody who can log in stays administrator; with `reset`, a password was set by another."""
    assert after.administrators(one_time=True), "no administrator is left"
    if before.administrators(one_time=False) and not reset:
        assert after.administrators(one_time=False), "no administrator can log in"
