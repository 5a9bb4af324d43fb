"""`comfyui-api models get`: as a person uses it, against servers of files and a made-up installation."""

from __future__ import annotations

import datetime
import json
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import pytest

import comfyui_api
from comfyui_api import sandbox
from comfyui_api.workspace import read_settings
from tests.file_server import Behaviour, File, FileServer, Handler, file_server, page, sent_on, sha256, weights
from tests.support import environment_for

NOBODY = "http://127.0.0.1:9"
CONTENT = weights()


@pytest.fixture
def files() -> Iterator[FileServer]:
    with file_server({"/cat.safetensors": File(CONTENT)}) as server:
        yield server


@dataclass
class User:
    """Somebody with a working folder, an installation of ComfyUI, and lists of models."""

    home: Path
    files: FileServer
    url: str = NOBODY
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def comfyui(self) -> Path:
        return self.home.parent / "ComfyUI"

    def lists(self, text: str) -> None:
        own = self.home / "references" / "models.md"
        own.parent.mkdir(exist_ok=True)
        own.write_text(text.replace("HERE", self.files.url), encoding="utf-8")

    def model(self, path: str) -> Path:
        return self.comfyui / "models" / path

    def command(self, *arguments: str) -> tuple[list[str], dict[str, str]]:
        own = {
            "COMFYUI_API_DOWNLOAD_HOSTS": f"default,{self.files.host}",
            "COMFYUI_API_COMFYUI_PATH": str(self.comfyui),
        }
        plain = {name: value for name, value in os.environ.items() if name not in ("HF_TOKEN", "CIVITAI_API_TOKEN")}
        environment = {**plain, **environment_for(self.home, self.url), **own, **self.environment}
        return [sys.executable, "-m", "comfyui_api", "models", "get", *arguments], environment

    def get(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command, environment = self.command(*arguments)
        done = subprocess.run(
            command,
            env=environment,
            cwd=self.home,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=60,
            check=False,
        )
        assert "Traceback" not in done.stderr, done.stderr
        return done

    def answer(self, *arguments: str) -> dict[str, dict[str, Any]]:
        """{file: what --json says of it}."""
        done = self.get(*arguments, "--yes", "--json")
        return {entry["file"]: entry for entry in json.loads(done.stdout)["files"]}

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        command, environment = self.command(*arguments)
        return subprocess.Popen(
            command,
            env=environment,
            cwd=self.home,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
        )


@pytest.fixture
def user(home: Path, files: FileServer) -> User:
    user = User(home, files)
    (user.comfyui / "models").mkdir(parents=True)
    user.lists("## loras\n| File | Link |\n|---|---|\n| cat.safetensors | HERE/cat.safetensors |\n")
    return user


def test_a_model_comes_into_its_folder(user: User) -> None:
    done = user.get("cat.safetensors", "--yes")
    assert done.returncode == 0, done.stderr
    assert user.model("loras/cat.safetensors").read_bytes() == CONTENT
    assert [path.name for path in user.model("loras").iterdir()] == ["cat.safetensors"]
    assert sha256(CONTENT) in done.stdout
    assert "127.0.0.1" in done.stdout
    again = user.get("CAT.safetensors", "--yes")
    assert (again.returncode, "is there already" in again.stdout) == (0, True)
    assert user.files.ranges("/cat.safetensors") == [None]


def test_json_says_the_same(user: User) -> None:
    entry = user.answer("cat.safetensors")["cat.safetensors"]
    assert entry == {
        "file": "cat.safetensors",
        "folder": "loras",
        "state": "downloaded",
        "path": str(user.model("loras/cat.safetensors")),
        "size": len(CONTENT),
        "sha256": sha256(CONTENT),
        "url": f"{user.files.url}/cat.safetensors",
        "origin": "working folder",
    }
    assert user.answer("cat.safetensors")["cat.safetensors"]["state"] == "there"


def test_nothing_is_downloaded_unasked(user: User) -> None:
    done = user.get("cat.safetensors")
    assert done.returncode == 2
    assert "cat.safetensors" in done.stdout
    assert "--yes" in done.stderr
    done = user.get("cat.safetensors", "--json")
    assert (done.returncode, json.loads(done.stdout)["files"][0]["state"]) == (2, "missing")
    assert not user.model("loras").exists()
    assert user.files.ranges("/cat.safetensors") == []


@pytest.mark.skipif(sys.platform == "win32", reason="a terminal of POSIX")
@pytest.mark.parametrize(("says", "code"), [("y", 0), ("n", 2)])
def test_at_a_terminal_it_asks_first(user: User, says: str, code: int) -> None:
    import pty  # noqa: PLC0415  # there is none on Windows

    command, environment = user.command("cat.safetensors")
    ours, theirs = pty.openpty()
    process = subprocess.Popen(command, env=environment, cwd=user.home, stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    seen, answered = b"", False
    with suppress(OSError):  # how a terminal ends
        while piece := os.read(ours, 4096):
            seen += piece
            if b"[y/N]" in seen and not answered:
                assert not user.model("loras").exists()
                os.write(ours, f"{says}\n".encode())
                answered = True
    os.close(ours)
    assert process.wait(timeout=30) == code
    assert "Download 1 file, 100 KB?" in seen.decode()
    assert user.model("loras/cat.safetensors").exists() == (code == 0)


def test_where_comfyui_is_must_be_said(user: User, tmp_path: Path) -> None:
    user.environment["COMFYUI_API_COMFYUI_PATH"] = ""
    done = user.get("cat.safetensors", "--yes")
    assert (done.returncode, "--comfyui-path" in done.stderr) == (2, True)
    done = user.get("cat.safetensors", "--yes", "--comfyui-path", str(tmp_path / "nowhere"))
    assert (done.returncode, "no folder of ComfyUI" in done.stderr) == (2, True)
    done = user.get("cat.safetensors", "--yes", "--comfyui-path", "../ComfyUI")
    assert done.returncode == 0, done.stderr
    assert user.model("loras/cat.safetensors").exists()


def test_unknown_and_ambiguous_names_are_told_with_the_choice(user: User) -> None:
    done = user.get("cats.safetensors", "--yes")
    assert (done.returncode, "Close to it: cat.safetensors" in done.stderr) == (2, True)
    row = "| File | Link |\n|---|---|\n| cat.safetensors | HERE/cat.safetensors |\n"
    user.lists(f"## loras\n{row}\n## vae\n{row}")
    done = user.get("cat.safetensors", "--yes")
    assert (done.returncode, "loras: cat.safetensors, vae: cat.safetensors" in done.stderr) == (2, True)
    assert "--folder" in done.stderr
    assert user.get("cat.safetensors", "--yes", "--folder", "vae").returncode == 0
    assert user.model("vae/cat.safetensors").exists()
    assert user.get("cat.safetensors", "--folder", "checkpoints").returncode == 2
    user.lists("## loras\n| File | Link |\n|---|---|\n| dog.safetensors | nowhere |\n")
    assert "Line 4" in user.get("dog.safetensors").stderr
    for wrong in ((), ("a", "--workflow", "b")):
        assert user.get(*wrong).returncode == 2


def test_one_that_fails_does_not_keep_the_others_from_coming(user: User) -> None:
    user.files.paths["/closed.safetensors"] = page(401)
    rows = "".join(f"| {name} | HERE/{name} |\n" for name in ("gone.safetensors", "closed.safetensors"))
    user.lists(f"## loras\n| File | Link |\n|---|---|\n{rows}| cat.safetensors | HERE/cat.safetensors |\n")
    done = user.get("gone.safetensors", "closed.safetensors", "cat.safetensors", "--yes")
    assert done.returncode == 1
    assert "does not have gone.safetensors (404)" in " ".join(done.stdout.split())
    assert user.model("loras/cat.safetensors").exists()


def test_a_file_with_other_content_is_left_alone(user: User) -> None:
    mine = user.model("loras/cat.safetensors")
    mine.parent.mkdir()
    for other in (b"mine", weights(seed=9)):
        mine.write_bytes(other)
        user.lists(
            "## loras\n| File | Link | SHA-256 |\n|---|---|---|\n"
            f"| cat.safetensors | HERE/cat.safetensors | {sha256(CONTENT)} |\n"
        )
        entry = user.answer("cat.safetensors")["cat.safetensors"]
        assert (entry["state"], "other content" in entry["error"]) == ("refused", True)
        assert mine.read_bytes() == other


def test_files_go_where_comfyui_looks_first(user: User) -> None:
    user.model("clip").mkdir()
    user.model("unet").mkdir()
    table = "| File | Link |\n|---|---|\n| FILE | HERE/cat.safetensors |\n"
    names = {"text_encoders": "t.safetensors", "diffusion_models": "d.safetensors", "loras": "style/x.safetensors"}
    user.lists("\n".join(f"## {word}\n{table.replace('FILE', name)}" for word, name in names.items()))
    (user.comfyui / "extra_model_paths.yaml").write_text(
        "big disk:\n  base_path: ../big disk\n  is_default: true\n  loras: |\n    loras\n"
        "other:\n  base_path: ../other\n  diffusion_models: d\n"
    )
    assert user.get(*names.values(), "--yes").returncode == 0
    assert user.model("text_encoders/t.safetensors").exists()
    assert user.model("diffusion_models/d.safetensors").exists()
    assert (user.home.parent / "big disk" / "loras" / "style" / "x.safetensors").exists()
    elsewhere = user.model("unet/d.safetensors")
    user.model("diffusion_models/d.safetensors").rename(elsewhere)
    assert user.answer("d.safetensors")["d.safetensors"]["path"] == str(elsewhere)


@pytest.mark.parametrize(
    ("folder", "name"),
    [
        ("loras", "../../evil.safetensors"),
        ("loras", "__init__.py"),
        ("../custom_nodes", "x.pt"),
        ("custom_nodes", "evil/x.pt"),
        ("loras", "con.pt"),
        ("loras", "x" * 4000 + ".pt"),
    ],
)
def test_a_hostile_workflow_writes_nothing(user: User, folder: str, name: str) -> None:
    models = [{"name": name, "directory": folder, "url": f"{user.files.url}/cat.safetensors"}]
    node = {"id": 1, "type": "LoraLoader", "properties": {"models": models}, "widgets_values": []}
    (user.home / "w.json").write_text(json.dumps({"nodes": [node], "links": [], "version": 0.4}))
    before = sorted(user.home.parent.rglob("*.p*"))
    done = user.get("--workflow", "w.json", "--yes")
    # 2 where no link is left that could be used: then nothing can be told of the workflow.
    assert done.returncode in (0, 1, 2), done.stderr
    assert "Traceback" not in done.stderr
    assert sorted(user.home.parent.rglob("*.p*")) == before
    assert user.files.ranges("/cat.safetensors") == []


def test_missing_models_of_a_workflow_are_fetched(user: User) -> None:
    models = [
        {"name": "cat.safetensors", "directory": "loras", "url": f"{user.files.url}/cat.safetensors"},
        {"name": "far.safetensors", "directory": "vae", "url": "https://evil.example/far.safetensors"},
    ]
    node = {"id": 1, "type": "LoraLoader", "properties": {"models": models}, "widgets_values": []}
    (user.home / "w.json").write_text(json.dumps({"nodes": [node], "links": [], "version": 0.4}))
    answer = user.answer("--workflow", "w.json")
    assert answer["cat.safetensors"]["state"] == "downloaded"
    assert answer["cat.safetensors"]["origin"] in ("workflow", "working folder")
    assert "not on the list" in answer["far.safetensors"]["error"]
    assert "says the workflow" in user.get("--workflow", "w.json", "--yes").stdout


def test_what_does_not_fit_is_refused_before_anything_comes(user: User) -> None:
    user.files.paths["/huge.safetensors"] = lambda handler: handler.say(200, b"x", length=10**15)
    rows = "".join(f"| {name} | HERE/{name} |\n" for name in ("huge.safetensors", "cat.safetensors"))
    user.lists(f"## loras\n| File | Link |\n|---|---|\n{rows}")
    done = user.get("cat.safetensors", "huge.safetensors", "--yes")
    assert (done.returncode, "GB free" in done.stderr) == (2, True)
    assert user.files.ranges("/cat.safetensors") == []


def waits_for(user: User, process: subprocess.Popen[str], slow: File) -> None:
    """Until the file is held up at the server, and what came of it is on the disk."""
    assert slow.reached.wait(30), process.communicate()
    part = user.model("loras/cat.safetensors.part")
    for _ in range(600):
        if part.exists() and part.stat().st_size:
            return
        with suppress(subprocess.TimeoutExpired):
            process.wait(0.05)
    pytest.fail("nothing came")


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
@pytest.mark.parametrize("how", ["SIGKILL", "SIGINT", "SIGTERM"])
def test_a_stopped_download_goes_on_where_it_was(user: User, how: str) -> None:
    slow = File(CONTENT, pause_at=40_000)
    user.files.paths["/cat.safetensors"] = slow
    process = user.start("cat.safetensors", "--yes", "--json")
    waits_for(user, process, slow)
    process.send_signal(signal.Signals[how])
    out, err = process.communicate(timeout=30)
    slow.go_on.set()
    assert not user.model("loras/cat.safetensors").exists()
    if how == "SIGINT":
        assert process.returncode == 1
        answer = json.loads(out)
        assert "Stopped. What has come is kept" in answer["note"]
        assert answer["files"][0]["state"] == "stopped"
        assert 0 < answer["files"][0]["kept"] <= 40_000
        assert "Traceback" not in err
    kept = user.model("loras/cat.safetensors.part").stat().st_size
    slow.pause_at = None
    assert user.answer("cat.safetensors")["cat.safetensors"]["state"] == "downloaded"
    assert user.files.ranges("/cat.safetensors") == [None, f"bytes={kept}-"]
    assert user.model("loras/cat.safetensors").read_bytes() == CONTENT
    assert [path.name for path in user.model("loras").iterdir()] == ["cat.safetensors"]


def test_a_console_that_speaks_only_ascii_is_answered_too(user: User) -> None:
    user.lists("## loras\n| File | Link |\n|---|---|\n| größe.safetensors | HERE/cat.safetensors |\n")
    user.environment["PYTHONIOENCODING"] = "ascii"
    assert user.get("größe.safetensors", "--yes").returncode == 0
    assert user.answer("größe.safetensors")["größe.safetensors"]["state"] == "there"


def test_a_token_in_a_link_is_not_repeated(user: User) -> None:
    slow = File(CONTENT, pause_at=40_000)
    user.files.paths["/cat.safetensors"] = slow
    user.lists("## loras\n| File | Link |\n|---|---|\n| cat.safetensors | HERE/cat.safetensors?token=s3cret&x=1 |\n")
    process = user.start("cat.safetensors", "--yes", "--json")
    waits_for(user, process, slow)
    assert "s3cret" not in user.model("loras/cat.safetensors.part.json").read_text()
    slow.go_on.set()
    out, err = process.communicate(timeout=30)
    assert json.loads(out)["files"][0]["url"].endswith("?token=…&x=1")
    assert "s3cret" not in err


def test_two_processes_do_not_get_into_each_others_way(user: User) -> None:
    slow = File(CONTENT, pause_at=40_000)
    user.files.paths["/cat.safetensors"] = slow
    process = user.start("cat.safetensors", "--yes")
    waits_for(user, process, slow)
    second = user.answer("cat.safetensors")["cat.safetensors"]
    assert (second["state"], "Another process" in second["error"]) == ("failed", True)
    slow.go_on.set()
    out, err = process.communicate(timeout=30)
    assert process.returncode == 0, (out, err)
    assert user.model("loras/cat.safetensors").read_bytes() == CONTENT


def test_what_others_wrote_does_not_reach_the_terminal_as_it_is(user: User) -> None:
    user.lists(
        "## loras\n| File | Link | Licence |\n|---|---|---|\n"
        "| [red]cat[/red].safetensors | HERE/cat.safetensors | \x1b[31mfree\x1b]0;x\x07 :smile: [bold] |\n"
    )
    done = user.get("[red]cat[/red].safetensors", "--yes")
    assert "\x1b" not in done.stdout + done.stderr
    assert "\x07" not in done.stdout + done.stderr


@pytest.mark.live
def test_a_running_comfyui_knows_the_file_afterwards(comfyui: str, user: User) -> None:
    home = sandbox.default_home(read_settings(os.environ))
    base = next(state.base_directory for state in sandbox.list_sandboxes(home) if state.url == comfyui)
    user.url = comfyui
    done = user.get("cat.safetensors", "--yes", "--comfyui-path", str(base))
    assert done.returncode == 0, done.stderr
    assert "cat.safetensors" in httpx2.get(f"{comfyui}/models/loras").json()
    inventory = json.loads((user.home / "state" / "inventory.json").read_text("utf-8"))
    assert "cat.safetensors" in inventory["models"]["loras"]


@pytest.mark.live
def test_what_validation_finds_missing_is_fetched(comfyui: str, user: User) -> None:
    user.url = comfyui
    user.lists("## checkpoints\n| File | Link |\n|---|---|\n| sub/cat.safetensors | HERE/cat.safetensors |\n")
    prompt = {
        "1": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "sub\\cat.safetensors"}},
        "2": {"class_type": "EmptyLatentImage", "inputs": {"width": 64, "height": 64, "batch_size": 1}},
        "3": {"class_type": "VAEDecode", "inputs": {"samples": ["2", 0], "vae": ["1", 2]}},
        "4": {"class_type": "SaveImage", "inputs": {"images": ["3", 0], "filename_prefix": "x"}},
        "5": {"class_type": "VAELoader", "inputs": {"vae_name": "nobody-knows-it.safetensors"}},
        "6": {"class_type": "VAEDecode", "inputs": {"samples": ["2", 0], "vae": ["5", 0]}},
        "7": {"class_type": "SaveImage", "inputs": {"images": ["6", 0], "filename_prefix": "x"}},
    }
    (user.home / "p.json").write_text(json.dumps(prompt))
    answer = user.answer("--workflow", "p.json")
    assert answer["sub/cat.safetensors"]["state"] == "downloaded"
    assert user.model("checkpoints/sub/cat.safetensors").exists()
    unknown = answer["nobody-knows-it.safetensors"]
    assert (unknown["state"], "No direct link" in unknown["error"]) == ("refused", True)
    del prompt["1"], prompt["3"], prompt["4"], prompt["5"], prompt["6"]
    prompt["7"]["inputs"] = {"images": ["8", 0], "filename_prefix": "x"}
    prompt["8"] = {"class_type": "EmptyImage", "inputs": {"width": 64, "height": 64, "batch_size": 1, "color": 0}}
    (user.home / "p.json").write_text(json.dumps(prompt))
    done = user.get("--workflow", "p.json")
    assert (done.returncode, "No missing model" in done.stdout) == (0, True)


