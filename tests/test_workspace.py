"""Which server a call means, and where files may be read and written."""

from __future__ import annotations

from pathlib import Path

import pytest

from comfyui_api.errors import InvalidArgument, NotPermitted, UnknownName
from comfyui_api.jobs import Job, Jobs
from comfyui_api.projects import save_workflow
from comfyui_api.workspace import clean_url, open_workspace, read_settings
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
        assert connection.client.http.auth is not None
        # A run that went there finds its way back, also in a later process.
        await workspace.jobs.add(Job("run", connection.url, 0.0))
        assert workspace.connect(prompt_id="run") is connection


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
