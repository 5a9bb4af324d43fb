"""Which server a call means, where it is, and how it is spoken to: by the settings, servers.toml and the project.

The user's own settings may name any host. What comes from elsewhere (an agent, a working folder, a manifest) must be on
this machine or an allowed host, and no secret is read for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from urllib.parse import unquote, urlsplit, urlunsplit

from comfyui_api.errors import FileProblem, InvalidArgument, NotPermitted, UnknownName
from comfyui_api.jobs import Job
from comfyui_api.projects import manifest_server
from comfyui_api.settings import CLOUD_URL, Access, SecretSource, ServerEntry, Settings, parse_servers
from comfyui_api.storage import text_of
from comfyui_api.transport import is_loopback

SECRET_LIMIT = 64 * 2**10  # bytes of a file with a secret


@dataclass(frozen=True)
class Place:
    """Where a server is: its cleaned address, and its entry in servers.toml where it has one."""

    url: str
    entry: ServerEntry | None = None

    @property
    def name(self) -> str | None:
        return self.entry.name if self.entry is not None else None


@dataclass(frozen=True)
class Servers:
    """The servers that this process may speak to. `config` is the user's own configuration folder, in which a
    servers.toml may name any host; the one in `home`, the working folder, may not."""

    settings: Settings
    home: Path
    config: Path
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def default(self) -> Place:
        """The server of calls that mean no other. Raises UnknownName for a name that no servers.toml has."""
        if "://" in self.settings.url:
            return self._at(clean_url(self.settings.url))
        return self._named(self.settings.url, "COMFYUI_URL")

    def others(self) -> list[ServerEntry]:
        """The configured servers besides the default one. Raises InvalidArgument and FileProblem for a broken file."""
        default = self.default
        entries = read_servers(self.home, self.config).values()
        return [entry for entry in entries if entry.name != default.name and usable_url(entry.url) != default.url]

    def meant(self, server: str | None, *, project: str | None = None, job: Job | None = None) -> Place:
        """The server that a call names, else the one its run went to, else the project's, else the default."""
        if server:
            return self._named(server, "`server`")
        if job is not None:
            url = self._permitted(job.server, f"the server of the run {job.prompt_id} in jobs.json")
            return self._at(url, job.server_name)
        if (name := project or self.settings.project) and (named := manifest_server(self.home, name)):
            return self._named(named, f"comfyui_url of the project '{name}'")
        return self.default

    def _named(self, server: str, what: str) -> Place:
        """The server of a name or an address, which `what` gives."""
        if "://" in server:
            return self._at(self._permitted(server, what))
        servers = read_servers(self.home, self.config)
        if (entry := servers.get(server)) is None:
            shown = "of this form" if "@" in server else f"'{server[:200]}'"  # it may hold a password
            hint = " An address begins with http:// or https://." if ":" in server or "." in server else ""
            raise UnknownName(
                f"No server is configured under the name {shown}, which {what} gives.{hint}",
                f"Give a URL, or one of these names: {', '.join(servers) or 'none is configured'}.",
            )
        return self._of_entry(entry)

    def _of_entry(self, entry: ServerEntry) -> Place:
        if entry.trusted:
            return Place(clean_url(entry.url, f"the url of [{entry.name}] in servers.toml"), entry)
        what = f"the server '{entry.name}' of servers.toml in the working folder"
        # The user's own entry for this address comes first: it knows how to get in.
        place = self._at(self._permitted(entry.url, what))
        return place if place.entry is not None else Place(place.url, entry)

    def _at(self, url: str, name: str | None = None) -> Place:
        """The place at an address: with the entry of that name if it is of this address, else with the user's own."""
        own = [entry for entry in own_servers(self.config).values() if usable_url(entry.url) == url]
        if name is not None and all(entry.name != name for entry in own):
            with suppress(InvalidArgument, FileProblem):  # the run is found without its entry too
                entry = read_servers(self.home, self.config).get(name)
                if entry is not None and usable_url(entry.url) == url:
                    return Place(url, entry)
        return Place(url, next((entry for entry in own if entry.name == name), own[0] if own else None))

    def access(self, place: Place) -> Access:
        """How a server is spoken to. Secrets are read for the user's own servers only.

        Raises NotPermitted for an entry of the working folder that asks for secrets, InvalidArgument and FileProblem
        for a secret that is not where it should be.
        """
        entry, default = place.entry, self.default
        is_default = place == default and (entry is None or entry.trusted)
        kind = entry.kind if entry is not None else "cloud" if is_cloud(place.url) else "local"
        inventory, inventory_access = self._inventory(place)
        if entry is None or not entry.trusted:
            if entry is not None and entry.opens_doors:
                raise NotPermitted(
                    f"The server '{entry.name}' of servers.toml in the working folder asks for keys or certificates, "
                    "which are read for your own servers only.",
                    f"Put the entry into {self.config / 'servers.toml'}.",
                )
            own_key = self.settings.api_key or None if is_default else None
            return Access(
                kind=kind,
                headers=_public_headers(entry),
                basic=self._credentials(place.url),
                api_key=own_key if kind != "local" else None,
                partner_key=own_key,
                inventory=inventory,
                inventory_access=inventory_access,
            )
        read = partial(self._secret, f"of the server '{entry.name}' in servers.toml")
        key, account = read("key", entry.key), self.settings.api_key or None
        found = {header: read(f"the header {header}", source) for header, source in entry.headers.items()}
        headers = {header: value for header, value in found.items() if value}
        if token := read("token", entry.token):
            headers["Authorization"] = f"Bearer {token}"
        password = read("password", entry.password)
        return Access(
            kind=kind,
            headers=headers | _public_headers(entry),
            basic=(entry.user, password) if entry.user and password else self._credentials(place.url),
            api_key=None if kind == "local" else key or (account if is_default or is_cloud(place.url) else None),
            partner_key=key or account,
            ca_file=str(self._in_config(entry.ca_file)) if entry.ca_file else None,
            inventory=inventory,
            inventory_access=inventory_access,
        )

    def _inventory(self, place: Place) -> tuple[str | None, Access | None]:
        """Where the node classes of an API v2 are known: the address of a server and how it is spoken to, or the
        absolute path of a file. Raises as `access` does, and NotPermitted for a file of others outside of the working
        folder."""
        entry = place.entry
        if entry is None or entry.kind != "v2" or not entry.inventory:
            return None, None
        told, what = entry.inventory, f"inventory of the server '{entry.name}' in servers.toml"
        is_name = told in read_servers(self.home, self.config)
        if not is_name and "://" not in told:
            return str(self._inventory_file(entry, told)), None
        there = self._at(clean_url(told, what)) if entry.trusted and not is_name else self._named(told, what)
        if there.url == place.url:
            return there.url, None  # the same server in its older API, by the same key
        if there.entry is not None and there.entry.kind == "v2":
            raise InvalidArgument(
                f"{what} is an API v2 too, which tells no node classes.",
                "Name the ComfyUI behind it, or a file of a saved /object_info.",
            )
        access = self.access(there)
        own = credentials(told) if entry.trusted and not is_name else None
        return there.url, replace(access, basic=own) if own is not None else access

    def _inventory_file(self, entry: ServerEntry, told: str) -> Path:
        if entry.trusted:
            return self._in_config(told)
        try:
            path, home = (self.home / Path(told)).resolve(), self.home.resolve()
        except (OSError, ValueError, RuntimeError) as exc:
            raise InvalidArgument(f"{told!r} in servers.toml is no path: {in_words(exc)}.", "Correct it.") from exc
        if not path.is_relative_to(home):
            raise NotPermitted(
                f"The inventory of the server '{entry.name}', {path}, is outside of the working folder, whose "
                "servers.toml names it.",
                f"Put the entry into {self.config / 'servers.toml'}, or the file into {home}.",
            )
        return path

    def _credentials(self, url: str) -> tuple[str, str] | None:
        """User and password for a server, from the addresses in the user's own settings only."""
        own = [self.settings.url, *(entry.url for entry in own_servers(self.config).values())]
        return next((found for known in own if usable_url(known) == url and (found := credentials(known))), None)

    def _secret(self, whose: str, what: str, source: SecretSource | None) -> str | None:
        """A secret from where it is; None where none is asked for."""
        if source is None:
            return None
        if source.env is not None:
            where, secret = f"the environment variable {source.env}", self.environment.get(source.env, "").strip()
            step = f"Set {source.env} where comfyui-api is started, e.g. in the configuration of the MCP client."
        else:
            path = self._in_config(source.file or "")
            where, step = f"the file {path}", "Write it there, on the first line."
            try:
                with path.open("rb") as file:
                    secret = file.read(SECRET_LIMIT).decode("utf-8-sig").strip().partition("\n")[0].strip()
            except (OSError, ValueError) as exc:
                reason = "it is no text" if isinstance(exc, ValueError) else in_words(exc)
                raise FileProblem(
                    f"{what} {whose} should be in {where}, which cannot be read: {reason}.", step
                ) from None
        if not secret:
            raise InvalidArgument(f"{what} {whose} should be in {where}, which is not set or empty.", step)
        if what != "password" and not (secret.isascii() and secret.isprintable()):
            raise InvalidArgument(f"{what} {whose}, from {where}, has letters that no header can carry.", step)
        return secret

    def _in_config(self, path: str) -> Path:
        """The absolute path of a file that the user's own configuration names, from beside it."""
        try:
            return (self.config / Path(path).expanduser()).resolve()
        except (OSError, ValueError, RuntimeError) as exc:
            raise InvalidArgument(f"{path!r} in servers.toml is no path: {in_words(exc)}.", "Correct it.") from exc

    def _permitted(self, url: str, what: str) -> str:
        """The cleaned URL if this machine, an allowed host or one of the user's own servers has it."""
        cleaned = clean_url(url, what)
        if credentials(url):
            raise NotPermitted(
                f"{what} carries credentials.",
                f"Set COMFYUI_URL for a server that needs them, or describe it in {self.config / 'servers.toml'}.",
            )
        parts = urlsplit(cleaned)
        host, port = (parts.hostname or "").casefold(), parts.port
        own = [usable_url(self.settings.url), *(usable_url(entry.url) for entry in own_servers(self.config).values())]
        own_places = {(urlsplit(known).hostname, urlsplit(known).port) for known in own if known}
        allowed = {entry.casefold() for entry in self.settings.allowed_hosts}
        if is_loopback(host) or (host, port) in own_places or host in allowed or f"{host}:{port}" in allowed:
            return cleaned
        raise NotPermitted(
            f"{what} is {cleaned}, which is neither on this machine nor an allowed host.",
            f"Ask the user to add {host} to COMFYUI_API_ALLOWED_HOSTS, or to set COMFYUI_URL.",
        )


