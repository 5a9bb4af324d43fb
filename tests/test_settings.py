from __future__ import annotations

import pytest

from comfyui_api.errors import InvalidArgument
from comfyui_api.settings import parse_servers, parse_settings, settings_table


def test_environment_wins_over_the_file() -> None:
    settings = parse_settings({"COMFYUI_URL": "http://a:1"}, 'url = "http://b:2"\ntimeout = 5')
    assert (settings.url, settings.timeout) == ("http://a:1", 5.0)


def test_lists_come_with_commas_or_as_toml_lists() -> None:
    assert parse_settings({"COMFYUI_API_ALLOWED_HOSTS": "a, b:1"}).allowed_hosts == ("a", "b:1")
    assert parse_settings({}, 'allowed_hosts = ["a", "b:1"]').allowed_hosts == ("a", "b:1")


def test_unknown_setting_is_an_error_that_lists_the_valid_ones() -> None:
    with pytest.raises(InvalidArgument, match=r"do not exist: ulr.*These exist: url") as caught:
        parse_settings({}, 'ulr = "x"')
    assert "settings.toml" in str(caught.value)


@pytest.mark.parametrize(
    "text", ["timeout = 'soon'", "timeout = 0", "timeout = -1", "url = 3", "allowed_hosts = 1", "="]
)
def test_wrong_value_names_the_setting(text: str) -> None:
    with pytest.raises(InvalidArgument):
        parse_settings({}, text)


def test_every_setting_has_its_own_environment_variable() -> None:
    variables = [variable for _, variable, _, _ in settings_table()]
    assert len(set(variables)) == len(variables)
    assert all(variable.startswith("COMFYUI_") for variable in variables)


def test_servers_need_a_url() -> None:
    assert parse_servers('[gpu]\nurl = "http://gpu:8188"', trusted=True)["gpu"].url == "http://gpu:8188"
    with pytest.raises(InvalidArgument, match="has no url"):
        parse_servers("[gpu]\nport = 1", trusted=True)
