"""Settings from the environment."""

from __future__ import annotations

import pytest

from orders.settings import Settings, SettingsError, read_settings

DATABASE = {"ORDERS_DATABASE": "postgresql://orders:hush@127.0.0.1:6432/orders"}


def test_defaults_need_only_a_database() -> None:
    assert read_settings(DATABASE) == Settings(DATABASE["ORDERS_DATABASE"])


def test_the_password_shows_nowhere() -> None:
    assert "hush" not in repr(read_settings(DATABASE))


@pytest.mark.parametrize(
    ("environment", "complaint"),
    [
        pytest.param({}, "ORDERS_DATABASE: not set", id="no database"),
        pytest.param(DATABASE | {"ORDERS_CONNECT_TIMEOUT": "1"}, "ORDERS_CONNECT_TIMEOUT: found '1'", id="too small"),
        pytest.param(DATABASE | {"ORDERS_CONNECT_TIMEOUT": ""}, "ORDERS_CONNECT_TIMEOUT: found ''", id="empty"),
        pytest.param(DATABASE | {"ORDERS_CONNECT_TIMEOUT": "on"}, "ORDERS_CONNECT_TIMEOUT: found 'on'", id="a word"),
    ],
)
def test_what_cannot_be_used_is_named(environment: dict[str, str], complaint: str) -> None:
    with pytest.raises(SettingsError, match="ORDERS_") as caught:
        read_settings(environment)
    assert complaint in str(caught.value)
