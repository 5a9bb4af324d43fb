from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comfyui_api.errors import InvalidArgument
from comfyui_api.settings import CLOUD_URL, Access, SecretSource, parse_servers, parse_settings, settings_table


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
        parse_servers("[gpu]\nkey = {env = 'X'}", trusted=True)


def test_an_entry_names_where_its_secrets_are_and_never_has_them() -> None:
    text = """
    [gpu]
    url = "https://gpu.example/comfy"
    user = "anna"
    password = { file = "~/gpu-password" }
    headers.X-Token = { env = "GPU_TOKEN" }
    ca_file = "gpu.pem"
    comfy_user = "anna"
    [cloud]
    kind = "cloud"
    key = { env = "CLOUD_KEY" }
    """
    gpu, cloud = parse_servers(text, trusted=True).values()
    assert gpu.password == SecretSource(file="~/gpu-password")
    assert gpu.headers == {"X-Token": SecretSource(env="GPU_TOKEN")}
    assert (gpu.kind, gpu.opens_doors) == ("local", True)
    assert (cloud.kind, cloud.url, cloud.key) == ("cloud", CLOUD_URL, SecretSource(env="CLOUD_KEY"))


@pytest.mark.parametrize(
    "line", ['key = "SECRET"', 'token = "SECRET"', 'user="a"\npassword = "SECRET"', 'headers.X = "SECRET"']
)
@pytest.mark.parametrize("trusted", [True, False])
def test_a_secret_in_the_clear_is_refused_with_how_to_do_it(line: str, trusted: bool) -> None:
    with pytest.raises(InvalidArgument, match=r"in the clear.*env = \"NAME\"") as caught:
        parse_servers(f'[gpu]\nurl = "http://gpu:8188"\n{line}', trusted=trusted)
    assert "SECRET" not in str(caught.value)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("port = 1", "keys that do not exist: port"),
        ("kind = 'remote'", "kind that does not exist.*local, cloud, v2"),
        ("kind = []", "kind that does not exist"),
        ("key = {}", "does not say where it is"),
        ("key = { env = '' }", "does not say where it is"),
        ("key = { env = 'A', file = 'B' }", "does not say where it is"),
        ("key = { url = 'A' }", "does not say where it is"),
        ("key = 7", "does not say where it is"),
        ("headers = []", "headers should be a table"),
        ("headers.'X: y' = { env = 'A' }", "no name of a header"),
        ("user = 'a'", "only one of user and password"),
        ("user = 'a'\npassword = { env = 'A' }\ntoken = { env = 'B' }", "both a token and a user"),
        ("ca_file = 7", "ca_file should be a text"),
    ],
)
def test_what_is_wrong_with_an_entry_is_said(line: str, words: str) -> None:
    with pytest.raises(InvalidArgument, match=rf"the server 'gpu'.*{words}"):
        parse_servers(f'[gpu]\nurl = "http://gpu:8188"\n{line}', trusted=True)


@pytest.mark.parametrize("name", ["all", "'http://gpu:8188'"])
def test_names_that_mean_something_else_are_refused(name: str) -> None:
    with pytest.raises(InvalidArgument, match="another name"):
        parse_servers(f'[{name}]\nurl = "http://gpu:8188"', trusted=True)


@given(
    st.dictionaries(
        st.text(min_size=1, max_size=5),
        st.recursive(
            st.text() | st.integers() | st.booleans(),
            lambda v: (
                st.lists(v, max_size=3)
                | st.dictionaries(
                    st.sampled_from(["url", "key", "env", "file", "headers", "kind", "token"]), v, max_size=4
                )
            ),
            max_leaves=8,
        ),
        max_size=3,
    )
)
def test_any_servers_file_is_read_or_refused_in_words(tables: dict[str, Any]) -> None:
    try:
        parse_servers(as_toml(tables), trusted=False)
    except InvalidArgument as exc:
        assert exc.message.endswith(".")
        assert exc.next_step.endswith(".")


def as_toml(value: Any) -> str:
    """TOML of nested tables, with every table in its inline form."""

    def inline(item: Any) -> str:
        if isinstance(item, dict):
            return "{" + ", ".join(f"{text(key)} = {inline(inner)}" for key, inner in item.items()) + "}"
        if isinstance(item, list):
            return "[" + ", ".join(map(inline, item)) + "]"
        if isinstance(item, bool):
            return str(item).lower()
        return text(item) if isinstance(item, str) else str(item)

    def text(words: str) -> str:
        return json.dumps("".join(char for char in words if char.isprintable()))

    return "".join(f"{text(key)} = {inline(item)}\n" for key, item in value.items())


def test_the_key_comes_from_the_environment_only_and_is_not_shown() -> None:
    settings = parse_settings({"COMFYUI_API_KEY": "SECRET"})
    assert settings.api_key == "SECRET"
    assert "SECRET" not in repr(settings)
    with pytest.raises(InvalidArgument, match=r"api_key in the clear.*COMFYUI_API_KEY") as caught:
        parse_settings({}, 'api_key = "SECRET"')
    assert "SECRET" not in str(caught.value)


def test_access_shows_no_secret() -> None:
    access = Access("v2", {"X": "SECRET"}, ("anna", "SECRET"), "SECRET", "SECRET")
    assert "SECRET" not in repr(access)
    assert "SECRET" not in f"{access}"
