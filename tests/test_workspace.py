"""Which server a call means, and where files may be read and written."""

from __future__ import annotations

from pathlib import Path

import pytest

from comfyui_api.errors import FileProblem, InvalidArgument, NotPermitted, UnknownName
from comfyui_api.jobs import Job, Jobs
from comfyui_api.projects import save_workflow
from comfyui_api.servers import clean_url
from comfyui_api.settings import CLOUD_URL
from comfyui_api.workspace import open_workspace, read_settings
from tests.support import environment_for, settings_file

pytestmark = pytest.mark.anyio
DEFAULT = "http://127.0.0.1:8188"


def manifest(home: Path, project: str, url: str) -> None:
    folder = home / "projects" / project
    folder.mkdir(parents=True)
    (folder / "manifest.yaml").write_text(f"comfyui_url: {url}\n", encoding="utf-8")


async def test_order_is_parameter_then_run_then_manifest_then_setting(home: Path) -> None:
    manifest(home, "film", "http://127.0.0.1:2000")
    async with open_workspace(environment_for(home, "http://127.0.0.1:1000/")) as workspace:
        await workspace.jobs.add(Job("run", "http://127.0.0.1:3000", 0.0))
        assert workspace.connect().url == "http://127.0.0.1:1000"
        assert workspace.connect(project="film").url == "http://127.0.0.1:2000"
        assert workspace.connect(project="other").url == "http://127.0.0.1:1000"
        assert workspace.connect(prompt_id="run").url == "http://127.0.0.1:3000"
        assert workspace.connect("http://localhost:4000", prompt_id="run").url == "http://localhost:4000"
        assert workspace.connect() is workspace.connect()


async def test_project_of_the_environment_counts_for_calls_that_name_none(home: Path) -> None:
    manifest(home, "film", "http://127.0.0.1:2000")
    async with open_workspace(environment_for(home, DEFAULT, COMFYUI_PROJECT="film")) as workspace:
        assert workspace.connect().url == "http://127.0.0.1:2000"


@pytest.mark.parametrize("url", ["http://example.com:8188", "http://127.0.0.1.example.com", "http://10.0.0.1"])
async def test_foreign_hosts_need_to_be_allowed(home: Path, url: str) -> None:
    manifest(home, "film", url)
    async with open_workspace(environment_for(home, DEFAULT)) as workspace:
        with pytest.raises(NotPermitted):
            workspace.connect(url)
        with pytest.raises(NotPermitted):
            workspace.connect(project="film")
    host = url.removeprefix("http://")
    async with open_workspace(environment_for(home, DEFAULT, COMFYUI_API_ALLOWED_HOSTS=host)) as workspace:
        assert workspace.connect(url).url == url


async def test_configured_servers_have_names(home: Path) -> None:
    (home / "servers.toml").write_text('[near]\nurl = "http://127.0.0.1:7000"\n[far]\nurl = "http://far:8188"\n')
    async with open_workspace(environment_for(home, DEFAULT)) as workspace:
        assert workspace.connect("near").url == "http://127.0.0.1:7000"
        with pytest.raises(NotPermitted):
            workspace.connect("far")
        with pytest.raises(UnknownName, match="near, far"):
            workspace.connect("gpu")
        with pytest.raises(UnknownName, match="begins with http://"):
            workspace.connect("gpu:8188")


async def test_the_users_own_servers_may_be_anywhere(home: Path) -> None:
    settings_file(home).parent.mkdir()
    (settings_file(home).parent / "servers.toml").write_text('[far]\nurl = "http://me:secret@far:8188"\n')
    (home / "servers.toml").write_text('[far]\nurl = "http://evil:8188"\n')
    async with open_workspace(environment_for(home, DEFAULT)) as workspace:
        connection = workspace.connect("far")
        assert connection.url == "http://far:8188"
        assert connection.access.basic == ("me", "secret")
        # A run that went there finds its way back, also in a later process.
        await workspace.jobs.add(Job("run", connection.url, 0.0))
        assert workspace.connect(prompt_id="run") is connection


def own_servers_file(home: Path, text: str) -> None:
    settings_file(home).parent.mkdir(exist_ok=True)
    (settings_file(home).parent / "servers.toml").write_text(text, encoding="utf-8")


