"""Templates that are compiled for a language say what they would say if they asked each time."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jinja2 import StrictUndefined, UndefinedError
from markupsafe import Markup, escape

from identity.pages.speaking import Spoken

GERMAN = {"Users": "Benutzer", "50 %%": "50 %% <", "%(n)s left": "%(n)s übrig", "none": "keine"}

SHOWS = Spoken(str, autoescape=True).from_string("{{ value }}")


@pytest.fixture
def asked() -> list[str]:
    return []


@pytest.fixture
def german(asked: list[str]) -> Spoken:
    def translate(text: str) -> str:
        asked.append(text)
        return GERMAN[text]

    environment = Spoken(translate, autoescape=True, extensions=["jinja2.ext.i18n"])
    environment.install_gettext_callables(translate, None, newstyle=True)  # type: ignore[attr-defined]
    return environment


@pytest.mark.parametrize(
    ("source", "shown"),
    [
        ('{{ _("Users") }}', "Benutzer"),
        ('{{ _("50 %%") }}', "50 % &lt;"),
        ('{{ _("%(n)s left", n=n) }}', "&lt;3 übrig"),
        ('{{ n if full else _("none") }}', "keine"),
        ('<a title="{{ _("Users") }}">{{ _("none")|upper }}</a>', '<a title="Benutzer">KEINE</a>'),
        ('{% macro m(x) %}[{{ x }}]{% endmacro %}{{ m(_("Users")) }}', "[Benutzer]"),
        ("{{ _(words) }}", "Benutzer"),
    ],
)
def test_it_says_what_the_language_says(german: Spoken, source: str, shown: str) -> None:
    template = german.from_string(source)
    assert template.render(n="<3", full=False, words="Users") == shown


def test_what_is_said_in_any_case_is_asked_for_once(german: Spoken, asked: list[str]) -> None:
    template = german.from_string('<p>{{ _("Users") }}: {{ _("none") }}</p>')
    for _ in range(3):
        assert template.render() == "<p>Benutzer: keine</p>"
    assert asked == ["Users", "none"]
    (whole,) = template.generate()
    assert whole == "<p>Benutzer: keine</p>"


def test_a_loop_is_one_piece_with_all_that_it_shows(german: Spoken) -> None:
    source = "<ul>{% for n in of %}<li>{{ n }}{% for m in n %}, {{ m }}{% endfor %}</li>"
    template = german.from_string(source + "{% else %}{{ _('none') }}{% endfor %}</ul>")
    assert [*template.generate(of=["<a", "b"])] == [
        "<ul>", "<li>&lt;a, &lt;, a</li><li>b, b</li>", "</ul>",
    ]  # fmt: skip
    assert template.render(of=[]) == "<ul>keine</ul>"
    assert "loop" not in template.render(of=["1"])


def test_a_loop_within_a_macro_a_block_or_another_template_shows_the_same(german: Spoken) -> None:
    inner = german.from_string("{% for n in of %}[{{ n }}]{% endfor %}")
    layout = german.from_string("<{% block main %}{% endblock %}>")
    source = (
        "{% extends layout %}{% for n in of %}lost{% endfor %}"
        "{% macro m(of) %}{% for n in of %}({{ n }}){% endfor %}{% endmacro %}"
        "{% block main %}{{ m(of) }}{% for n in [1, 2] %}{{ loop.index }}{% include inner %}"
        "{% endfor %}{% endblock %}"
    )
    shown = german.from_string(source).render(layout=layout, inner=inner, of=["&", Markup("<b>")])
    assert shown == "<(&amp;)(<b>)1[&amp;][<b>]2[&amp;][<b>]>"


@given(st.one_of(st.text(), st.text().map(Markup), st.integers(), st.none(), st.booleans()))
def test_whatever_is_shown_is_escaped_as_ever(value: object) -> None:
    assert SHOWS.render(value=value) == str(escape(value))


def test_what_nobody_has_said_is_a_mistake_in_a_loop_too() -> None:
    environment = Spoken(str, autoescape=True, undefined=StrictUndefined)
    for source in ("{{ missing }}", "{% for n in [1] %}{{ n.missing }}{% endfor %}"):
        with pytest.raises(UndefinedError, match=re.escape("missing")):
            environment.from_string(source).render()
