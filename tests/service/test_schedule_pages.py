"""The pages of schedules over HTTP: what they say, the form and its mistakes in place, buttons, roles, and hostile names and reasons."""

from __future__ import annotations

import re
from html import unescape
from pathlib import Path

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from curate.service.auth import ANYBODY
from tests.service.calls import Calls
from tests.service.clocks import Hands
from tests.service.conftest import called_as, small_pipeline
from tests.service.pages import Browser, app_of_pages, data_of_pages, logged_in, looked_at, plain, served_pages  # noqa: F401 - fixtures

HOSTILE = "<script>alert(1)</script><img src=//evil.example/x>\u202egnp.exe {{ 7*7 }}"
CRON = {"pipeline": "small", "kind": "cron", "expression": "30 2 * * *", "zone": "Europe/Berlin"}


@pytest.fixture(scope="module")
def calls(app: FastAPI, served: TestClient, data: Path) -> Calls:
    """Calls by an admin, in a service that keeps two pipelines."""
    made = called_as(app, served, "admin")
    for name in ("small", "other"):
        made.post("/pipelines", {"text": small_pipeline(data, name)})
    return made


@pytest.fixture
def browser(app: FastAPI, served: TestClient, calls: Calls) -> Browser:
    return logged_in(app, served, "operator")


def field(html: str, name: str) -> str:
    """Return the tag of a field with what is wrong with it."""
    found = re.search(rf'<(?:input|select|textarea) id="{name}".*?</div>', html, re.DOTALL)
    assert found is not None, html
    return unescape(found[0])


def test_a_schedule_is_added_by_the_form_and_told_in_words(browser: Browser) -> None:
    assert 'value="small" selected' in browser.html("/new/schedule?pipeline=small")
    policies = {"overlap": "queue", "grace_s": "5m", "retries": "2", "deadline_s": "6h", "pause_after": "3"}
    made = browser.send("/schedules", CRON | policies | {"name": "nightly", "sets": "long.length.min_chars=5\r\n", "workers": "1"})
    assert made.headers["location"] == "/schedules/nightly"
    words = browser.words("/schedules/nightly")
    assert "Runs small every day at 02:30, Europe/Berlin" in words and "Cron expression 30 2 * * *" in words
    assert "Ticks that nobody saw within 5 min 00 s make one run together." in words
    assert "A run must be done within 6 h 00 min, further attempts included." in words
    assert "Set long.length.min_chars=5" in words and "It was not due yet." in words
    assert len(re.findall(r"\w{3} \d+ \w{3} \d{4}, 02:30 \w{3} \d+ \w{3} \d{4}, 0[01]:30", words)) == 6, "the next times, there and in UTC"
    assert re.search(
        r"nightly small every day at 02:30, Europe/Berlin \w{3} \d+ \w{3} \d{4}, 02:30 Europe/Berlin in .* never",
        browser.words("/schedules"),
    )
    assert "nightly" in browser.words("/schedules?pipeline=small") and "No schedule runs other." in browser.words(
        "/schedules?pipeline=other"
    )


@pytest.mark.parametrize(
    ("name", "trigger", "told"),
    [
        ("once", {"kind": "at", "at": "2126-12-01T02:30", "at_zone": "Europe/Berlin"}, "once, Sun 1 Dec 2126, 01:30 UTC"),
        ("files", {"kind": "files", "input": "rows", "every_s": "5m"}, "when rows has new files, looked at every 5 min 00 s"),
        ("after", {"kind": "finished", "after": "other"}, "when other has succeeded"),
        ("odd", {"kind": "cron", "expression": "7 3 1,2 2 *"}, "at the times of 7 3 1,2 2 * , UTC"),
    ],
)
def test_the_form_is_filled_with_what_a_schedule_says(
    browser: Browser, calls: Calls, name: str, trigger: dict[str, str], told: str
) -> None:
    browser.send("/schedules", trigger | {"name": name, "pipeline": "small", "jitter_s": "90s"})
    assert f"Runs small {told}" in browser.words(f"/schedules/{name}")
    said = calls.get(f"/schedules/{name}")
    form = browser.html(f"/schedules/{name}/change")
    filled = {
        found[1]: unescape(found[2]) for found in re.finditer(r'<input [^>]*name="(\w+)" value="([^"]*)"', form) if found[1] != "kind"
    }
    chosen = re.findall(r'<select id="(\w+)".*?<option value="([^"]*)" selected', form, re.DOTALL)
    assert f'value="{trigger["kind"]}" checked' in form and filled["jitter_s"] == "90s"
    browser.send("/schedules", filled | dict(chosen) | {"kind": trigger["kind"], "pause_after": "4"})
    changed = calls.get(f"/schedules/{name}")
    assert changed["policies"] == said["policies"] | {"pause_after": 4}
    assert f"Runs small {told}" in browser.words(f"/schedules/{name}")