async def test_an_entry_gets_its_secrets_from_the_environment_and_from_files(home: Path) -> None:
    own_servers_file(
        home,
        """
        [gpu]
        url = "https://gpu.example/comfy/"
        token = { env = "GPU_TOKEN" }
        key = { file = "account-key" }
        headers.X-Team = { env = "GPU_TEAM" }
        comfy_user = "anna"
        [basic]
        url = "https://basic.example"
        user = "anna"
        password = { file = "password" }
        """,
    )
    (settings_file(home).parent / "account-key").write_text("ACCOUNT\n\na remark", encoding="utf-8-sig")
    (settings_file(home).parent / "password").write_text(" pässword \n", encoding="utf-8")
    async with open_workspace(environment_for(home, DEFAULT, GPU_TOKEN=" TOKEN ", GPU_TEAM="vision")) as workspace:
        gpu = workspace.connect("gpu")
        assert (gpu.url, gpu.name) == ("https://gpu.example/comfy", "gpu")
        assert gpu.access.headers == {"Authorization": "Bearer TOKEN", "X-Team": "vision", "comfy-user": "anna"}
        assert (gpu.access.api_key, gpu.access.partner_key) == (None, "ACCOUNT")
        assert workspace.connect("basic").access.basic == ("anna", "pässword")
        assert workspace.connect("https://gpu.example/comfy") is gpu


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ("key = { env = 'NOWHERE' }", "environment variable NOWHERE, which is not set"),
        ("token = { env = 'EMPTY' }", "environment variable EMPTY, which is not set or empty"),
        ("headers.X = { env = 'UMLAUT' }", "letters that no header can carry"),
        ("headers.X = { env = 'LINES' }", "letters that no header can carry"),
        ("key = { file = 'nowhere' }", "cannot be read: No such file"),
        ("key = { file = 'binary' }", "cannot be read: it is no text"),
        ("key = { file = '.' }", "cannot be read: Is a directory"),
        ("key = { file = 'nul\\u0000' }", "is no path"),
        ("ca_file = 'nowhere'", "certificates in .*nowhere cannot be used: No such file"),
        ("ca_file = 'binary'", "cannot be used: it has no certificate"),
    ],
)
async def test_a_secret_that_is_not_where_it_should_be_is_said(home: Path, entry: str, words: str) -> None:
    own_servers_file(home, f'[gpu]\nurl = "https://gpu.example"\n{entry}'.replace("'", '"'))
    (settings_file(home).parent / "binary").write_bytes(b"\xff\xfeSECRET")
    environment = environment_for(home, DEFAULT, EMPTY=" ", UMLAUT="SECRÄT", LINES="SECRET\r\nX-Evil: 1")
    async with open_workspace(environment) as workspace:
        with pytest.raises((InvalidArgument, FileProblem), match=words) as caught:
            workspace.connect("gpu")
        assert "SECR" not in str(caught.value)
        assert workspace.connect().url == DEFAULT


async def test_an_entry_of_the_working_folder_gets_no_secret(home: Path) -> None:
    (home / "servers.toml").write_text(
        '[near]\nurl = "http://127.0.0.1:7000"\nkey = { env = "HOME_KEY" }\n'
        '[plain]\nurl = "http://127.0.0.1:7001"\nkind = "v2"\ncomfy_user = "anna"\n'
        '[account]\nurl = "https://cloud.comfy.org"\nkind = "cloud"\n'
    )
    environment = environment_for(home, DEFAULT, HOME_KEY="SECRET", COMFYUI_API_KEY="ACCOUNT")
    async with open_workspace(environment) as workspace:
        with pytest.raises(NotPermitted, match=r"keys or certificates.*servers\.toml"):
            workspace.connect("near")
        plain = workspace.connect("plain").access
        assert (plain.kind, plain.api_key, plain.partner_key) == ("v2", None, None)
        assert plain.headers == {"comfy-user": "anna"}
        with pytest.raises(NotPermitted):
            workspace.connect("account")
        assert workspace.connect("http://127.0.0.1:7002").access.partner_key is None
        assert workspace.connect().access.partner_key == "ACCOUNT"


async def test_an_entry_of_the_working_folder_for_the_users_own_server_changes_nothing_of_it(home: Path) -> None:
    own_servers_file(home, '[gpu]\nurl = "https://gpu.example"\ntoken = { env = "GPU_TOKEN" }')
    (home / "servers.toml").write_text('[mine]\nurl = "https://gpu.example/"\nca_file = "evil.pem"')
    async with open_workspace(environment_for(home, DEFAULT, GPU_TOKEN="TOKEN")) as workspace:
        assert workspace.connect("mine") is workspace.connect("gpu")
        assert workspace.connect("mine").access.ca_file is None


