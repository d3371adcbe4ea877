"""The tables of README.md and docs/ that are made from the code.

`.venv/bin/python scripts/docs.py` writes them, between a marker such as
`<!-- table: settings -->` and the next `<!-- end -->`. A test fails while a page says something
else than the code.
"""

import json
import re
import sys
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import SecretStr

ROOT = Path(__file__).parent.parent
_BLOCK = re.compile(r"(?<=<!-- table: )(\w+)( -->\n).*?(?=<!-- end -->)", re.DOTALL)


def pages() -> list[Path]:
    """Every page that people read."""
    return [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]


@dataclass(frozen=True)
class Service:
    """A service that was made for this alone, with an empty database."""

    openapi: dict[str, Any]
    metrics: str


def rendered(text: str, service: Service) -> str:
    """The page with its tables as the code has them."""
    return _BLOCK.sub(lambda found: f"{found[1]}{found[2]}{TABLES[found[1]](service)}\n", text)


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(_cell(part) for part in line)} |" for line in lines)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


# --- Settings -------------------------------------------------------------------------------


def settings(_: Service) -> str:
    from identity.settings import described

    return table(
        ("name", "default", "meaning"),
        (
            (f"`{name}`", _default(field.default), _sentence(field.description or ""))
            for name, _, field in described()
        ),
    )


def _default(value: Any) -> str:
    if value is None or value in ((), {}):
        return "none"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, SecretStr):
        value = value.get_secret_value()
    return f"`{value}`"


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


# --- Commands -------------------------------------------------------------------------------


def commands(_: Service) -> str:
    return table(
        ("command", "what it does"),
        ((f"`identity {name}`", command.words) for name, command in command_tree().items()),
    )


@dataclass(frozen=True)
class Command:
    words: str
    """The first sentence of its help."""
    options: frozenset[str]


@cache
def command_tree() -> dict[str, Command]:
    """Every command, without its program's name."""
    import typer.main

    from identity.cli.commands import app

    def walk(command: Any, path: tuple[str, ...]) -> dict[str, Command]:
        inner = getattr(command, "commands", None)
        if inner is None:
            options = {option for parameter in command.params for option in parameter.opts}
            options |= {o for parameter in command.params for o in parameter.secondary_opts}
            return {" ".join(path): Command(_first_sentence(command.help), frozenset(options))}
        found: dict[str, Command] = {}
        for name, each in inner.items():
            found |= walk(each, (*path, name))
        return found

    return walk(typer.main.get_command(app), ())


def _first_sentence(text: str) -> str:
    return re.split(r"(?<=\.)\s", text.strip(), maxsplit=1)[0]


# --- Addresses ------------------------------------------------------------------------------


TAGS = ("OAuth", "Discovery", "Self-service", "Users", "Roles and scopes", "Clients", "Keys")
"""Groups of addresses in the order in which a reader meets them; the others follow."""


def addresses(service: Service) -> str:
    rows: dict[str, list[tuple[str, str, str]]] = {tag: [] for tag in TAGS}
    for path, methods in service.openapi["paths"].items():
        for method, operation in methods.items():
            address = f"`{method.upper()} {path}`"
            group = rows.setdefault(operation["tags"][0], [])
            group.append((address, _needs(operation), operation["summary"]))
    return table(
        ("address", "needs", "what it does"), (row for group in rows.values() for row in group)
    )


def service() -> Service:
    from identity.app import create_app
    from identity.settings import Settings
    from identity.store import migrating

    with tempfile.TemporaryDirectory() as folder:
        settings = Settings.of(
            database_url=f"sqlite:///{folder}/identity.db",
            keys_dir=f"{folder}/keys",
            bcrypt_rounds=4,
            test_weak_hashing=True,
            log_level="warning",
        )
        migrating.upgrade(settings)
        app: Any = create_app(settings)
        fastapi, services = app.administration.build(), app.services
        made = Service(fastapi.openapi(), services.metrics.render().decode())
        services.pool.close()
        services.db.close()
        return made