@pytest.mark.parametrize(
    ("typed", "name", "message"),
    [
        ({"name": HOSTILE}, "name", "not a name for a schedule"),
        ({"name": ""}, "name", "this is needed"),
        ({"pipeline": ""}, "pipeline", "this is needed"),
        ({"expression": "30 2 * *"}, "expression", "not a cron expression: '30 2 * *' has 4 fields hint: five fields"),
        ({"zone": "Europe/Berlinn"}, "zone", "no time zone 'Europe/Berlinn' hint: did you mean `Europe/Berlin`?"),
        ({"kind": "at", "at": "tomorrow"}, "at", "not a time: 'tomorrow'"),
        ({"kind": "at", "at": "2126-12-01T02:30", "at_zone": "Mars"}, "at_zone", "no time zone 'Mars'"),
        ({"kind": "at", "at": "2037-03-29T02:30", "at_zone": "Europe/Berlin"}, "at", "the clocks of Europe/Berlin skip 2037-03-29T02:30"),
        ({"kind": "files", "input": ""}, "input", "this is needed"),
        ({"kind": "files", "input": "rows", "every_s": "0s"}, "every_s", "input should be greater than or equal to 1"),
        ({"kind": "finished"}, "after", "this is needed"),
        ({"grace_s": "soon"}, "grace_s", "not a span of time: 'soon' hint: such as 90s, 5m, 6h or 2d"),
        ({"retries": "101"}, "retries", "input should be less than or equal to 100"),
        ({"workers": "many"}, "workers", "input should be a valid integer"),
    ],
)
def test_a_mistake_stands_beside_its_field_and_what_was_typed_is_kept(
    browser: Browser, typed: dict[str, str], name: str, message: str
) -> None:
    html = browser.send("/schedules", CRON | {"name": "wrong", "sets": "a.b.c=1"} | typed, 422).text
    wrong = field(html, name)
    assert 'aria-invalid="true"' in wrong and message in plain(wrong), plain(html)
    assert html.count('aria-invalid="true"') == 1 and "<script>alert" not in html
    for key, value in typed.items():
        assert key == "kind" or f'value="{value}"' in field(html, key)
    assert "a.b.c=1" in field(html, "sets")
    browser.html("/schedules/wrong", 404)


def test_every_mistake_is_told_at_once(browser: Browser) -> None:
    typed = {"name": "two words", "pipeline": "", "expression": "60 * * * *", "zone": "Mars", "jitter_s": "soon", "workers": "0"}
    html = browser.send("/schedules", {"kind": "cron"} | typed, 422).text
    assert all('aria-invalid="true"' in field(html, name) for name in typed) and html.count("<details open>") == 2


def test_what_the_checker_says_of_the_whole_stands_above_it(browser: Browser) -> None:
    wrong = CRON | {"name": "wrong", "sets": "long.length.min_char=5"}
    assert "did you mean `min_chars`?" in plain(browser.send("/schedules", wrong, 422).text)
    html = browser.send("/schedules", CRON | {"name": "wrong", "kind": "files", "input": "row"}, 422).text
    assert "pipeline `small` has no input `row`" in plain(html) and 'value="row"' in field(html, "input")
    browser.send("/schedules", CRON | {"name": "taken"})
    again = browser.send("/schedules", CRON | {"name": "taken"}, 422).text
    assert "there is a schedule `taken` already" in plain(field(again, "name"))


def test_buttons_pause_resume_run_and_remove(app: FastAPI, served: TestClient, browser: Browser, calls: Calls) -> None:
    browser.send("/schedules", CRON | {"name": "pressed"})
    page = "/schedules/pressed"
    browser.send(f"{page}/pause", {"reason": f" {HOSTILE} "})
    assert calls.get(page)["paused"] == HOSTILE
    for place in (page, "/schedules"):
        html = browser.html(place)
        assert "<script>alert" not in html and "<img" not in html and "\u202e" not in html and "{{ 7*7 }}" in html
    assert "Paused: <script>alert(1)</script>" in browser.words(page) and "‖ paused" in browser.words("/schedules")
    browser.send(f"{page}/resume", {})
    browser.send(f"{page}/pause", {"reason": ""})
    assert calls.get(page)["paused"] == "by the operator"
    browser.send(f"{page}/pause", {"reason": "x" * 501}, 422)
    browser.send(f"{page}/resume", {})
    assert "Paused" not in browser.words(page)
    browser.send(f"{page}/run", {})
    run = calls.get(page)["last"]["run_id"]
    assert "refresh.js" in browser.html(page) and "refresh.js" in browser.html("/schedules")
    assert f'<a href="/runs/{run}">{run}</a>' in browser.html(page) and "asked for by the operator" in browser.words(page)
    assert f'<a href="{page}">schedule pressed</a>' in browser.html(f"/runs/{run}")
    assert f"has a run that goes on: {run}" in plain(browser.send(f"{page}/run", {}, 409).text)
    browser.send(f"/runs/{run}/cancel", {})
    assert browser.send(f"{page}/remove", {}).headers["location"] == "/schedules"
    browser.html(page, 404)
    assert "pressed" not in browser.words("/schedules")
    trail = logged_in(app, served, "admin").html("/tokens")
    assert "reason &lt;script&gt;" in trail and "\u202e" not in trail


