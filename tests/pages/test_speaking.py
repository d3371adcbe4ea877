"""Templates that are compiled for a language say what they would say if they asked each time."""

import pytest

from identity.pages.speaking import Spoken

GERMAN = {"Users": "Benutzer", "50 %%": "50 %% <", "%(n)s left": "%(n)s übrig", "none": "keine"}


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