def _needs(operation: dict[str, Any]) -> str:
    """Who may: nobody in particular, a client, a user's token, a token with scopes."""
    words = []
    for way in operation.get("security", [{}]):
        for scheme, scopes in way.items():
            if scheme == "client":
                words.append("a client")
            else:
                words.append(" ".join(f"`{scope}`" for scope in scopes) or "a token")
    return " or ".join(words) or "nothing"


# --- The rest -------------------------------------------------------------------------------


def scopes(_: Service) -> str:
    from identity.directory.access.granting import BUILT_IN

    return table(("scope", "allows"), ((f"`{name}`", words) for name, words in BUILT_IN.items()))


def client_settings(_: Service) -> str:
    from identity.directory.clients.settings import ClientSettings

    return table(
        ("setting", "default", "meaning"),
        (
            (
                f"`{name}`",
                _json(field.get_default(call_default_factory=True)),
                field.description or "",
            )
            for name, field in ClientSettings.model_fields.items()
        ),
    )


def _json(value: Any) -> str:
    return f"`{json.dumps(value)}`"


def metrics(service: Service) -> str:
    from prometheus_client.parser import text_string_to_metric_families

    families = [
        f for f in text_string_to_metric_families(service.metrics) if f.name.startswith("identity_")
    ]
    ends = {"counter": "_total", "histogram": "_bucket", "gauge": ""}
    return table(
        ("metric", "kind", "meaning"),
        ((f"`{f.name}{ends[f.type]}`", f.type, f.documentation) for f in families),
    )


def conformance(_: Service) -> str:
    from tests.conformance.lines import lines

    return table(
        ("", "line", "held by"),
        (
            (
                each.area,
                each.words,
                f"[{each.test.removeprefix('test_').replace('_', ' ')}](../tests/{each.file})",
            )
            for each in lines()
        ),
    )


TABLES: dict[str, Callable[[Service], str]] = {
    "settings": settings,
    "commands": commands,
    "addresses": addresses,
    "scopes": scopes,
    "client_settings": client_settings,
    "metrics": metrics,
    "conformance": conformance,
}


SCHEMA = ROOT / "docs" / "configuration.schema.json"


def configuration_schema() -> str:
    """Of the files of `identity apply`, as `--schema` prints it."""
    from identity.cli.applying import entries

    return json.dumps(entries.schema(), indent=2) + "\n"


CHART = ROOT / "deploy" / "helm" / "identity" / "values.schema.json"
BY_CHART = {"IDENTITY_HOST", "IDENTITY_PORT", "IDENTITY_DRAIN"}
"""What the chart says itself, since its probes and its patience depend on it."""


def chart_schema() -> str:
    """The chart's schema with each setting that there is: whoever misspells one hears it from Helm,
    and what is a secret can only be named where it lies."""
    from identity.settings import PREFIX, described

    free = {
        name.removeprefix(PREFIX).lower(): "SecretStr" in str(field.annotation)
        for name, _, field in described()
        if name not in BY_CHART
    }
    plain = {"type": ["string", "integer", "boolean"]}
    reference = {"$ref": "#/definitions/reference"}
    schema = json.loads(CHART.read_text())
    for where, allowed in (
        ("settings", {name: plain for name, secret in free.items() if not secret}),
        ("secretSettings", dict.fromkeys(free, reference)),
    ):
        schema["definitions"][where] = {
            "type": "object",
            "additionalProperties": False,
            "properties": allowed,
        }
    return json.dumps(schema, indent=2) + "\n"


def main() -> None:
    SCHEMA.write_text(configuration_schema())
    CHART.write_text(chart_schema())
    made = service()
    for page in pages():
        before = page.read_text()
        after = rendered(before, made)
        if after != before:
            page.write_text(after)
            print(f"wrote the tables of {page.relative_to(ROOT)}")


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    main()
