"""Attacks that must be refused by a rule, and the proof that it is this rule which refuses them.

    @without("identity.oauth.authorize.request:addressed",
             "if not uris.is_registered(redirect_uri, registered)", "if False")
    async def test_…(world: World) -> None: ...

runs as it stands, and once more with the text of the function changed so: then the test has to
fail. A rule that nobody would miss is found here, and so is a test that cannot fail.
"""

import inspect
import textwrap
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from importlib import import_module
from types import CodeType, FunctionType
from typing import Any, NamedTuple

import pytest


class Rule(NamedTuple):
    """What is put in place of what, in the source of which function or of which constant."""

    place: str
    """`package.module:function`, or `package.module:Class.method`."""
    text: str
    instead: str


def without(place: str, text: str, instead: str) -> pytest.MarkDecorator:
    """The test fails once this text of the function has been replaced. Several may stand above one
    test: it must fail without any of them."""
    return pytest.mark.without(Rule(place, text, instead))


@contextmanager
def taken_away(rule: Rule) -> Iterator[None]:
    function = _found(rule.place)
    source = textwrap.dedent(inspect.getsource(function))
    assert source.count(rule.text) == 1, f"{rule.place} does not say once: {rule.text}"
    changed = source.replace(rule.text, rule.instead)
    compiled = compile(changed, f"<{rule.place} without a rule>", "exec", dont_inherit=True)
    code, kept = _code(compiled, function.__name__), function.__code__
    assert code.co_freevars == kept.co_freevars, rule.place
    function.__code__ = code
    _forget(rule.place)
    try:
        yield
    finally:
        function.__code__ = kept
        _forget(rule.place)


def _forget(place: str) -> None:
    """What functions of its module remember of answers given with the rule, or without it."""
    for each in vars(import_module(place.partition(":")[0])).values():
        if hasattr(each, "cache_clear"):
            each.cache_clear()


def _found(place: str) -> FunctionType:
    module, _, path = place.partition(":")
    found: Any = import_module(module)
    for name in path.split("."):
        found = inspect.getattr_static(found, name)
    found = getattr(found, "__func__", found)
    found = inspect.unwrap(found)
    assert isinstance(found, FunctionType), place
    return found


def _code(compiled: CodeType, name: str) -> CodeType:
    (code,) = (
        each for each in compiled.co_consts if isinstance(each, CodeType) and each.co_name == name
    )
    return code


# --- Hooks, which conftest.py takes ----------------------------------------------------------


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    rules = [mark.args[0] for mark in metafunc.definition.iter_markers("without")]
    if rules:
        metafunc.fixturenames.append("rule")
        names = ["as it is", *(f"without {rule.place.rpartition(':')[2]}" for rule in rules)]
        metafunc.parametrize("rule", [None, *rules], ids=names)


@pytest.hookimpl(hookwrapper=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Generator[None, Any, None]:
    rule = pyfuncitem.callspec.params.get("rule") if hasattr(pyfuncitem, "callspec") else None
    if rule is None:
        yield
        return
    with taken_away(rule):
        outcome = yield
    failure = outcome.excinfo
    if failure is None:
        words = f"nobody would miss the rule: {rule.text}"
        outcome.force_exception(pytest.fail.Exception(words, pytrace=False))
    elif issubclass(failure[0], AssertionError | LookupError):
        outcome.force_result(True)
