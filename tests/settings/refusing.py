"""What a setting is refused with."""

from typing import Any

import pytest

from identity.settings import Settings, SettingsError


def refusal(**fields: Any) -> str:
    with pytest.raises(SettingsError) as raised:
        Settings.of(**fields)
    text = str(raised.value)
    assert "\n" not in text
    return text
