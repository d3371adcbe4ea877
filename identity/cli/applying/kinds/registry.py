"""The kinds, in the order in which they are made: each may name those before it. Things are taken
away in the other one."""

from typing import Final

from identity.cli.applying.kinds.clients import Clients
from identity.cli.applying.kinds.issuers import Issuers
from identity.cli.applying.kinds.kind import Kind
from identity.cli.applying.kinds.roles import Roles
from identity.cli.applying.kinds.scopes import Scopes

KINDS: Final[tuple[Kind, ...]] = (Scopes(), Roles(), Issuers(), Clients())
