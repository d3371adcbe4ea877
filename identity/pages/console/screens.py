"""Which screens the console has: a module here and a line below. What each does is named as the
API names it, and a test holds both against each other.

Nothing of a screen is imported before it is first asked for (`pages.registry`).
"""

from typing import Final, NamedTuple

from identity.pages.words import _


class Screen(NamedTuple):
    path: str
    module: str
    needs: tuple[str, ...]
    """Scopes of which one is enough to come in; none: any administrative one."""
    title: str = ""
    """In the navigation; empty where it is reached from another."""
    group: str = ""
    operations: tuple[str, ...] = ()
    """Of the API, that it shows or does."""
    also: tuple[str, ...] = ()
    """Scopes that it takes besides, each of them."""


PEOPLE, PROGRAMS, RIGHTS, SERVICE = _("People"), _("Applications"), _("Rights"), _("Service")

SCREENS: Final = (
    Screen("/console", "dashboard", (), _("Overview"), "", ("get_stats",)),
    Screen("/console/search", "search", ()),
    Screen(
        "/console/users", "users", ("users:read",), _("Users"), PEOPLE,
        ("list_users", "create_user", "update_user", "export_users"),
    ),
    Screen("/console/users-import", "users_import", ("users:write",), "", "", ("import_users",)),
    Screen("/console/user-why", "user_why", ("users:read",), "", "", ("explain_user",)),
    Screen(
        "/console/user", "user", ("users:read",), "", "",
        (
            "get_user", "update_user", "delete_user", "reset_password", "set_user_roles",
            "list_user_sessions", "end_user_sessions", "end_user_session",
            "list_user_browser_sessions", "end_user_browser_session",
            "list_user_consents", "withdraw_user_consent",
            "list_user_factors", "reset_user_factors", "invite_user",
            "issue_enrolment_link", "withdraw_enrolment_links",
        ),
    ),
    Screen(
        "/console/sessions", "sessions", ("users:read",), _("Sessions"), PEOPLE,
        ("list_sessions", "end_session", "end_sessions"),
    ),
    Screen(
        "/console/blocks", "blocks", ("users:read",), _("Blocked sign-ins"), PEOPLE,
        ("list_blocks", "release_block"),
    ),
    Screen(
        "/console/clients", "clients", ("clients:read",), _("Clients"), PROGRAMS,
        ("list_clients",),
    ),
    Screen("/console/client-new", "client_new", ("clients:write",), "", "", ("create_client",)),
    Screen(
        "/console/client", "client", ("clients:read",), "", "",
        (
            "get_client", "update_client", "delete_client", "create_client_secret",
            "delete_client_secret", "list_client_logouts", "retry_client_logouts",
        ),
    ),
    Screen(
        "/console/client-preview", "client_preview", ("clients:read",), "", "",
        ("preview_token",), ("users:read",),
    ),
    Screen(
        "/console/client-logo", "client_logo", ("clients:read",), "", "",
        ("get_client_logo", "set_client_logo", "delete_client_logo"),
    ),
    Screen(
        "/console/issuers", "issuers", ("clients:read",), _("Trusted issuers"), PROGRAMS,
        ("list_trusted_issuers", "create_trusted_issuer"),
    ),
    Screen(
        "/console/issuer", "issuer", ("clients:read",), "", "",
        ("get_trusted_issuer", "update_trusted_issuer", "delete_trusted_issuer"),
    ),
    Screen(
        "/console/roles", "roles", ("roles:read",), _("Roles"), RIGHTS,
        ("list_roles", "create_role"),
    ),
    Screen(
        "/console/role", "role", ("roles:read",), "", "",
        ("get_role", "update_role", "delete_role"),
    ),
    Screen(
        "/console/scopes", "scopes", ("roles:read",), _("Scopes and resources"), RIGHTS,
        ("list_scopes", "create_scope"),
    ),
    Screen(
        "/console/scope", "scope", ("roles:read",), "", "",
        ("get_scope", "update_scope", "delete_scope"),
    ),
    Screen(
        "/console/keys", "keys", ("keys:read",), _("Signing keys"), SERVICE,
        ("list_keys", "rotate_keys", "revoke_key"),
    ),
    Screen(
        "/console/audit", "audit", ("audit:read",), _("Audit"), SERVICE, ("list_audit_events",)
    ),
    Screen("/console/audit-export", "audit_export", ("audit:read",), "", "",
           ("list_audit_events",)),
    Screen("/console/audit-check", "audit_check", ("audit:read",), "", "", ("verify_audit",)),
    Screen(
        "/console/mails", "mails", ("mail:read",), _("Mails"), SERVICE, ("list_mail", "test_mail")
    ),
    Screen("/console/mail", "mail", ("mail:read",), "", "", ("get_mail", "retry_mail")),
    Screen(
        "/console/lockdown", "lockdown", ("audit:read", "lockdown:write"), _("Lockdown"), SERVICE,
        ("get_lockdown", "begin_lockdown", "lift_lockdown"),
    ),
    Screen(
        "/console/branding", "branding", ("branding:read",), _("Branding"), SERVICE,
        ("get_branding", "update_branding", "set_logo", "delete_logo"),
    ),
    Screen("/console/settings", "settings", ("audit:read",), _("Settings"), SERVICE),
)  # fmt: skip


def screen(module: str) -> Screen:
    return next(each for each in SCREENS if each.module == module)