def test_the_history_comes_in_pages_and_hostile_files_stay_text(browser: Browser, app: FastAPI, calls: Calls, data: Path) -> None:
    (data / "many").mkdir()
    for number in range(25):
        (data / "many" / f"{number} <img src=x onerror=alert(1)>\u202e.jsonl").write_text('{"id": "a", "text": "word"}\n')
    calls.post("/pipelines", {"text": small_pipeline(data, "many").replace("in.jsonl", "many/*.jsonl")})
    hands = Hands(app.state.service, "2026-12-01T12:00")
    hands.add("* * * * *", name="often", pipeline="many", misfire="all", overlap="queue")
    hands.move("2h")
    address, due = "/schedules/often", []
    while address:
        html = browser.html(address)
        due += re.findall(r'<th scope="row"><span title="[^"]*">([^<]*)</span>', html)
        following = re.search(r'rel="next" href="([^"]+)"', html)
        address = unescape(following[1]) if following else ""
    assert due == [
        f"Tue 1 Dec 2026, {hour}:{minute:02d}"
        for hour in (14, 13, 12)
        for minute in reversed(range(60))
        if (12, 0) < (hour, minute) <= (14, 0)
    ]
    hands.desk.pause("often", "enough", ANYBODY)
    hands.end("failed")
    hands.desk.run("often", ANYBODY)
    html = browser.html("/schedules/often")
    assert "and 5 more 25 25" in plain(html)
    assert "<img" not in html and "\u202e" not in html and "&lt;img src=x" in html


def test_viewers_see_no_buttons_and_can_press_none(app: FastAPI, served: TestClient, browser: Browser, calls: Calls) -> None:
    browser.send("/schedules", CRON | {"name": "seen"})
    viewer = logged_in(app, served, "viewer")
    for place in ("/schedules", "/schedules/seen", "/schedules/seen/export?as=cron"):
        html = viewer.html(place)
        assert not re.search(r'<form method="post" action="(?!/logout")', html) and "/new/schedule" not in html and "/change" not in html, (
            place
        )
    for place in ("/schedules", *(f"/schedules/seen/{what}" for what in ("pause", "resume", "run", "remove"))):
        assert "this needs the role `operator`" in plain(viewer.send(place, CRON | {"name": "seen"}, 403).text)
    for place in ("/new/schedule", "/schedules/seen/change"):
        viewer.html(place, 403)
    assert calls.get("/schedules/seen")["paused"] is None


@pytest.mark.parametrize("path", ["/schedules", *(f"/schedules/any/{what}" for what in ("pause", "resume", "run", "remove"))])
def test_no_form_is_taken_without_the_word_of_its_page(browser: Browser, path: str) -> None:
    for word in ({}, {"csrf": "guessed"}):
        answer = browser.client.post(path, data=CRON | {"name": "forged"} | word, follow_redirects=False)
        assert answer.status_code == 403 and "does not come from a page of this service" in plain(answer.text)


def test_a_schedule_is_shown_as_files_to_copy(browser: Browser) -> None:
    browser.send("/schedules", CRON | {"name": "copied", "overlap": "cancel_older"})
    words = browser.words("/schedules/copied/export?as=cron&pipeline_file=/srv/small.yaml")
    assert (
        "copied.crontab" in words
        and "CRON_TZ=Europe/Berlin 30 2 * * * /etc/curate/copied.sh" in words
        and "curate run /srv/small.yaml" in words
    )
    assert "cron cannot do all that the schedule says. Not carried over: overlap `cancel_older`" in words
    assert "OnCalendar=*-*-* 02:30:00 Europe/Berlin" in browser.words("/schedules/copied/export")
    browser.send("/schedules", {"name": "looks", "pipeline": "small", "kind": "files", "input": "rows"})
    assert "cannot be exported as cron" in browser.words("/schedules/looks/export?as=cron", 422)
    browser.html("/schedules/copied/export?as=fcron", 422)