async def test_the_default_server_may_be_named(home: Path) -> None:
    own_servers_file(home, '[gpu]\nurl = "https://gpu.example"\ntoken = { env = "GPU_TOKEN" }')
    async with open_workspace(environment_for(home, "gpu", GPU_TOKEN="TOKEN")) as workspace:
        assert workspace.connect() is workspace.connect("gpu")
        assert workspace.connect().inventory_path == home / "state" / "inventory.json"
    async with open_workspace(environment_for(home, "cpu")) as workspace:
        with pytest.raises(UnknownName, match=r"'cpu', which COMFYUI_URL gives.*gpu"):
            workspace.connect()


async def test_a_project_may_name_a_server(home: Path) -> None:
    own_servers_file(home, '[gpu]\nurl = "https://gpu.example"')
    manifest(home, "film", "gpu")
    manifest(home, "play", "cpu")
    async with open_workspace(environment_for(home, DEFAULT)) as workspace:
        assert workspace.connect(project="film").url == "https://gpu.example"
        with pytest.raises(UnknownName, match="comfyui_url of the project 'play'"):
            workspace.connect(project="play")


async def test_the_account_key_goes_to_the_default_server_and_to_comfy_cloud(home: Path) -> None:
    own_servers_file(
        home,
        '[cloud]\nkind = "cloud"\n[other]\nurl = "https://other.example"\nkind = "v2"\n'
        '[deployed]\nurl = "https://deployed.example"\nkind = "v2"\nkey = { env = "DEPLOYED" }\n',
    )
    environment = environment_for(home, CLOUD_URL, COMFYUI_API_KEY="ACCOUNT", DEPLOYED="KEY")
    async with open_workspace(environment) as workspace:
        default = workspace.connect().access
        assert (default.kind, default.api_key, default.partner_key) == ("cloud", "ACCOUNT", "ACCOUNT")
        assert workspace.connect("cloud").access.api_key == "ACCOUNT"
        assert workspace.connect("other").access.api_key is None
        deployed = workspace.connect("deployed").access
        assert (deployed.api_key, deployed.partner_key) == ("KEY", "KEY")


async def test_a_run_finds_its_server_and_its_credentials_again(home: Path) -> None:
    own_servers_file(
        home,
        '[one]\nurl = "https://gpu.example"\ntoken = { env = "ONE" }\n'
        '[two]\nurl = "https://gpu.example"\ntoken = { env = "TWO" }\n',
    )
    environment = environment_for(home, DEFAULT, ONE="FIRST-TOKEN", TWO="SECOND-TOKEN")
    async with open_workspace(environment) as workspace:
        two = workspace.connect("two")
        await workspace.jobs.add(Job("run", two.url, 1.0, server_name=two.name))
    assert "TOKEN" not in (home / "state" / "jobs.json").read_text()
    async with open_workspace(environment) as workspace:
        assert workspace.connect(prompt_id="run").access.headers == {"Authorization": "Bearer SECOND-TOKEN"}


async def test_a_run_cannot_lend_a_servers_credentials_to_another_address(home: Path) -> None:
    own_servers_file(home, '[gpu]\nurl = "https://gpu.example"\ntoken = { env = "GPU_TOKEN" }')
    (home / "state").mkdir()
    (home / "state" / "jobs.json").write_text('{"a": {"server": "http://127.0.0.1:9", "server_name": "gpu"}}')
    async with open_workspace(environment_for(home, DEFAULT, GPU_TOKEN="TOKEN")) as workspace:
        connection = workspace.connect(prompt_id="a")
        assert (connection.url, connection.name) == ("http://127.0.0.1:9", None)
        assert connection.access.headers == {}


async def test_broken_servers_file_matters_only_to_those_who_name_a_server(home: Path) -> None:
    (home / "servers.toml").write_text("[gpu")
    async with open_workspace(environment_for(home, DEFAULT)) as workspace:
        assert workspace.connect().url == DEFAULT
        with pytest.raises(InvalidArgument, match=r"servers\.toml is not valid TOML"):
            workspace.connect("gpu")


async def test_server_noted_for_a_run_must_be_allowed_too(home: Path) -> None:
    (home / "state").mkdir()
    (home / "state" / "jobs.json").write_text('{"a": {"server": "http://example.com"}, "b": {"server": "http://[::1"}}')
    async with open_workspace(environment_for(home, DEFAULT)) as workspace:
        with pytest.raises(NotPermitted):
            workspace.connect(prompt_id="a")
        with pytest.raises(InvalidArgument):
            workspace.connect(prompt_id="b")


