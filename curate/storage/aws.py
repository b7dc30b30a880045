"""The AWS tools' own settings files: `obstore` reads the environment and asks for a machine's role, but not these."""

from __future__ import annotations

import configparser
import contextlib
from collections.abc import Mapping
from pathlib import Path

_OTHER_WAYS = (
    "AWS_ACCESS_KEY_ID",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
)
_REGIONS = ("AWS_REGION", "AWS_DEFAULT_REGION")


def aws_profile(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the settings of AWS_PROFILE (else `default`), or none when the environment has credentials of its own."""
    if any(name in environment for name in _OTHER_WAYS):
        return {}
    name = environment.get("AWS_PROFILE", "default")
    folder = Path.home() / ".aws"
    config = environment.get("AWS_CONFIG_FILE", folder / "config")
    credentials = environment.get("AWS_SHARED_CREDENTIALS_FILE", folder / "credentials")
    found = _section(config, name if name == "default" else f"profile {name}") | _section(credentials, name)
    known = {"aws_access_key_id", "aws_secret_access_key", "aws_session_token", "endpoint_url"}
    if not any(variable in environment for variable in _REGIONS):
        known.add("region")
    return {key: value for key, value in found.items() if key in known}


def plain_endpoint(environment: Mapping[str, str], profile: Mapping[str, str]) -> bool:
    """Tell whether the S3 endpoint was chosen to be without TLS, as on a machine of one's own."""
    chosen = [value for name, value in environment.items() if name.startswith("AWS_ENDPOINT")]
    return any(url.startswith("http://") for url in [*chosen, profile.get("endpoint_url", "")])


def _section(file: str | Path, name: str) -> dict[str, str]:
    parser = configparser.RawConfigParser()
    with contextlib.suppress(configparser.Error, OSError):  # a broken file gives no settings; an error text may quote its keys
        parser.read(file)
    return dict(parser[name]) if parser.has_section(name) else {}
