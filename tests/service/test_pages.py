"""The pages over HTTP: what they say of real runs, who may see and do what, and that hostile documents stay text."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from tests.service.calls import Calls
from tests.service.conftest import called_as, small_pipeline
from tests.service.pages import Browser, app_of_pages, data_of_pages, logged_in, looked_at, plain, served_pages  # noqa: F401 - fixtures

HOSTILE = "</pre></article><script>alert(1)</script><img src=//evil.example/x onerror=alert(2)>\u202egnp.exe\u2066 \x07 {{ 7*7 }}"


@pytest.fixture(scope="module")
def text(data: Path) -> str:
    return small_pipeline(data)


@pytest.fixture(scope="module")
def calls(app: FastAPI, served: TestClient) -> Calls:
    return called_as(app, served, "admin")


@pytest.fixture
def browser(app: FastAPI, served: TestClient) -> Browser:
    return logged_in(app, served, "admin")


def finished(calls: Calls, app: FastAPI, body: dict[str, Any]) -> str:
    run = calls.watched_to_end(app.state.service.watch, calls.post("/runs", body)["id"])
    assert run["status"] == "succeeded", run
    return str(run["id"])


@pytest.fixture(scope="module")
def run_id(calls: Calls, app: FastAPI, text: str) -> str:
    return finished(calls, app, {"text": text})


def test_a_run_shows_its_graph_funnel_pace_and_log(browser: Browser, run_id: str) -> None:
    html = browser.html(f"/runs/{run_id}")
    words = plain(html)
    assert "small kept 21 of 40 documents" in words
    assert "21 of 40 stayed" in html and html.count('class="graph"') == 2
    assert re.search(r"long ✓ done 40 19 21 [\d.]+ m?s [\d.]+ (MB|kB)/s [\d.]+ MB", words), words
    assert "40 in + 0 added = 21 out + 19 dropped + 0 merged + 0 errored ✓" in words
    assert "long done in" in words and "run done after" in words
    assert "✓ succeeded" in browser.words("/runs") and "21 of 40" in browser.words("/runs")


def test_a_run_that_waits_has_a_page(browser: Browser, calls: Calls, text: str) -> None:
    waiting = calls.post("/runs", {"text": text})["id"]
    words = browser.words(f"/runs/{waiting}")
    assert "small waits for its turn" in words and "It begins when the runs before it are done." in words
    assert browser.client.get(f"/runs/{waiting}/live").headers["X-Run-Ended"] == "no"
    browser.send(f"/runs/{waiting}/cancel", {})
    assert "small was cancelled" in browser.words(f"/runs/{waiting}")
    assert browser.client.get(f"/runs/{waiting}/live").headers["X-Run-Ended"] == "yes"


def test_drops_are_told_with_value_and_limit_and_lead_to_stories(browser: Browser, run_id: str) -> None:
    assert re.search(r"too_few_chars min_chars is 100 19 47.5%", browser.words(f"/runs/{run_id}/stages/long"))
    drops = browser.html(f"/runs/{run_id}/stages/long/drops?step=length&reason=too_few_chars")
    assert "7 length too_few_chars 35 min_chars is 100" in plain(drops)
    story = browser.words(f"/runs/{run_id}/documents?id=7")
    assert "It was dropped." in story and "by length : too_few_chars . Measured 35 ; min_chars is 100 ." in story
    assert "It is in the last dataset" in browser.words(f"/runs/{run_id}/documents?id=30")
    browser.html(f"/runs/{run_id}/documents?id=none", 404)


def test_documents_come_in_pages_and_are_searched(browser: Browser, calls: Calls, app: FastAPI, data: Path) -> None:
    rows = [{"id": f"d{i:03d}", "text": f"text {i} " + ("a Needle here " if i % 10 == 3 else "") + "x" * 50} for i in range(50)]
    (data / "many.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    pipeline = f"name: many\ninputs: {{ rows: {{ path: {data}/many.jsonl }} }}\nstages: {{ all: {{ from: rows, operators: [{{ use: normalize }}] }} }}\n"
    run = finished(calls, app, {"text": pipeline})
    address, seen = f"/runs/{run}/stages/all/documents", []
    while address:
        html = browser.html(address)
        seen += re.findall(r"<code><bdi>(d\d+)</bdi></code>", html)
        following = re.search(r'rel="next" href="([^"]+)"', html)
        address = following[1] if following else ""
    assert seen == [row["id"] for row in rows]
    found = browser.html(f"/runs/{run}/stages/all/documents?q=nEEdle")
    assert re.findall(r"<code><bdi>(d\d+)</bdi></code>", found) == ["d003", "d013", "d023", "d033", "d043"]
    assert "<mark>Needle</mark>" in found


def test_hostile_documents_stay_text(browser: Browser, calls: Calls, app: FastAPI, data: Path) -> None:
    rows = [{"id": f"<b>{HOSTILE}", "text": f"{HOSTILE}\n{'€' * 3_400_000}", "title": HOSTILE}, {"id": "short", "text": HOSTILE[:30]}]
    (data / "bad.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    pipeline = (
        f"name: bad\ninputs: {{ rows: {{ path: {data}/bad.jsonl }} }}\n"
        "stages: { all: { from: rows, operators: [{ use: length, params: { min_chars: 100 } }] } }\n"
    )
    run = finished(calls, app, {"text": pipeline})
    story = f"/runs/{run}/documents?id={quote(str(rows[0]['id']))}"
    places = [
        f"/runs/{run}",
        f"/runs/{run}/stages/all",
        f"/runs/{run}/stages/all/documents",
        f"/runs/{run}/stages/all/documents?q=alert",
        story,
    ]
    for place in [*places, f"/runs/{run}/stages/all/drops"]:
        html = browser.html(place)
        assert "<script>alert" not in html and "<img" not in html and not re.search("[\u202e\u2066\x07]", html), place
        assert len(html) < 300_000, place
    html = browser.html(story)
    assert '<b class="control" title="right-to-left override">U+202E</b>gnp.exe' in html and "{{ 7*7 }}" in html
    assert "characters more in this line" in html and "of which the first 50,000 characters are shown" in plain(html)


def test_nothing_is_loaded_from_elsewhere_and_nothing_inline_runs(browser: Browser, run_id: str) -> None:
    for place in (
        "/runs",
        f"/runs/{run_id}",
        f"/runs/{run_id}/stages/long",
        "/pipelines/small",
        "/tokens",
        "/proofs",
        "/new",
        "/schedules",
        "/new/schedule",
    ):
        answer = browser.client.get(place)
        policy = answer.headers["Content-Security-Policy"]
        assert "default-src 'none'; script-src 'self'; style-src 'self';" in policy and "unsafe" not in policy
        assert not re.search(
            r"\son\w+=|\sstyle=|<style|<script(?! type=\"module\" src=\"/static/)|(src|href)=\"(https?:)?//", answer.text
        ), place
        for asset in re.findall(r'(?:src|href)="(/static/[^"]+)"', answer.text):
            assert browser.client.get(asset).status_code == 200


def test_two_runs_side_by_side(browser: Browser, calls: Calls, app: FastAPI, run_id: str) -> None:
    other = finished(calls, app, {"pipeline": "small", "sets": ["long.length.min_chars=150"]})
    words = browser.words(f"/compare?a={run_id}&b={other}")
    assert "long 40 40 21 11 −10" in words
    assert "length: too_few_chars 19 29 +10" in words
    assert "removed: min_chars: 100" in words and "added: min_chars: 150" in words
    assert "not two" in browser.words(f"/compare?run={run_id}", 422)


def test_stages_are_made_anew_from_one_on(browser: Browser, calls: Calls, app: FastAPI, data: Path) -> None:
    pipeline = (
        f"name: steps\ninputs: {{ rows: {{ path: {data}/in.jsonl }} }}\nstages:\n"
        "  first: { from: rows, operators: [{ use: normalize }] }\n"
        "  second: { from: first, operators: [{ use: length, params: { min_chars: 100 } }] }\n"
        "  third: { from: second, operators: [{ use: normalize }] }\n"
    )
    run = finished(calls, app, {"text": pipeline})
    new = browser.send(f"/runs/{run}/again", {"stage": "second"}).headers["location"].rpartition("/")[2]
    calls.watched_to_end(app.state.service.watch, new)
    stages = {stage["name"]: stage["status"] for stage in calls.get(f"/runs/{new}/report")["stages"]}
    assert stages == {"first": "reused", "second": "done", "third": "done"}
    assert "no stage `forth`" in plain(browser.send(f"/runs/{run}/again", {"stage": "forth"}, 422).text)


def test_a_stage_whose_shards_others_took_over_is_not_removed(browser: Browser, calls: Calls, app: FastAPI, data: Path) -> None:
    (data / "in").mkdir()
    (data / "in" / "a.jsonl").write_text('{"id": "a", "text": "one"}\n')
    pipeline = f"name: grow\nshard_bytes: 1B\ninputs: {{ rows: {{ path: '{data}/in/*.jsonl' }} }}\nstages: {{ all: {{ from: rows, operators: [{{ use: normalize }}] }} }}\n"
    first = finished(calls, app, {"text": pipeline})
    (data / "in" / "b.jsonl").write_text('{"id": "b", "text": "two"}\n')
    finished(calls, app, {"text": pipeline})
    assert "takes shards over from what would be removed" in plain(browser.send(f"/runs/{first}/again", {"stage": "all"}, 422).text)
    assert "It is in the last dataset" in browser.words(f"/runs/{first}/documents?id=a")


def test_a_wrong_pipeline_comes_back_with_its_mistakes_in_place(browser: Browser, data: Path) -> None:
    text = small_pipeline(data, "wrong")
    wrong = text.replace("min_chars", "min_char").replace("use: length", "use: lenght")
    html = browser.send("/pipelines", {"text": wrong.replace("\n", "\r\n"), "folder": ""}, 422).text
    line = next(number for number, each in enumerate(wrong.splitlines(), 1) if "lenght" in each)
    assert f'<span class="wrong">{line}</span>' in html
    assert f"line {line} unknown operator `lenght`" in plain(html) and "did you mean `length`?" in plain(html)
    assert "lenght" in html.partition("<textarea")[2].partition("</textarea>")[0]
    assert (
        browser.send("/pipelines", {"text": text.replace("\n", "\r\n"), "folder": ""})
        .headers["location"]
        .startswith("/pipelines/wrong?version=1")
    )
    assert "\r" not in browser.html("/pipelines/wrong")


def test_versions_and_what_changed_between_them(browser: Browser, data: Path) -> None:
    text = small_pipeline(data, "versions")
    browser.send("/pipelines", {"text": text})
    browser.send("/pipelines", {"text": text.replace("100", "150")})
    assert "Version 2, kept" in browser.words("/pipelines/versions")
    assert "Version 1 of 2, kept" in browser.words("/pipelines/versions?version=1")
    words = browser.words("/pipelines/versions/difference?older=1&newer=2")
    assert "removed: params: { min_chars: 100 }" in words and "added: params: { min_chars: 150 }" in words
    started = browser.send("/pipelines/versions/run", {"version": 1, "sets": "long.length.min_chars=120\n", "limit": "5"})
    assert "long.length.min_chars=120" in browser.words(started.headers["location"])
    assert "not a number of documents" in plain(browser.send("/pipelines/versions/run", {"version": 1, "limit": "many"}, 422).text)


def test_who_is_not_logged_in_is_led_to_the_login_and_back(served: TestClient, app: FastAPI) -> None:
    served.cookies.clear()
    answer = served.get("/runs?status=failed", follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (303, "/login?next=%2Fruns%3Fstatus%3Dfailed")
    assert 'value="/runs?status=failed"' in served.get(answer.headers["location"]).text
    assert 'value="/"' in served.get("/login?next=https://evil.example").text
    wrong = served.post("/login", data={"token": "curate_wrong", "next": "/"})
    assert wrong.status_code == 401 and "the token is not known" in plain(wrong.text)
    browser = logged_in(app, served, "viewer")
    browser.send("/logout", {})
    assert served.get("/runs", follow_redirects=False).status_code == 303


def test_viewers_see_no_buttons_and_can_press_none(app: FastAPI, served: TestClient, run_id: str) -> None:
    viewer = logged_in(app, served, "viewer")
    for place in (f"/runs/{run_id}", "/pipelines/small", "/pipelines"):
        assert not re.search(r'<form method="post" action="(?!/logout|/pipelines")', viewer.html(place)), place
    assert "readonly" in viewer.html("/pipelines/small") and "<button>Save" not in viewer.html("/pipelines/small")
    for place in (f"/runs/{run_id}/cancel", f"/runs/{run_id}/again", "/pipelines/small/run"):
        assert "this needs the role `operator`" in plain(viewer.send(place, {"version": 1}, 403).text)
    viewer.html("/tokens", 403)
    assert "Tokens" not in viewer.words("/runs")


@pytest.mark.parametrize("path", ["/runs/{}/cancel", "/runs/{}/again", "/pipelines", "/pipelines/small/run", "/tokens", "/logout"])
def test_no_form_is_taken_without_the_word_of_its_page(browser: Browser, run_id: str, path: str) -> None:
    form = {"text": "name: x", "version": "1", "name": "x", "role": "admin"}
    for word in ({}, {"csrf": "guessed"}):
        answer = browser.client.post(path.format(run_id), data=form | word, follow_redirects=False)
        assert answer.status_code == 403 and "does not come from a page of this service" in plain(answer.text)


def test_admins_give_out_tokens_and_take_them_back(app: FastAPI, served: TestClient, browser: Browser) -> None:
    made = browser.send("/tokens", {"name": "nightly", "role": "operator", "days": "30"}, 201).text
    found = re.search(r"<code>(curate_[\w-]+)</code>", made)
    assert found is not None and found[1] not in browser.html("/tokens")
    given = Calls(TestClient(app, base_url="http://127.0.0.1:8300"), found[1])
    assert given.get("/me") == {"name": "nightly", "role": "operator"}
    number = re.search(r'action="(/tokens/\d+/revoke)">[^\n]*token of nightly', browser.html("/tokens"))
    assert number is not None
    browser.send(number[1], {})
    given.get("/me", 401)
    assert "token.revoke" in browser.words("/tokens")
    assert "not a number of days" in plain(browser.send("/tokens", {"name": "x", "role": "viewer", "days": "-1"}, 422).text)
