"""Whether the database server will do at all: asked once, as the service starts."""

from identity.settings import Settings, SettingsError
from identity.store.histories import Histories, Unfit

WITHIN = 10.0  # seconds to connect
TURNS = 3
PID = "SELECT pg_backend_pid()"


def examine(settings: Settings) -> None:
    """Raises `SettingsError` with what is wrong with the server, `Unavailable` or psycopg's errors
    where it cannot be asked."""
    url = settings.database.database_url.get_secret_value()
    if url.startswith("sqlite:"):
        return
    from identity.store.connections import Connection

    try:
        first, second = (Connection.open(url, Histories(), WITHIN) for _ in range(2))
    except Unfit as error:
        raise SettingsError(f"IDENTITY_DATABASE_URL: {error.audit}") from None
    with first, second:
        pids = [
            [made.execute(PID).fetchall()[0][0] for made in (first, second)] for _ in range(TURNS)
        ]
    if len({tuple(pair) for pair in pids}) > 1 or pids[0][0] == pids[0][1]:
        raise SettingsError(
            "IDENTITY_DATABASE_URL: leads to a pooler in transaction mode, where a connection is "
            "another one each time: connect directly, or through session mode"
        )
