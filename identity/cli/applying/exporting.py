"""What there is, as a file that `identity apply` takes: each thing once, in the order of names,
without what is the default, without secrets, and without what nobody has to describe."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import yaml
from sqlmodel import Session

from identity.cli.applying.kinds.kind import Document, Present
from identity.cli.applying.kinds.registry import KINDS
from identity.directory.access.authority import unregistered

HEAD = "# identity apply FILE makes all of this. Secrets are not in it.\n"
POLICIES = ("token_exchange", "token_exchange_impersonation")
_ENDLESS = 2**30
_DUMPER: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


class _Dumper(_DUMPER):  # type: ignore[misc]
    def ignore_aliases(self, data: Any) -> bool:
        return True


class Exported(NamedTuple):
    text: str
    left_out: int
    """Clients that have registered themselves."""
    with_secrets: int
    unknown: dict[str, list[str]]
    """Of clients the audiences that no scope belongs to any more: `apply` takes them only where
    they are there already."""


def export(session: Session, own_audiences: Sequence[str]) -> Exported:
    present = {kind.noun: kind.present(session) for kind in KINDS}
    clients = present["client"]
    ours = {noun: _described(found) for noun, found in present.items()}
    document = _document(ours)
    text = HEAD + (dumped(document) if document else "{}\n")
    named = {each for found in ours["client"].values() for each in found.get("audiences", ())}
    gone = set(unregistered(session, sorted(named), own_audiences))
    return Exported(
        text,
        sum(each.self_registered for each in clients.values()),
        sum(bool(clients[name].secrets) for name in ours["client"]),
        {
            name: lost
            for name, found in ours["client"].items()
            if (lost := [each for each in found.get("audiences", ()) if each in gone])
        },
    )


def _described(found: dict[str, Present]) -> dict[str, Document]:
    return {
        name: each.document
        for name, each in sorted(found.items())
        if not each.self_registered and not each.untouched
    }


def _document(ours: dict[str, dict[str, Document]]) -> dict[str, Any]:
    sections: dict[str, Any] = {
        each: {} for each in ("resources", "scopes", "roles", "trusted_issuers", "clients")
    }
    policies = {}
    for name, scope in ours["scope"].items():
        members = {each: scope[each] for each in scope if each != "audience"}
        if "audience" in scope:
            resource = sections["resources"].setdefault(scope["audience"], {"scopes": {}})
            resource["scopes"][name] = members
        else:
            sections["scopes"][name] = members
    sections["resources"] = dict(sorted(sections["resources"].items()))
    sections["roles"] = ours["role"]
    sections["trusted_issuers"] = ours["trusted issuer"]
    for name, client in ours["client"].items():
        sections["clients"][name] = {n: v for n, v in client.items() if n not in POLICIES}
        if policy := {n: client[n] for n in POLICIES if n in client}:
            policies[name] = policy
    return {name: each for name, each in {**sections, "policies": policies}.items() if each}


def dumped(document: dict[str, Any]) -> str:
    text: str = yaml.dump(
        document, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=_ENDLESS
    )
    return text
