"""All that a process is made of, wired once. Read this to see who depends on whom."""

from identity.authentication import browser, totp
from identity.authentication.assertions import Assertions
from identity.authentication.bearer import BearerAuthentication
from identity.authentication.browser import BrowserLifetimes, Browsers
from identity.authentication.certificates import Certificates
from identity.authentication.clients import ClientAuthentication
from identity.authentication.dpop import DPoP
from identity.authentication.halfway import Halfway
from identity.authentication.issuers import TrustedIssuers
from identity.authentication.key_sets import KeySets
from identity.authentication.mail.outbox import Outbox
from identity.authentication.marks import Marks
from identity.authentication.passkeys.challenges import Challenges
from identity.authentication.passkeys.proving import Passkeys
from identity.authentication.passkeys.relying import RelyingParty
from identity.authentication.password import PasswordLogin
from identity.authentication.passwords.hashing import PasswordHasher
from identity.authentication.passwords.pool import HashingPool
from identity.authentication.second_factor import SecondFactor
from identity.authentication.throttle import Throttle
from identity.clock import now
from identity.dataclass import dataclass
from identity.directory import consents
from identity.directory.access.granting import home_of_scopes
from identity.directory.branding import current as branding
from identity.directory.branding.current import Brands, Logos
from identity.directory.clients import built_in, registry
from identity.directory.clients.secrets_used import SecretsUsed
from identity.directory.consents import Consents
from identity.directory.details import DetailTypes
from identity.directory.hashes import kinds
from identity.directory.issuers import registry as issuers_elsewhere
from identity.directory.users import snapshot
from identity.http.cookies import Cookies
from identity.http.fetching import Fetcher
from identity.http.wire.in_a_row import Batched
from identity.keys import master
from identity.keys.followers import Followers
from identity.keys.master import MasterKey
from identity.keys.ring import KeyRing
from identity.records.audit import AuditQueue
from identity.records.metrics import Metrics
from identity.service.opening import open_database
from identity.settings import Settings
from identity.store import Database
from identity.store.changes import ChangeFeed
from identity.store.remembered import Remembered
from identity.tokens import lockdown
from identity.tokens.answers import Answers
from identity.tokens.hints import Hints
from identity.tokens.id_tokens import IdTokens
from identity.tokens.live import LiveTokens, Users
from identity.tokens.lockdown import Lockdowns
from identity.tokens.logout_tokens import LogoutTokens
from identity.tokens.minting import Mint
from identity.tokens.sessions.lifecycle import Lifetimes
from identity.tokens.status.lists import Lists
from identity.tokens.status.places import Places
from identity.tokens.subjects import Subjects

USERS_REMEMBERED = 10_000
CLIENTS_REMEMBERED = 2_000
BROWSERS_REMEMBERED = 10_000
CONSENTS_REMEMBERED = 20_000
ISSUERS_REMEMBERED = 200
LOGOS_REMEMBERED = 50


