"""What a service is told when it starts: a YAML file, and what the command line says instead.

home: /var/lib/curate
database: env:CURATE_DATABASE        # or sqlite:///service.db, postgresql://user@host/name
host: 0.0.0.0
public_url: https://curate.example.org
behind_proxy: true
allow: [/data/crawls, s3://corpora/]
"""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from curate.errors import PipelineError
from curate.registry import suggest
from curate.service.oidc_settings import Oidc
from curate.storage import is_remote
from curate.yaml_tree import read_tree

PORT = 8300
HOOK_KEYS = "CURATE_HOOK_"  # how the variables begin that hold webhooks' keys
PRIVATE = ("127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "::1", "fc00::/7")
_PATHS = ("home", "folder", "tls_certificate", "tls_key", "workspace")


class Mail(BaseModel):
    """Where e-mail about runs goes out: `password` is a reference, `env:NAME` or `file:PATH`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    host: str
    port: int = 587
    starttls: bool = True
    user: str | None = None
    password: str | None = None
    sender: str
    to: tuple[str, ...]


class ServiceSettings(BaseModel):
    """Settings of one service; replicas that share a database are given the same.

    - `home`: a folder for the database, and for what local runs write on their way.
    - `database`: SQLite in `home` unless it says otherwise; `env:NAME` and `file:PATH` keep a password out of the file.
    - `public_url`: how people reach it; needed for any address that is not this machine's own.
    - `behind_proxy`: a proxy in front of it ends TLS, and says who calls in `X-Forwarded-For`; `proxies` are the
      addresses that may say so.
    - `auth`: `none` lets anybody on this machine do anything, and works on a loopback address only.
    - `cluster`: the address of a Ray cluster's job server; without one, runs are processes of this machine.
    - `folder`: where relative paths of pipelines start that were saved without a folder of their own.
    - `allow`: where workspaces, inputs, outputs and files of operators may lie: folders and beginnings of URLs.
    - `packs`: packages whose operators may run; all that are installed unless it says otherwise.
    - `runs_at_once`: how many runs go on at a time; 1 on this machine and 16 on a cluster unless it says otherwise.
    - `workers`: worker processes of a run on this machine, all cores unless it says otherwise.
    - `hooks_allow`: hosts on private networks that webhooks may call.
    - `oidc`: a provider with which people may sign in, beside the tokens: `curate.service.oidc_settings`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    home: Path = Path("service")
    database: str | None = None
    host: str = "127.0.0.1"
    port: int = Field(PORT, ge=0, le=65535)
    public_url: str | None = None
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    behind_proxy: bool = False
    proxies: tuple[str, ...] = PRIVATE
    auth: Literal["tokens", "none"] = "tokens"
    cluster: str | None = None
    workspace: str = "workspace"
    folder: Path = Path()
    allow: tuple[str, ...] = ()
    packs: tuple[str, ...] | None = None
    runs_at_once: int | None = Field(None, ge=1)
    workers: int | None = Field(None, ge=1)
    body_bytes: int = Field(1 << 20, ge=1024)
    request_s: float = Field(30.0, gt=0)
    session_hours: float = Field(12.0, gt=0)
    streams: int = Field(500, ge=1)
    hooks_allow: tuple[str, ...] = ()
    mail: Mail | None = None
    oidc: Oidc | None = None

    @property
    def database_url(self) -> str:
        """The address of the database, with what references in it stand for."""
        return secret(self.database) if self.database else f"sqlite:///{self.home / 'service.db'}"

    @property
    def allowed(self) -> tuple[str, ...]:
        """Prefixes of what pipelines may name; without any, the folder that relative paths start from, and the workspace."""
        return self.allow or (str(self.folder), self.workspace)

    def workspace_of(self, asked: str | None) -> str:
        """Return where a run works that asked for this workspace or for none; relative ones start where pipelines do."""
        if asked is None:
            return self.workspace
        return asked if is_remote(asked) else os.path.join(self.folder, asked)

    @property
    def url(self) -> str:
        """How the service is reached."""
        scheme = "https" if self.tls_certificate else "http"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return (self.public_url or f"{scheme}://{host}:{self.port}").rstrip("/")

    @property
    def secure(self) -> bool:
        """Whether people reach it by TLS, its own or a proxy's."""
        return self.url.startswith("https://")


def load_settings(path: Path | None, chosen: Mapping[str, Any]) -> ServiceSettings:
    """Return checked settings: those of the file, under those that are chosen; relative paths start at the file's folder."""
    data: dict[str, Any] = {}
    base = Path.cwd()
    if path is not None:
        data, base = _read(path), path.absolute().parent
    data = _whole(data, base) | _whole({key: value for key, value in chosen.items() if value is not None}, Path.cwd())
    try:
        settings = ServiceSettings.model_validate(_whole({"home": "service", "workspace": "workspace", "folder": "."}, base) | data)
    except ValidationError as error:
        raise _explained(error, path) from None
    _check_reach(settings)
    _check_oidc(settings)
    return settings


def secret(reference: str) -> str:
    """Return what `env:NAME` or `file:PATH` refers to; any other text stands for itself."""
    kind, _, name = reference.partition(":")
    if kind == "env":
        if name not in os.environ:
            raise PipelineError(f"the environment has no variable {name}", "set it where the service starts")
        return os.environ[name]
    if kind == "file":
        try:
            return Path(name).read_text(encoding="utf-8").strip()
        except OSError as error:
            raise PipelineError(f"cannot read the secret in {name}: {error.strerror}", "may the service's user read it?") from None
    return reference


def secret_variables(settings: ServiceSettings) -> list[str]:
    """Return the variables of the environment that settings and webhooks refer to: no run gets to see them."""
    references = [settings.database, settings.mail and settings.mail.password, settings.oidc and settings.oidc.client_secret]
    named = [reference[4:] for reference in references if reference and reference.startswith("env:")]
    return named + [name for name in os.environ if name.startswith(HOOK_KEYS)]


def is_loopback(host: str) -> bool:
    """Tell whether an address can be reached from this machine only."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _read(path: Path) -> dict[str, Any]:
    try:
        data, _ = read_tree(path.read_text(encoding="utf-8-sig"), str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise PipelineError(f"cannot read the settings {path}: {error}") from None
    if not isinstance(data, dict):
        raise PipelineError(f"{path}: settings are a mapping", "such as `port: 8300`")
    return data


def _whole(data: dict[str, Any], base: Path) -> dict[str, Any]:
    """Make paths absolute; URLs and what is wrong stay as they are."""

    def whole(value: Any) -> Any:
        return value if not isinstance(value, str | Path) or is_remote(str(value)) else os.path.abspath(base / Path(value).expanduser())

    made = {key: whole(value) if key in _PATHS else value for key, value in data.items()}
    if isinstance(made.get("allow"), list | tuple):
        made["allow"] = [whole(value) for value in made["allow"]]
    return made


def _explained(error: ValidationError, path: Path | None) -> PipelineError:
    first = error.errors(include_url=False)[0]
    name = ".".join(str(part) for part in first["loc"])
    where = f"{path}: " if path else ""
    if first["type"] == "extra_forbidden":
        known = list(ServiceSettings.model_fields)
        return PipelineError(f"{where}unknown setting `{name}`", suggest(name, known) or f"settings are: {', '.join(known)}")
    message = first["msg"][:1].lower() + first["msg"][1:]
    return PipelineError(f"{where}`{name}`: {message}, found {first['input']!r}")


def _check_reach(settings: ServiceSettings) -> None:
    """Refuse an address that others can reach unless callers prove who they are, and nobody can listen in."""
    if (settings.tls_certificate is None) != (settings.tls_key is None):
        raise PipelineError("TLS needs `tls_certificate` and `tls_key`", "give both, or neither")
    if settings.public_url and urlsplit(settings.public_url).scheme not in ("http", "https"):
        raise PipelineError(f"`public_url` is no address: {settings.public_url}", "such as https://curate.example.org")
    if is_loopback(settings.host) and not settings.behind_proxy:
        return
    if settings.auth == "none":
        raise PipelineError(f"without tokens, {settings.host} would let anybody in", "leave `auth` out, or listen on 127.0.0.1")
    if settings.tls_certificate is None and not (settings.behind_proxy and settings.secure):
        raise PipelineError(
            f"{settings.host} can be reached from outside, and there is no TLS",
            "give `tls_certificate` and `tls_key`, or say `behind_proxy: true` and a `public_url` with https",
        )


def _check_oidc(settings: ServiceSettings) -> None:
    """Refuse a provider that anybody on the way could play, and one that could not send people back."""
    if settings.oidc is None:
        return
    issuer = settings.oidc.issuer
    if not is_safe(issuer):
        raise PipelineError(f"`oidc.issuer` is neither https nor on this machine: {issuer}", "such as https://id.example.org")
    if settings.auth == "none":
        raise PipelineError("`oidc` goes without `auth: none`, which lets anybody in", "leave one of them out")
    if urlsplit(settings.url).hostname in ("0.0.0.0", "::"):  # noqa: S104 - compared, not bound
        raise PipelineError("`oidc` needs `public_url`", "the address at which people reach the service, and the provider sends them back")


def is_safe(url: str) -> bool:
    """Tell whether nobody on the way can read or change what is said to an address: by TLS, or since it stays on this machine."""
    parts = urlsplit(url)
    return bool(parts.hostname) and (parts.scheme == "https" or (parts.scheme == "http" and is_loopback(parts.hostname or "")))