async def test_one_server_under_two_names_has_two_client_ids(home: Path) -> None:
    async with open_workspace(environment_for(home, DEFAULT)) as workspace:
        ids = {workspace.connect(url).client.client_id for url in (DEFAULT, "http://localhost:8188", DEFAULT)}
        assert len(ids) == 2


async def test_link_that_leads_output_or_projects_elsewhere_is_refused(home: Path, tmp_path: Path) -> None:
    for name in ("output", "projects"):
        (home / name).symlink_to(tmp_path)
    async with open_workspace(environment_for(home, DEFAULT)) as workspace:
        with pytest.raises(NotPermitted):
            workspace.writable_folder("output")
    with pytest.raises(NotPermitted):
        save_workflow(home, "film", "x", {})


def test_settings_saved_with_a_byte_order_mark_are_read(home: Path) -> None:
    settings_file(home).parent.mkdir()
    settings_file(home).write_text("timeout = 7", encoding="utf-8-sig")
    assert read_settings(environment_for(home, DEFAULT)).timeout == 7


@pytest.mark.parametrize("url", ["http://me:SECRET@gpu:port", "me:SECRET@gpu", "http://gpu:x/?token=SECRET"])
def test_credentials_of_a_wrong_address_are_not_repeated(url: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        clean_url(url)
    assert "SECRET" not in str(caught.value)


async def test_credentials_of_the_setting_are_never_shown(home: Path) -> None:
    async with open_workspace(environment_for(home, "http://me:secret@127.0.0.1:8188")) as workspace:
        assert workspace.connect().url == DEFAULT


async def test_writing_and_reading_stay_inside_the_fence(home: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    async with open_workspace(environment_for(home, DEFAULT)) as workspace:
        assert workspace.writable_folder("a/b") == home / "a" / "b"
        assert workspace.readable(str(outside)) == outside
        for folder in (str(outside), "..", "a/../.."):
            with pytest.raises(NotPermitted):
                workspace.writable_folder(folder)
    fenced = environment_for(
        home, DEFAULT, COMFYUI_API_WRITE_FOLDERS=str(outside), COMFYUI_API_READ_FOLDERS=str(outside)
    )
    async with open_workspace(fenced) as workspace:
        assert workspace.writable_folder(str(outside / "x")) == outside / "x"
        assert workspace.readable(str(outside / "x")) == outside / "x"
        with pytest.raises(NotPermitted):
            workspace.readable(str(tmp_path / "x"))


async def test_link_out_of_the_fence_is_refused(home: Path, tmp_path: Path) -> None:
    (home / "link").symlink_to(tmp_path)
    async with open_workspace(environment_for(home, DEFAULT)) as workspace:
        with pytest.raises(NotPermitted):
            workspace.writable_folder("link/elsewhere")


@pytest.mark.parametrize("url", ["", "127.0.0.1:8188", "ftp://x", "http://", "http://x:port", "file:///etc"])
def test_what_is_no_address_is_said(url: str) -> None:
    with pytest.raises(InvalidArgument):
        clean_url(url)


async def test_jobs_that_cannot_be_read_for_the_moment_are_not_taken_for_none(tmp_path: Path) -> None:
    path = tmp_path / "jobs.json"
    await Jobs(path).add(Job("old", DEFAULT, 1.0))
    path.rename(tmp_path / "aside")
    path.mkdir()  # something is there that cannot be read
    assert "could not be written" in str(await Jobs(path).add(Job("new", DEFAULT, 2.0)))
    path.rmdir()
    (tmp_path / "aside").rename(path)
    assert Jobs(path).find("old") is not None


async def test_newest_jobs_are_kept_and_others_jobs_too(tmp_path: Path) -> None:
    ours, theirs = Jobs(tmp_path / "jobs.json"), Jobs(tmp_path / "jobs.json")
    await ours.add(Job("a", DEFAULT, 1.0, "film", "cat"))
    await theirs.add(Job("b", "http://other", 2.0))
    again = Jobs(tmp_path / "jobs.json")
    assert again.find("a") == Job("a", DEFAULT, 1.0, "film", "cat")
    assert again.find("b") == Job("b", "http://other", 2.0)
    assert again.find("c") is None