def own_servers(config: Path) -> dict[str, ServerEntry]:
    """The servers of the user's own servers.toml, which may be anywhere."""
    path = config / "servers.toml"
    return parse_servers(file_text(path), trusted=True, source=str(path))


def read_servers(home: Path, config: Path) -> dict[str, ServerEntry]:
    """The configured servers: the user's own, and those of the working folder that do not take their names."""
    local = home / "servers.toml"
    return {**parse_servers(file_text(local), trusted=False, source=str(local)), **own_servers(config)}


def is_cloud(url: str) -> bool:
    """Whether an address is Comfy Cloud's, however it is written."""
    parts, cloud = urlsplit(url), urlsplit(CLOUD_URL)
    return (parts.scheme, parts.hostname, parts.port or 443) == (cloud.scheme, cloud.hostname, 443)


def usable_url(url: str) -> str | None:
    """The cleaned address, or None for what is none."""
    try:
        return clean_url(url)
    except InvalidArgument:
        return None


def clean_url(url: str, what: str = "The address of the server") -> str:
    """The server's address without credentials, query and trailing slashes. Raises InvalidArgument where it is none.

    `what` names where it comes from, for the error.
    """
    # A password or token in it is never repeated.
    shown = what if set(url) & set("@?#") else f"{what}, '{url[:200]}',"
    try:
        parts = urlsplit(url.strip())
        host, port = parts.hostname, parts.port
    except ValueError as exc:
        raise InvalidArgument(f"{shown} is no URL.", "Write it as http://host:8188.") from exc
    if parts.scheme not in ("http", "https") or not host or port == 0:
        raise InvalidArgument(f"{shown} is no address of a server.", "Write it as http://host:8188.")
    place = f"[{host}]" if ":" in host else host
    return urlunsplit((parts.scheme, f"{place}:{port}" if port else place, parts.path.rstrip("/"), "", ""))


def credentials(url: str) -> tuple[str, str] | None:
    """(user, password) in a URL, for basic authentication."""
    parts = urlsplit(url.strip())
    return (unquote(parts.username), unquote(parts.password or "")) if parts.username else None


def _public_headers(entry: ServerEntry | None) -> dict[str, str]:
    """The headers that are no secret: whose files, on a server with --multi-user (ComfyUI's app/user_manager.py)."""
    if entry is None or not entry.comfy_user:
        return {}
    if not (entry.comfy_user.isascii() and entry.comfy_user.isprintable()):
        raise InvalidArgument(
            f"comfy_user of the server '{entry.name}' has letters that no header can carry.",
            "Give the user's id, as the folder below ComfyUI's user folder is named.",
        )
    return {"comfy-user": entry.comfy_user}


def in_words(exc: Exception) -> str:
    """The reason of an error of the system."""
    return str(getattr(exc, "strerror", None) or exc).rstrip(".")


def file_text(path: Path) -> str:
    """The text of a settings file; empty where there is none. Raises FileProblem."""
    try:
        return text_of(path)
    except FileNotFoundError:
        return ""
    except OSError as exc:
        raise FileProblem(f"{path} could not be read: {in_words(exc)}.", "Correct the file or remove it.") from exc
