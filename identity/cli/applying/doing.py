"""A plan carried out, in one transaction: all of it or nothing."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

from sqlmodel import Session, col, delete

from identity.cli.applying.files import Files
from identity.cli.applying.kinds.kind import House
from identity.cli.applying.mistakes import Mistake, Mistaken
from identity.cli.applying.planning import Plan, Step, Way, digest_of, plan
from identity.clock import utcnow
from identity.directory.access.granting import ensure_built_in
from identity.directory.clients.built_in import ensure_first_party
from identity.directory.configured import Configured
from identity.errors import IdentityError, ValidationFailed
from identity.records import audit
from identity.store import insert_on_conflict
from identity.store.locks import Lock, take


def prepare(session: Session) -> None:
    """Until the transaction ends nobody else applies anything, and what is built in is there."""
    take(session, Lock.CONFIGURATION)
    ensure_built_in(session)
    ensure_first_party(session)


def carry_out(session: Session, files: Files, made: Plan, way: Way, house: House) -> datetime:
    """From when on everything is good: an id taken again rests for a moment. The caller has called
    `prepare` and made the plan after it. Raises `Mistaken`."""
    good_from = utcnow()
    for step in made.steps:
        with _at(step):
            made_at = _do(session, step, house) or step.made_at
        _note(session, step._replace(made_at=made_at), made.set_name)
        good_from = max(good_from, made_at)
    _check(session, files, way)
    if made.visible:
        actions = [step.action for step in made.visible]
        audit.record(
            session, "configuration.applied", subject=made.set_name,
            added=actions.count("add"), changed=actions.count("change"),
            adopted=actions.count("adopt"), removed=actions.count("remove"),
        )  # fmt: skip
    return good_from


def _do(session: Session, step: Step, house: House) -> datetime | None:
    if step.action == "add":
        assert step.entry is not None
        return step.kind.create(session, step.name, step.entry.wanted, house)
    if step.action in ("change", "adopt"):
        assert step.entry is not None
        step.kind.update(session, step.name, step.entry.wanted, house)
    elif step.action == "remove":
        step.kind.remove(session, step.name)
    return None


def _note(session: Session, step: Step, set_name: str) -> None:
    """Whose it is from now on."""
    if step.action in ("remove", "keep", "release"):
        session.exec(
            delete(Configured).where(
                col(Configured.kind) == step.kind.noun, col(Configured.name) == step.name
            )
        )
        return
    values = {
        "set_name": set_name,
        "created": step.created,
        "made_at": step.made_at,
        "digest": digest_of(step.after),
        "at": utcnow(),
    }
    noted = insert_on_conflict(session, Configured).values(
        kind=step.kind.noun, name=step.name, **values
    )
    session.execute(noted.on_conflict_do_update(index_elements=["kind", "name"], set_=values))


def _check(session: Session, files: Files, way: Way) -> None:
    """What was done is what the files say: where one part of them undoes what another says, a
    scope that a role names and `--prune` takes away, the next time would do it again."""
    left = plan(session, files, way).steps
    if left:
        raise Mistaken([_undone(step) for step in left])


def _undone(step: Step) -> Mistake:
    members = sorted(
        name for name in step.before.keys() | step.after.keys()
        if step.before.get(name) != step.after.get(name)
    )  # fmt: skip
    words = f"it would not stay as it is here: {', '.join(members) or step.action}"
    return _mistake(step, f"{words}. Does --prune take away what it names?")


@contextmanager
def _at(step: Step) -> Iterator[None]:
    """A refusal names the place of the file that it is about."""
    try:
        yield
    except IdentityError as refusal:
        if isinstance(refusal, ValidationFailed) and step.entry is not None:
            raise Mistaken(step.entry.place.mistakes(refusal)) from None
        raise Mistaken([_mistake(step, refusal.detail)]) from None


def _mistake(step: Step, words: str) -> Mistake:
    if step.entry is None:
        return Mistake("", "", f"{step.kind.noun} {step.name}: {words}")
    return step.entry.place.mistake(words)
