"""Databases that are made when a test first asks for one like them, and copied from then on."""

import shutil
from pathlib import Path
from typing import Any

from tests import real
from tests.databases import Postgres, bootstrap, migrate, usual_settings
from tests.standing import Standing


class Templates:
    """Databases made when first asked for and copied for each test: of either dialect one that is
    migrated, and those in which a service has started before, with its master key: one for each
    setting of what may sign ID tokens."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._postgres: Postgres | None = None
        self._made: dict[tuple[str, str | None], Path | str] = {}
        self._standing: dict[str, Standing] = {}
        self._started: dict[str, Any] = {}
        self._untouched: dict[str, str] = {}

    @property
    def postgres(self) -> Postgres:
        if self._postgres is None:
            with real.shared_by_all():
                self._postgres = Postgres()
        return self._postgres

    def fresh(
        self, dialect: str, folder: Path, *, started: str | None = None, standing: bool = False
    ) -> str:
        """The URL of a migrated database that no other test has seen; SQLite's is in `folder`.

        `started`: the first start is done, as `bootstrap` does it with this setting of
        `id_token_algorithms`; the master key is in `folder`. `standing`: PostgreSQL's may be one
        that another test had, put back; there is one more connection to it.
        """
        made = self._template(dialect, started)
        if dialect == "postgresql":
            url = self._one_of(str(made)) if standing else self.postgres.create(str(made))
        else:
            shutil.copy(made, folder / "identity.db")
            url = f"sqlite:///{folder / 'identity.db'}"
        if started is not None:
            shutil.copytree(self._keys(dialect, started), folder / "keys")
            self._untouched[url] = started
        return url

    def has_started(self, settings: Any) -> bool:
        """Whether a start by `settings` has been made on the template, and nobody has asked this
        of the copy: a test may change it from then on."""
        url = settings.database.database_url.get_secret_value()
        started = self._untouched.pop(url, None)
        if started is None:
            return False
        theirs = self._started[started]
        keys = settings.keys.model_copy(update={"keys_dir": theirs.keys.keys_dir})
        return bool(keys == theirs.keys and settings.bootstrap == theirs.bootstrap)

    def discard(self, url: str) -> None:
        self._untouched.pop(url, None)
        if self._postgres is None or not url.startswith("postgresql:"):
            return
        if not any(each.give_back(url) for each in self._standing.values()):
            self._postgres.drop(url)

    def close(self) -> None:
        for each in self._standing.values():
            each.close()
        if self._postgres is not None:
            self._postgres.remove()

    def _one_of(self, template: str) -> str:
        if template not in self._standing:
            postgres = self.postgres
            self._standing[template] = Standing(lambda: postgres.create(template), postgres.drop)
        return self._standing[template].take()

    def _template(self, dialect: str, started: str | None) -> Path | str:
        """SQLite's file, or the name of PostgreSQL's database."""
        if (dialect, started) not in self._made:
            before = None if started is None else self._template(dialect, None)
            made: Path | str
            if dialect == "postgresql":
                url = self.postgres.create(str(before)) if before else self.postgres.create()
                made = url.rpartition("/")[2]
            else:
                name = "migrated" if started is None else f"started {started}"
                made = self._folder / f"{name}.db"
                url = f"sqlite:///{made}"
                if before:
                    shutil.copy(before, made)
            if started is not None:
                settings = usual_settings(
                    database_url=url,
                    keys_dir=self._keys(dialect, started),
                    id_token_algorithms=started,
                )
                bootstrap(settings)
                self._started[started] = settings
            else:
                migrate(url)
            self._made[dialect, started] = made
        return self._made[dialect, started]

    def _keys(self, dialect: str, started: str) -> Path:
        return self._folder / f"keys {dialect} {started}"