def test_a_workflow_that_names_no_links_needs_a_server(user: User) -> None:
    prompt = {"1": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "cat.safetensors"}}}
    (user.home / "p.json").write_text(json.dumps(prompt))
    done = user.get("--workflow", "p.json", "--yes")
    assert (done.returncode, "API format" in done.stderr) == (2, True)


def test_the_inventory_is_read_from_the_folder_where_no_server_answers(user: User) -> None:
    done = user.get("cat.safetensors", "--yes")
    assert "The inventory knows of the new files." in done.stdout
    inventory = json.loads((user.home / "state" / "inventory.json").read_text("utf-8"))
    assert inventory["models"]["loras"]["cat.safetensors"] == len(CONTENT)


def test_nothing_but_the_console_downloads() -> None:
    package = Path(comfyui_api.__file__).parent
    for path in package.rglob("*.py"):
        if path.relative_to(package).parts[0] not in ("cli", "fetch_models.py", "model_downloads"):
            assert not re.search(r"import.*(fetch_models|model_downloads)", path.read_text("utf-8")), path


# --- by their real names: a proxy that leads every https host to a server of ours, with certificates of a CA of ours


@contextmanager
def internet(files: FileServer, hosts: Sequence[str], folder: Path) -> Iterator[dict[str, str]]:
    """An environment in which these hosts are `files`, whose server speaks TLS for them."""
    listener = socket.create_server(("127.0.0.1", 0))

    def lead() -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=_tunnel, args=(client, hosts, files.host), daemon=True).start()

    threading.Thread(target=lead, daemon=True).start()
    try:
        proxy = f"http://127.0.0.1:{listener.getsockname()[1]}"
        yield {"HTTPS_PROXY": proxy, "NO_PROXY": "127.0.0.1", "SSL_CERT_FILE": str(folder / "ca.pem")}
    finally:
        listener.close()


