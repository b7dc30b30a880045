"""Signs people in with an OpenID Connect provider: the authorisation code flow with PKCE, state and nonce.

What must be known again when a browser comes back from the provider is its `Errand`, which travels in a cookie of that browser:
whoever begins a sign-in is the one who ends it. Nothing of a provider is kept: people sign in rarely, and keys change.
"""

from __future__ import annotations

import binascii
import contextlib
import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

import httpx2
import orjson
from authlib.integrations.base_client import OAuthError
from authlib.integrations.httpx_client import OAuth2Client
from authlib.oidc.core import CodeIDToken
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet
from joserfc.jws import JWSRegistry

from curate.errors import CurateError, TransientError
from curate.service.auth import Unauthorized
from curate.service.oidc_settings import Oidc
from curate.service.settings import is_safe, secret

ANSWER_S = 10.0
LEEWAY_S = 60
ALGORITHMS: Final = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
_WELL_KNOWN = "/.well-known/openid-configuration"
_ADDRESSES = ("authorization_endpoint", "token_endpoint", "jwks_uri")


@dataclass(frozen=True)
class Errand:
    """What a browser went to the provider with, and the page that it is to see afterwards."""

    state: str
    nonce: str
    verifier: str
    next: str

    @property
    def text(self) -> str:
        """The errand as a cookie holds it."""
        return urlsafe_b64encode(orjson.dumps(asdict(self))).decode()

    @classmethod
    def read(cls, text: str) -> Errand | None:
        """Return the errand of a cookie; None for what is none."""
        try:
            found = orjson.loads(urlsafe_b64decode(text.encode()))
            return cls(**{name: str(found[name]) for name in ("state", "nonce", "verifier", "next")})
        except (binascii.Error, UnicodeEncodeError, orjson.JSONDecodeError, TypeError, KeyError):
            return None


class Provider:
    """One provider, which sends people back to the address `redirect`.

    Errors: `TransientError` when it does not answer, `CurateError` when it is no provider as the settings say, `Unauthorized` when it
    does not vouch for somebody, or not so that we can believe it.
    """

    def __init__(self, settings: Oidc, redirect: str) -> None:
        self._settings = settings
        self._redirect = redirect

    def leave(self, following: str) -> tuple[str, Errand]:
        """Return where to send a browser that wants to see a page, and its errand."""
        errand = Errand(secrets.token_urlsafe(24), secrets.token_urlsafe(24), secrets.token_urlsafe(48), following)
        with self._asking() as client:
            page = self._metadata(client)["authorization_endpoint"]
            address, _ = client.create_authorization_url(page, errand.state, errand.verifier, nonce=errand.nonce)
        return str(address), errand

    def arrive(self, errand: Errand, code: str) -> Mapping[str, Any]:
        """Return the claims of the person who came back with a code."""
        with self._asking() as client:
            metadata = self._metadata(client)
            if "client_secret_basic" not in metadata.get("token_endpoint_auth_methods_supported", ("client_secret_basic",)):
                client.token_endpoint_auth_method = "client_secret_post" if client.client_secret else "none"
            token = client.fetch_token(metadata["token_endpoint"], code=code, code_verifier=errand.verifier)
            claims = self._claims(token, _json(client, metadata["jwks_uri"]), errand.nonce)
            return {**_further(client, metadata, claims["sub"]), **claims}

    @contextlib.contextmanager
    def _asking(self) -> Iterator[OAuth2Client]:
        """Give a client of the provider, and tell what goes wrong in our words."""
        known, issuer = self._settings, self._settings.issuer
        word = secret(known.client_secret) if known.client_secret is not None else None
        scope, sent = " ".join(known.scopes), {"redirect_uri": self._redirect, "code_challenge_method": "S256"}
        try:
            with OAuth2Client(known.client_id, word, scope=scope, timeout=ANSWER_S, **sent) as client:
                yield client
        except OAuthError as error:
            raise Unauthorized(f"{issuer} did not take the sign-in: {error}", "begin it again") from None
        except JoseError as error:
            raise Unauthorized(f"what {issuer} says cannot be trusted: {error}", "begin the sign-in again") from None
        except (httpx2.HTTPError, ValueError) as error:
            raise TransientError(f"{issuer} does not answer: {error}", "try again in a moment, or log in with a token") from None

    def _metadata(self, client: OAuth2Client) -> dict[str, Any]:
        issuer = self._settings.issuer
        found = _json(client, issuer.rstrip("/") + _WELL_KNOWN)
        if found.get("issuer") != issuer:
            raise CurateError(f"the provider at {issuer} calls itself {found.get('issuer')}", "`oidc.issuer` is what it calls itself")
        for name in _ADDRESSES:
            if not is_safe(str(found.get(name, ""))):
                raise CurateError(f"{issuer} has no safe `{name}`: {found.get(name)}", "its addresses must be https")
        return found

    def _claims(self, token: Mapping[str, Any], keys: dict[str, Any], nonce: str) -> dict[str, Any]:
        """Return the claims of an id token; raise `JoseError` unless it is whole, of this provider, for us, new, and of this sign-in."""
        read = jwt.decode(
            str(token.get("id_token")),
            KeySet.import_key_set(keys),  # type: ignore[arg-type]
            registry=JWSRegistry(algorithms=list(ALGORITHMS), strict_check_header=False),
        )
        expected = {
            "iss": {"essential": True, "value": self._settings.issuer},
            "aud": {"essential": True, "value": self._settings.client_id},
        }
        about = {"nonce": nonce, "client_id": self._settings.client_id, "access_token": token.get("access_token")}
        CodeIDToken(read.claims, read.header, expected, about).validate(leeway=LEEWAY_S)
        return dict(read.claims)


def _further(client: OAuth2Client, metadata: Mapping[str, Any], subject: str) -> dict[str, Any]:
    """Return what the provider tells of a person beside the token: some tell groups only here."""
    address = str(metadata.get("userinfo_endpoint", ""))
    if not is_safe(address):
        return {}
    found = client.request("GET", address).raise_for_status().json()
    return dict(found) if found.get("sub") == subject else {}


def _json(client: OAuth2Client, address: str) -> dict[str, Any]:
    found = client.request("GET", address, withhold_token=True).raise_for_status().json()
    if not isinstance(found, dict):
        raise ValueError(f"{address} is no JSON object")
    return found
