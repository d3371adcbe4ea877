"""What users and clients of any rights do one after another: nobody may more by the act of somebody
who did not."""

from collections.abc import Iterator
from contextlib import contextmanager

from identity.settings import Settings
from tests.databases import ADMIN_PASSWORD, WEAK_BUT_QUICK
from tests.fuzz.administering import House, housed, search
from tests.trials.row import Dice, Outcome, Place

STEPS = 40


@contextmanager
def at_home(database: str, place: Place) -> Iterator[House]:
    url = place.templates.fresh(database, place.folder, started="")
    chosen = {
        "database_url": url,
        "keys_dir": place.folder / "keys",
        "bootstrap_admin_password": ADMIN_PASSWORD,
        "id_token_algorithms": "",
        "log_level": "error",
        "mail_folder": None,
        **WEAK_BUT_QUICK,
    }
    try:
        with housed(Settings.of(**chosen)) as house:
            yield house
    finally:
        place.templates.discard(url)


def nobody_may_more(house: House, dice: Dice) -> Outcome:
    seen = Outcome()
    try:
        search(house, 1, shrink=False, chosen=dice.randrange(2**32), steps=STEPS)
    except AssertionError as broken:
        seen.see(False, str(broken)[:200])
    except ExceptionGroup as several:  # done again at once, it went another way
        for each in several.exceptions:
            seen.see(False, f"once of two times: {each!r}"[:200])
    return seen