def _tunnel(client: socket.socket, hosts: Sequence[str], to: str) -> None:
    with client, suppress(OSError):
        request = client.recv(65536).decode()
        if request.split()[1].removesuffix(":443") not in hosts:
            client.sendall(b"HTTP/1.1 502 No such host\r\n\r\n")
            return
        host, port = to.split(":")
        with socket.create_connection((host, int(port))) as server:
            client.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
            back = threading.Thread(target=_pump, args=(server, client), daemon=True)
            back.start()
            _pump(client, server)
            back.join()


def _pump(one: socket.socket, other: socket.socket) -> None:
    with suppress(OSError):
        while piece := one.recv(65536):
            other.sendall(piece)
        other.shutdown(socket.SHUT_WR)


def certificates(hosts: Sequence[str], folder: Path) -> ssl.SSLContext:
    x509 = pytest.importorskip("cryptography.x509")
    from cryptography.hazmat.primitives import hashes, serialization  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415
    from cryptography.x509.oid import NameOID  # noqa: PLC0415

    now = datetime.datetime.now(datetime.UTC)
    key, ca_key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    ca = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Test CA")])

    def signed(subject: Any, public_key: Any, *extensions: Any) -> bytes:
        builder = x509.CertificateBuilder().subject_name(subject).issuer_name(ca).public_key(public_key)
        builder = builder.serial_number(x509.random_serial_number()).not_valid_before(now - datetime.timedelta(days=1))
        builder = builder.not_valid_after(now + datetime.timedelta(days=1))
        for extension, critical in extensions:
            builder = builder.add_extension(extension, critical=critical)
        certificate = builder.sign(ca_key, hashes.SHA256())
        return bytes(certificate.public_bytes(serialization.Encoding.PEM))

    ca_identifier = x509.SubjectKeyIdentifier.from_public_key(ca_key.public_key())
    usage = x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=True,
        crl_sign=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
    (folder / "ca.pem").write_bytes(
        signed(
            ca,
            ca_key.public_key(),
            (x509.BasicConstraints(ca=True, path_length=None), True),
            (usage, True),
            (ca_identifier, False),
        )
    )
    names = x509.SubjectAlternativeName([x509.DNSName(host) for host in hosts])
    authority = x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "files")])
    pem = signed(subject, key.public_key(), (names, False), (authority, False))
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "server.pem").write_bytes(pem + private)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem")
    return context


