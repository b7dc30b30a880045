"""An OpenID Connect provider on loopback, of Authlib's own server parts: it insists on PKCE, a nonce, and its client's secret.

Whoever comes is signed in at once, as `person`. `told` changes what id tokens say, `signer` who signs them.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any

import flask
from authlib.integrations.flask_oauth2 import AuthorizationServer
from authlib.oauth2.rfc6749 import ClientMixin, InvalidRequestError
from authlib.oauth2.rfc6749.grants import AuthorizationCodeGrant
from authlib.oauth2.rfc7636 import CodeChallenge
from authlib.oidc.core import AuthorizationCodeMixin, OpenIDCode
from joserfc.jwk import KeySet, RSAKey
from werkzeug.serving import make_server

SECRET = "the client's word"


@dataclass(frozen=True)
class Client(ClientMixin):
    """The one client that the provider knows."""

    redirect: str
    client_id: str = "curate"

    def get_client_id(self) -> str:
        return self.client_id

    def get_default_redirect_uri(self) -> str:
        return self.redirect

    def get_allowed_scope(self, scope: str) -> str:
        return scope

    def check_redirect_uri(self, redirect_uri: str) -> bool:
        return redirect_uri == self.redirect

    def check_client_secret(self, client_secret: str) -> bool:
        return client_secret == SECRET

    def check_endpoint_auth_method(self, method: str, endpoint: str) -> bool:
        return method == "client_secret_basic"

    def check_response_type(self, response_type: str) -> bool:
        return response_type == "code"

    def check_grant_type(self, grant_type: str) -> bool:
        return grant_type == "authorization_code"


@dataclass(frozen=True)
class Code(AuthorizationCodeMixin):
    """A code that was given out, and for what."""

    redirect_uri: str
    scope: str
    nonce: str
    code_challenge: str
    code_challenge_method: str

    def get_redirect_uri(self) -> str:
        return self.redirect_uri

    def get_scope(self) -> str:
        return self.scope

    def get_nonce(self) -> str:
        return self.nonce

    def get_auth_time(self) -> None:
        return None


class Provider:
    """The provider; `url` is its issuer."""

    def __init__(self, redirect: str, key: RSAKey) -> None:
        self.key = key
        self.forget()
        self.codes: dict[str, Code] = {}
        self.client = Client(redirect)
        app = flask.Flask(__name__)
        self._authorization = AuthorizationServer(
            app, lambda client_id: self.client if client_id == "curate" else None, lambda *given: None
        )
        self._authorization.register_grant(_grant(self), [_OpenId(self), CodeChallenge(required=True)])
        for path, view in (("/.well-known/openid-configuration", self._metadata), ("/keys", self._keys), ("/userinfo", self._userinfo)):
            app.add_url_rule(path, path, view)
        app.add_url_rule("/authorize", "/authorize", self._authorize)
        app.add_url_rule("/token", "/token", self._authorization.create_token_response, methods=["POST"])
        self._server = make_server("127.0.0.1", 0, app, threaded=True)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self._thread.start()

    def forget(self) -> None:
        """Be an honest provider of Ana."""
        self.person: dict[str, Any] = {"sub": "u-1", "email": "ana@example.org", "email_verified": True, "groups": ["data-team"]}
        self.told: dict[str, Any] = {}
        self.signer = self.key

    def stop(self) -> None:
        """Answer no more."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def _metadata(self) -> dict[str, Any]:
        addresses = {"authorization_endpoint": "authorize", "token_endpoint": "token", "jwks_uri": "keys", "userinfo_endpoint": "userinfo"}
        return {"issuer": self.url, **{name: f"{self.url}/{path}" for name, path in addresses.items()}}

    def _keys(self) -> dict[str, Any]:
        return dict(KeySet([self.key]).as_dict(private=False))

    def _userinfo(self) -> dict[str, Any]:
        return {"sub": self.person["sub"], "department": "corpora"}

    def _authorize(self) -> flask.Response:
        if flask.request.args.get("code_challenge_method") != "S256":
            raise InvalidRequestError("this provider wants PKCE")
        grant = self._authorization.get_consent_grant(end_user=self.person)
        answer: flask.Response = self._authorization.create_authorization_response(grant_user=self.person, grant=grant)
        return answer


def _grant(provider: Provider) -> type[AuthorizationCodeGrant]:
    class Grant(AuthorizationCodeGrant):
        def save_authorization_code(self, code: str, request: Any) -> None:
            given = request.payload.data
            asked = [given.get(name) for name in ("redirect_uri", "scope", "nonce", "code_challenge", "code_challenge_method")]
            provider.codes[code] = Code(*asked)

        def query_authorization_code(self, code: str, client: Client) -> Code | None:
            return provider.codes.get(code)

        def delete_authorization_code(self, authorization_code: Code) -> None:
            provider.codes = {code: kept for code, kept in provider.codes.items() if kept is not authorization_code}

        def authenticate_user(self, authorization_code: Code) -> dict[str, Any]:
            return provider.person

    return Grant


class _OpenId(OpenIDCode):
    def __init__(self, provider: Provider) -> None:
        super().__init__(require_nonce=True)
        self._provider = provider

    def exists_nonce(self, nonce: str, request: Any) -> bool:
        return any(code.nonce == nonce for code in self._provider.codes.values())

    def generate_user_info(self, user: dict[str, Any], scope: str) -> dict[str, Any]:
        return {**user, **self._provider.told}

    def get_client_claims(self, client: Client) -> dict[str, Any]:
        return {"iss": self._provider.url, "aud": [client.get_client_id()]}

    def get_encode_header(self, client: Client) -> dict[str, str]:
        return {"alg": "RS256", "kid": "1"}

    def resolve_client_private_key(self, client: Client) -> RSAKey:
        return self._provider.signer