@dataclass(frozen=True)
class Services:
    settings: Settings
    db: Database
    master: MasterKey
    feed: ChangeFeed
    queue: AuditQueue
    metrics: Metrics
    ring: KeyRing
    followers: Followers
    users: Users
    clients: registry.Clients
    scopes: Remembered[dict[str, str | None]]
    lockdowns: Lockdowns
    brands: Brands
    logos: Logos
    lifetimes: Lifetimes
    fetcher: Fetcher
    key_sets: KeySets
    trusted_issuers: TrustedIssuers
    hasher: PasswordHasher
    pool: HashingPool
    throttle: Throttle
    login: PasswordLogin
    second_factor: SecondFactor
    mails: Outbox
    passkeys: Passkeys
    halfway: Halfway
    places: Places
    lists: Lists
    mint: Mint
    id_tokens: IdTokens
    answers: Answers
    logout_tokens: LogoutTokens
    subjects: Subjects
    hints: Hints
    cookies: Cookies
    marks: Marks
    browsers: Browsers
    browser_lifetimes: BrowserLifetimes
    consents: Consents
    detail_types: DetailTypes
    live: LiveTokens
    secrets_used: SecretsUsed
    client_authentication: ClientAuthentication
    dpop: DPoP
    bearer: BearerAuthentication

    @classmethod
    def of(cls, settings: Settings) -> "Services":
        """Opens the database, and reads or makes the master key. Raises `SettingsError`."""
        db = open_database(settings)
        with db.transaction() as session:
            master_key = master.load(session, settings)
            totp.check(session, master_key)
        metrics = Metrics()
        feed = ChangeFeed(db, settings)
        queue = AuditQueue()
        ring = KeyRing(db, feed, master_key, settings.keys.audience_algorithms)
        followers = Followers(db, ring)
        secrets_used = SecretsUsed(db)
        passkeys = Passkeys(db, RelyingParty.of(settings), Challenges(db, master_key))
        users = Remembered(
            feed, lambda ref: snapshot.load(db, ref, passkeys=passkeys.possible),
            noun="user", wholesale=("role", "scope"),
            size=USERS_REMEMBERED, lookups=metrics.cache("users"),
        )  # fmt: skip
        clients = Remembered(
            feed, lambda ref: registry.load(db, ref, built_in.own_page(settings)),
            noun="client", size=CLIENTS_REMEMBERED, lookups=metrics.cache("clients"),
        )  # fmt: skip
        scopes = Remembered(
            feed, lambda _: db.read(home_of_scopes),
            noun="scopes", wholesale=("scope",), size=1, lookups=metrics.cache("scopes"),
        )  # fmt: skip
        lockdowns = Remembered(
            feed, lambda _: lockdown.load(db),
            noun=lockdown.NOUN, size=1, lookups=metrics.cache("lockdown"),
        )  # fmt: skip
        brands = Remembered(
            feed, lambda _: branding.load(db),
            noun=branding.NOUN, size=1, lookups=metrics.cache("branding"),
        )  # fmt: skip
        logos = Remembered(
            feed, lambda ref: branding.load_image(db, ref),
            noun=branding.LOGO, size=LOGOS_REMEMBERED, lookups=metrics.cache("logos"),
        )  # fmt: skip
        stored_kinds = Remembered(
            feed, lambda _: kinds.stored(db),
            noun="password_kind", size=1, lookups=metrics.cache("password_kinds"),
        )  # fmt: skip
        browsers = Remembered(
            feed, lambda ref: browser.load(db, ref),
            noun="browser_session", size=BROWSERS_REMEMBERED, lookups=metrics.cache("browsers"),
        )  # fmt: skip
        agreed = Remembered(
            feed, lambda ref: consents.load(db, ref),
            noun="consent", wholesale=[consents.OF_CLIENT],
            size=CONSENTS_REMEMBERED, lookups=metrics.cache("consents"),
        )  # fmt: skip
        hasher = PasswordHasher(settings.passwords.bcrypt_rounds)
        pool = HashingPool(
            settings.passwords.hashing_threads,
            settings.passwords.hashing_queue,
            workers=settings.server.workers,
            on_wait=metrics.hash_waited,
        )
        throttle = Throttle(settings.throttle)
        subjects = Subjects(master_key)
        live = LiveTokens(
            settings, db, feed, ring, users, clients, metrics.cache("tokens"), Batched, subjects
        )
        fetcher = Fetcher.of(settings)
        key_sets = KeySets(fetcher)
        issuers = Remembered(
            feed, lambda ref: issuers_elsewhere.load(db, ref),
            noun=issuers_elsewhere.NOUN, size=ISSUERS_REMEMBERED, lookups=metrics.cache("issuers"),
        )  # fmt: skip
        trusted = TrustedIssuers(issuers, key_sets, issuer=settings.issuer)
        assertions = Assertions(
            db,
            key_sets,
            trusted,
            issuer=settings.issuer,
            token_endpoint=f"{settings.issuer.rstrip('/')}/token",
        )
        dpop = DPoP(settings, db, master_key)
        services = cls(
            settings=settings,
            db=db,
            master=master_key,
            feed=feed,
            queue=queue,
            metrics=metrics,
            ring=ring,
            followers=followers,
            users=users,
            clients=clients,
            scopes=scopes,
            lockdowns=lockdowns,
            brands=brands,
            logos=logos,
            lifetimes=Lifetimes.of(settings),
            fetcher=fetcher,
            key_sets=key_sets,
            trusted_issuers=trusted,
            hasher=hasher,
            pool=pool,
            throttle=throttle,
            login=PasswordLogin(
                db, hasher, pool, throttle, stored_kinds, lockdowns, queue, metrics
            ),
            second_factor=SecondFactor(db, master_key, settings, queue, metrics),
            mails=Outbox(settings, master_key),
            passkeys=passkeys,
            halfway=Halfway(master_key),
            places=Places(settings, db, feed, ring),
            lists=Lists(settings, db, feed, ring),
            mint=Mint(settings, ring),
            id_tokens=IdTokens(settings, ring),
            answers=Answers(settings, ring),
            logout_tokens=LogoutTokens(settings, ring),
            subjects=subjects,
            hints=Hints(settings.issuer, ring, now),
            cookies=Cookies(secure=settings.issuer.startswith("https:")),
            marks=Marks(master_key),
            browsers=browsers,
            browser_lifetimes=BrowserLifetimes.of(settings),
            consents=agreed,
            detail_types=DetailTypes.load(settings.tokens.authorization_details),
            live=live,
            secrets_used=secrets_used,
            client_authentication=ClientAuthentication(
                clients, queue, assertions, Certificates(settings, key_sets), secrets_used,
                default_client=settings.sessions.default_client,
            ),
            dpop=dpop,
            bearer=BearerAuthentication(
                live, dpop, queue, {settings.issuer, settings.audience}, settings.issuer
            ),
        )  # fmt: skip
        _watch(services)
        return services

    async def close(self) -> None:
        await self.fetcher.close()
        await self.places.close()
        await self.feed.close()
        self.pool.close()
        await self.db.aclose()


def _watch(services: Services) -> None:
    """What numbers say of the parts, looked at when somebody asks for them."""
    metrics, db, feed = services.metrics, services.db, services.feed
    pool, queue, followers = services.pool, services.queue, services.followers
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
    feed.on_reset = metrics.feed_reset
    metrics.watch(
        "change_feed_open_writers",
        "Transactions of the database that are older than the newest change, and still open.",
        lambda: len(feed.position.open) if feed.position else 0,
        across_workers="max",
    )
    metrics.watch(
        "change_feed_floor_distance",
        "Transactions between the oldest open writer and the newest change.",
        lambda: feed.position.newest.xid - feed.position.floor if feed.position else 0,
        across_workers="max",
    )
    metrics.watch(
        "database_timeline",
        "PostgreSQL's timeline; it grows with each failover.",
        lambda: db.histories.current.timeline if db.histories.current else 0,
        across_workers="max",
    )
    metrics.watch(
        "signing_key_followers_missing",
        "Followers of the revocations whom a key waits for that is due to sign.",
        lambda: followers.missing,
        across_workers="max",
    )
    metrics.watch("database_connections_in_use", "Database connections at work.", lambda: db.in_use)
