"""Authorization details as texts: whatever comes, it is understood or refused by name."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from identity.directory.clients.registry import ClientSnapshot
from identity.directory.clients.settings import ClientSettings
from identity.directory.details import DetailTypes
from identity.errors import InvalidAuthorizationDetails

SCHEMA = {"properties": {"to": {"type": "string"}}, "additionalProperties": False}
CLIENT = ClientSnapshot(
    id="shop", confidential=True, active=True, grants=frozenset(), scopes=frozenset(),
    default_scopes=None, audiences=frozenset(), secrets=(), good_from=0, builtin=False,
    settings=ClientSettings(authorization_details_types=("payment",)),
)  # fmt: skip
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)
DETAIL = st.fixed_dictionaries(
    {"type": st.sampled_from(["payment", "other"]) | JSON},
    optional={"to": JSON, "locations": JSON, "identifier": JSON},
)


@pytest.fixture(scope="module")
def types(tmp_path_factory: pytest.TempPathFactory) -> DetailTypes:
    file: Path = tmp_path_factory.mktemp("details") / "types.json"
    file.write_text(json.dumps({"payment": {"description": "Pay", "schema": SCHEMA}}))
    return DetailTypes.load(file)


def parsed(types: DetailTypes, text: str) -> Any:
    try:
        return types.parse(text, CLIENT)
    except InvalidAuthorizationDetails:
        return None


@given(details=st.lists(DETAIL, max_size=3) | JSON)
def test_what_is_taken_is_what_was_asked_and_as_its_type_demands(
    types: DetailTypes, details: Any
) -> None:
    taken = parsed(types, json.dumps(details))
    if taken is None:
        return
    assert list(taken) == details
    for detail in taken:
        assert detail["type"] == "payment" and detail.keys() <= {"type", "to"}
        assert isinstance(detail.get("to", ""), str)
    assert types.narrowed(json.dumps(details), taken) == taken


@given(text=st.text())
def test_no_text_is_an_error_of_another_kind(types: DetailTypes, text: str) -> None:
    parsed(types, text)
    parsed(types, f'[{{"type": "payment", "to": "{text}"}}]')
