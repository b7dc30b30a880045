"""Signing in with an OpenID Connect provider: the way there and back over HTTP, and everybody who is not to get in."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx2
import pytest
from fastapi import FastAPI
from joserfc.jwk import RSAKey
from starlette.testclient import TestClient

from curate.errors import PipelineError
from curate.service.api.app import make_app
from curate.service.oidc_settings import Oidc
from curate.service.settings import load_settings, secret_variables
from tests.service.calls import Calls
from tests.service.conftest import called_as
from tests.service.pages import plain
from tests.service.provider import SECRET, Provider

HOME = "http://127.0.0.1:8300"


KEY, OTHER_KEY = (RSAKey.generate_key(2048, {"kid": "1"}) for _ in range(2))


@pytest.fixture(scope="module")
def house() -> Iterator[Provider]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AUTHLIB_INSECURE_TRANSPORT", "1")  # the provider's; we decide ourselves what is safe
        patch.setenv("CURATE_OIDC_SECRET", SECRET)
        started = Provider(f"{HOME}/login/oidc/done", KEY)
        yield started
        started.stop()


@pytest.fixture
def provider(house: Provider) -> Provider:
    house.forget()
    return house


def service_at(folder: Path, provider: Provider, **chosen: Any) -> FastAPI:
    roles = {"groups": {"data-team": "operator", "curate-admins": "admin"}, "department": {"corpora": "viewer"}}
    said = {"issuer": provider.url, "client_id": "curate", "client_secret": "env:CURATE_OIDC_SECRET", "roles": roles, "name": "our people"}
    return make_app(load_settings(None, {"home": str(folder), "workspace": str(folder), "oidc": said, **chosen}), watching=False)


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory, house: Provider) -> FastAPI:
    return service_at(tmp_path_factory.mktemp("people"), house)


@pytest.fixture(scope="module")
def browser(app: FastAPI) -> Iterator[TestClient]:
    with TestClient(app, base_url=HOME, raise_server_exceptions=False, follow_redirects=False) as client:
        yield client


@pytest.fixture
def served(browser: TestClient) -> TestClient:
    browser.cookies.clear()
    return browser


@pytest.fixture
def change(app: FastAPI) -> Iterator[Callable[..., None]]:
    """Change what the settings say of the provider, for one test."""
    before = app.state.service

    def changed(**said: Any) -> None:
        oidc = before.settings.oidc.model_copy(update=said)
        app.state.service = replace(before, settings=before.settings.model_copy(update={"oidc": oidc}))

    yield changed
    app.state.service = before


def to_provider(served: TestClient, following: str = "/runs?status=failed") -> str:
    """Begin to sign in; return where the provider is asked."""
    answer = served.get("/login/oidc", params={"next": following})
    assert answer.status_code == 303, answer.text
    return str(answer.headers["location"])


def back_from(address: str) -> str:
    """Ask the provider, as a browser would; return where it sends the browser."""
    answer = httpx2.get(address)
    assert answer.status_code == 302, answer.text
    return str(answer.headers["location"]).removeprefix(HOME)


def arrived(served: TestClient, address: str, status: int) -> str:
    """Come back from the provider; return where the answer leads, or what its page says."""
    answer = served.get(address)
    assert answer.status_code == status, plain(answer.text)
    return str(answer.headers["location"]) if status == 303 else plain(answer.text)


def test_somebody_signs_in_works_and_logs_out(served: TestClient, app: FastAPI, provider: Provider) -> None:
    assert "Log in with our people" in plain(served.get("/login?next=/proofs").text)
    assert 'href="/login/oidc?next=%2Fproofs"' in served.get("/login?next=/proofs").text
    asked = parse_qs(urlsplit(to_provider(served)).query)
    assert asked["code_challenge_method"] == ["S256"] and asked["scope"] == ["openid profile email"]
    assert arrived(served, back_from(to_provider(served)), 303) == "/runs?status=failed"
    assert served.get("/api/v1/me").json() == {"name": "ana@example.org", "role": "operator"}
    page = served.get("/runs").text
    assert "ana@example.org" in plain(page)
    csrf = page.partition('name="csrf" value="')[2].partition('"')[0]
    assert served.post("/logout", data={"csrf": "wrong"}).status_code == 403
    assert served.post("/logout", data={"csrf": csrf}).headers["location"] == "/login"
    assert served.get("/api/v1/me").status_code == 401
    entry = called_as(app, served, "admin").get("/audit")["items"][0]
    assert (entry["action"], entry["actor"], entry["address"]) == ("person.login", "ana@example.org", "testclient")
    assert entry["details"] == {"issuer": provider.url, "subject": "u-1", "role": "operator"}


def test_a_role_is_what_it_was_at_the_last_sign_in(tmp_path: Path, provider: Provider, database_url: str) -> None:
    app = service_at(tmp_path, provider, database=database_url)
    with TestClient(app, base_url=HOME, follow_redirects=False) as served:
        for groups, role in ((["curate-admins", "data-team"], "admin"), (["data-team"], "operator"), ([], "viewer")):
            provider.person["groups"] = groups  # without groups, what the provider tells beside the token counts: a department
            arrived(served, back_from(to_provider(served)), 303)
            assert served.get("/api/v1/me").json() == {"name": "ana@example.org", "role": role}


class TestNobodyElseGetsIn:
    """Each leaves no session."""

    @pytest.fixture(autouse=True)
    def no_session(self, served: TestClient) -> Iterator[None]:
        yield
        assert served.get("/api/v1/me").status_code == 401

    def test_without_a_role(self, served: TestClient, app: FastAPI, change: Any, provider: Provider) -> None:
        provider.person |= {"groups": ["others"], "sub": "u-2"}
        change(roles={"groups": {"data-team": "operator"}})
        told = arrived(served, back_from(to_provider(served)), 403)
        assert "ana@example.org has no role in this service" in told and "hint: ask an admin" in told
        newest = called_as(app, served, "admin").get("/audit")["items"][0]
        assert (newest["action"], newest["details"]["subject"]) == ("person.refuse", "u-2")

    def test_from_outside_of_what_is_allowed(self, served: TestClient, change: Any, provider: Provider) -> None:
        change(allowed={"hd": ("example.org",)})
        provider.person["hd"] = "example.com"
        assert "has no role" in arrived(served, back_from(to_provider(served)), 403)

    def test_by_an_answer_that_another_browser_asked_for(self, served: TestClient, provider: Provider) -> None:
        address = back_from(to_provider(served))
        served.cookies.clear()
        assert "did not begin in this browser" in arrived(served, address, 401)

    def test_by_an_answer_to_another_question(self, served: TestClient, provider: Provider) -> None:
        address = back_from(to_provider(served))
        to_provider(served)
        assert "did not begin in this browser" in arrived(served, address, 401)

    def test_by_a_code_that_was_used(self, served: TestClient, provider: Provider) -> None:
        asked = to_provider(served)
        errand, address = dict(served.cookies), back_from(asked)
        arrived(served, address, 303)
        served.cookies.clear()
        served.cookies.update(errand)
        assert "invalid_grant" in arrived(served, address, 401)

    def test_by_a_code_that_somebody_else_asked_for(self, served: TestClient, provider: Provider) -> None:
        """PKCE: a stolen code is worth nothing without what only the browser that asked knows."""
        stolen = parse_qs(urlsplit(back_from(to_provider(served))).query)["code"][0]
        state = parse_qs(urlsplit(to_provider(served)).query)["state"][0]
        assert "Code challenge failed" in arrived(served, f"/login/oidc/done?state={state}&code={stolen}", 401)

    @pytest.mark.parametrize(
        ("told", "word"),
        [
            ({"nonce": "of another sign-in"}, "nonce"),
            ({"iss": "https://evil.example"}, "iss"),
            ({"aud": ["somebody else"]}, "aud"),
            ({"exp": int(time.time()) - 3600, "iat": int(time.time()) - 7200}, "expired"),
            ({"sub": None}, "sub"),
        ],
    )
    def test_by_an_id_token_that_is_not_for_this_sign_in(
        self, served: TestClient, provider: Provider, told: dict[str, Any], word: str
    ) -> None:
        provider.told = told
        said = arrived(served, back_from(to_provider(served)), 401)
        assert "cannot be trusted" in said and word in said

    def test_by_an_id_token_that_somebody_else_signed(self, served: TestClient, provider: Provider) -> None:
        provider.signer = OTHER_KEY
        assert "bad_signature" in arrived(served, back_from(to_provider(served)), 401)

    def test_who_was_refused_by_the_provider(self, served: TestClient, provider: Provider) -> None:
        state = parse_qs(urlsplit(to_provider(served)).query)["state"][0]
        told = arrived(served, f"/login/oidc/done?state={state}&error=access_denied", 401)
        assert "the provider did not sign you in: access_denied" in told

    def test_while_the_provider_is_down(self, served: TestClient, change: Any, provider: Provider) -> None:
        other = Provider(f"{HOME}/login/oidc/done", KEY)
        change(issuer=other.url)
        address = back_from(to_provider(served))
        other.stop()
        for path in (address, "/login/oidc"):
            told = arrived(served, path, 503)
            assert "does not answer" in told and "hint: try again in a moment, or log in with a token" in told


def test_people_are_out_once_the_settings_name_no_provider(served: TestClient, app: FastAPI, provider: Provider, change: Any) -> None:
    arrived(served, back_from(to_provider(served)), 303)
    change()
    settings = app.state.service.settings.model_copy(update={"oidc": None})
    app.state.service = replace(app.state.service, settings=settings)
    assert served.get("/api/v1/me").status_code == 401


@pytest.mark.parametrize("path", ["https://evil.example", "//evil.example", "/\\evil.example", "/\n/evil.example"])
def test_a_sign_in_leads_nowhere_else(served: TestClient, provider: Provider, path: str) -> None:
    assert arrived(served, back_from(to_provider(served, path)), 303) == "/"


def test_a_token_is_a_way_in_as_before(served: TestClient, app: FastAPI) -> None:
    calls: Calls = called_as(app, served, "viewer")
    assert served.post("/login", data={"token": calls.token}).status_code == 303
    assert served.get("/api/v1/me").json()["name"] == "the viewer"


def test_without_a_provider_nothing_offers_one(tmp_path: Path) -> None:
    app = make_app(load_settings(None, {"home": str(tmp_path / "home")}), watching=False)
    with TestClient(app, base_url=HOME) as client:
        assert "Log in with" not in plain(client.get("/login").text)
        assert client.get("/login/oidc").status_code == client.get("/login/oidc/done").status_code == 404


@pytest.mark.parametrize(
    ("oidc", "chosen", "message"),
    [
        ({"issuer": "http://id.example.org"}, {}, "neither https nor on this machine"),
        ({"issuer": "id.example.org"}, {}, "neither https nor on this machine"),
        ({"client_secret": "a word"}, {}, "`oidc.client_secret`: value error, a secret stands elsewhere"),
        ({"scopes": ["profile"]}, {}, "`openid` is one of the scopes"),
        ({"roles": {"groups": {"data": "owner"}}}, {}, "`oidc.roles.groups.data`"),
        ({}, {"auth": "none"}, "`oidc` goes without `auth: none`"),
        ({}, {"host": "0.0.0.0", "tls_certificate": "a.pem", "tls_key": "b.pem"}, "`oidc` needs `public_url`"),
    ],
)
def test_settings_that_would_let_others_in_are_refused(oidc: dict[str, Any], chosen: dict[str, Any], message: str) -> None:
    said = {"issuer": "https://id.example.org", "client_id": "curate", "roles": {"groups": {"data": "viewer"}}} | oidc
    with pytest.raises(PipelineError) as raised:
        load_settings(None, {"oidc": said, **chosen})
    assert message in raised.value.message


def test_roles_come_from_claims() -> None:
    roles = {"realm_access.roles": {"data": "operator"}, "email": {"ana@example.org": "admin"}, "https://example.org/in": {"*": "viewer"}}
    said = {"issuer": "https://id.example.org", "client_id": "curate", "client_secret": "env:WORD", "roles": roles}
    oidc = Oidc.model_validate(said)
    assert oidc.role_of({}) is None
    assert oidc.role_of({"realm_access": {"roles": ["data", "other"]}}) == "operator"
    assert oidc.role_of({"realm_access": "data"}) is None
    assert oidc.role_of({"https://example.org/in": "yes"}) == "viewer"
    assert oidc.role_of({"email": "ana@example.org", "email_verified": True}) == "admin"
    assert oidc.role_of({"email": "ana@example.org"}) is None, "whoever can write an address into their profile is not that person"
    assert secret_variables(load_settings(None, {"oidc": oidc.model_dump()})) == ["WORD"]
