"""All that a process is made of, wired once. Read this to see who depends on whom."""

from dataclasses import dataclass

from identity.access.granting import home_of_scopes
from identity.audit import AuditQueue
from identity.changes import ChangeFeed
from identity.clients import registry
from identity.clients.authentication import ClientAuthentication
from identity.db import Database
from identity.keys import master
from identity.keys.master import MasterKey
from identity.keys.ring import KeyRing
from identity.metrics import Metrics
from identity.opening import open_database
from identity.passwords.hashing import PasswordHasher
from identity.passwords.pool import HashingPool
from identity.remembered import Remembered
from identity.sessions.lifecycle import Lifetimes
from identity.settings import Settings
from identity.status.lists import Lists
from identity.status.places import Places
from identity.throttle import Throttle
from identity.tokens.bearer import BearerAuthentication
from identity.tokens.issuing import Mint
from identity.tokens.verifying import LiveTokens, Users
from identity.users import snapshot
from identity.users.login import PasswordLogin

USERS_REMEMBERED = 10_000
CLIENTS_REMEMBERED = 2_000


def audit_keys(master_key: MasterKey) -> list[bytes]:
    """The keys that may have signed the audit chain's head, the one in force first."""
    return master_key.derive_all("audit")


@dataclass(frozen=True)
class Services:
    settings: Settings
    db: Database
    master: MasterKey
    feed: ChangeFeed
    queue: AuditQueue
    metrics: Metrics
    ring: KeyRing
    users: Users
    clients: registry.Clients
    scopes: Remembered[dict[str, str | None]]
    lifetimes: Lifetimes
    hasher: PasswordHasher
    pool: HashingPool
    throttle: Throttle
    login: PasswordLogin
    places: Places
    lists: Lists
    mint: Mint
    live: LiveTokens
    client_authentication: ClientAuthentication
    bearer: BearerAuthentication

    @classmethod
    def of(cls, settings: Settings) -> "Services":
        """Opens the database, and reads or makes the master key. Raises `SettingsError`."""
        db = open_database(settings)
        with db.transaction() as session:
            master_key = master.load(session, settings)
        metrics = Metrics()
        feed = ChangeFeed(db, settings)
        queue = AuditQueue()
        ring = KeyRing(db, feed, master_key)
        users = Remembered(
            feed, lambda ref: snapshot.load(db, ref),
            noun="user", wholesale=("role", "scope"),
            size=USERS_REMEMBERED, lookups=metrics.cache("users"),
        )  # fmt: skip
        clients = Remembered(
            feed, lambda ref: db.read(lambda session: registry.load(session, ref)),
            noun="client", size=CLIENTS_REMEMBERED, lookups=metrics.cache("clients"),
        )  # fmt: skip
        scopes = Remembered(
            feed, lambda _: db.read(home_of_scopes),
            noun="scopes", wholesale=("scope",), size=1, lookups=metrics.cache("scopes"),
        )  # fmt: skip
        hasher = PasswordHasher(settings.passwords.bcrypt_rounds)
        pool = HashingPool(
            settings.passwords.hashing_threads,
            settings.passwords.hashing_queue,
            workers=settings.server.workers,
            on_wait=metrics.hash_waited,
        )
        throttle = Throttle(settings.throttle)
        live = LiveTokens(settings, db, feed, ring, users, clients, metrics.cache("tokens"))
        metrics.watch(
            "password_hashing_queue", "Logins that wait for a hashing thread.", lambda: pool.depth
        )
        metrics.watch("audit_queue", "Audit events not yet written.", lambda: queue.depth)
        metrics.watch(
            "change_feed_lag_seconds",
            "What the last look at the change feed took.",
            lambda: feed.lag,
            across_workers="max",
        )
        metrics.watch(
            "database_connections_in_use", "Database connections at work.", lambda: db.in_use
        )
        return cls(
            settings=settings,
            db=db,
            master=master_key,
            feed=feed,
            queue=queue,
            metrics=metrics,
            ring=ring,
            users=users,
            clients=clients,
            scopes=scopes,
            lifetimes=Lifetimes.of(settings),
            hasher=hasher,
            pool=pool,
            throttle=throttle,
            login=PasswordLogin(db, hasher, pool, throttle, queue, metrics),
            places=Places(settings, db, feed, ring),
            lists=Lists(settings, db, feed, ring),
            mint=Mint(settings, ring),
            live=live,
            client_authentication=ClientAuthentication(
                clients, queue, default_client=settings.sessions.default_client
            ),
            bearer=BearerAuthentication(live, queue),
        )  # fmt: skip

    async def close(self) -> None:
        await self.places.close()
        await self.feed.close()
        self.pool.close()
        await self.db.aclose()