HUB, STORAGE = "huggingface.co", "us.aws.cdn.hf.co"
GATED = "/black-forest-labs/FLUX.1-dev/resolve/main/ae.safetensors"


def gated(handler: Handler) -> None:
    """As Hugging Face does: 401 without a token, 403 for an account that has not accepted the licence, else a link."""
    token = handler.headers.get("authorization", "").removeprefix("Bearer ")
    if token != "hf_accepted":
        error = {"X-Error-Code": "GatedRepo", "X-Error-Message": "Access to model is restricted."}
        handler.say(403 if token else 401, b"no", error)
        return
    linked = {"X-Linked-Size": str(len(CONTENT)), "X-Linked-ETag": f'"{sha256(CONTENT)}"'}
    sent_on(f"https://{STORAGE}/xet/ae?Signature=x%2Fy%3D", headers=linked)(handler)


def test_a_gated_model_of_the_hub_comes_with_a_token_that_only_the_hub_sees(user: User, tmp_path: Path) -> None:
    tls = certificates([HUB, STORAGE], tmp_path)
    user.lists(f"## vae\n| File | Link |\n|---|---|\n| my-ae.safetensors | https://{HUB}{GATED} |\n")
    hub: dict[str, Behaviour] = {GATED: gated, "/xet/ae": File(CONTENT)}
    with file_server(hub, tls) as server, internet(server, [HUB, STORAGE], tmp_path) as environment:
        user.environment = environment
        error = user.answer("my-ae.safetensors")["my-ae.safetensors"]
        assert "account that has accepted its licence" in error["error"]
        assert "https://huggingface.co/black-forest-labs/FLUX.1-dev" in error["next_step"]
        assert "HF_TOKEN" in error["next_step"]
        user.environment["HF_TOKEN"] = "hf_stranger"
        done = user.get("my-ae.safetensors", "--yes")
        assert "Accept its licence" in " ".join(done.stdout.split())
        assert "hf_stranger" not in done.stdout + done.stderr
        user.environment["HF_TOKEN"] = "hf_accepted"
        done = user.get("my-ae.safetensors", "--yes")
        assert done.returncode == 0, done.stdout + done.stderr
        assert "hf_accepted" not in done.stdout + done.stderr
    assert user.model("vae/my-ae.safetensors").read_bytes() == CONTENT
    by_path = [(path, "authorization" in headers, headers["host"]) for path, headers in server.asked]
    assert ("/xet/ae", False, STORAGE) in by_path
    assert not any(path == "/xet/ae" and token for path, token, _ in by_path)
    assert (GATED, True, HUB) in by_path


def test_a_hub_with_a_strange_certificate_is_not_believed(user: User, tmp_path: Path) -> None:
    tls = certificates(["somebody.example"], tmp_path)
    user.lists(f"## vae\n| File | Link |\n|---|---|\n| my-ae.safetensors | https://{HUB}{GATED} |\n")
    with file_server({GATED: File(CONTENT)}, tls) as server, internet(server, [HUB], tmp_path) as environment:
        user.environment = {**environment, "HF_TOKEN": "hf_accepted"}
        entry = user.answer("my-ae.safetensors")["my-ae.safetensors"]
    assert (entry["state"], "cannot prove" in entry["error"]) == ("refused", True)
    assert server.asked == []
