"""The demo, and the pages in a real browser: runs watched, documents explained, pipelines edited, schedules paused, accessibility."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from curate.recipes import recipe
from tests.service.chromium import CHROMIUM, FAULTS, FLAGS, axe_script, looking, reason_to_skip
from tests.service.servers import Demo

pytestmark = pytest.mark.service
COPIES = 16
HOSTILE = "</pre><script>alert(1)</script><img src=https://evil.example/x onerror=alert(2)>\u202egnp.exe {{ 7*7 }}"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    why = reason_to_skip()
    if why is not None:
        pytest.skip(why)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=str(CHROMIUM), args=FLAGS)
        yield started
        started.close()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    started = Demo(tmp_path_factory.mktemp("demo"))
    yield started
    assert started.stop() == 0, started.log


@pytest.fixture(scope="module")
def pipelines(server: Demo) -> Path:
    """Where the paths of pipelines start, with a hostile input, and enough to do that it can be watched on a fast machine."""
    folder = server.folder / "pipelines"
    (folder / "copies").mkdir()  # a run tells of itself every five seconds
    for archive in sorted((folder / "sample").glob("*.warc.gz")):
        for copy in range(COPIES):
            (folder / "copies" / f"copy{copy}{archive.name}").symlink_to(archive)
    rows = [{"id": f"bad {HOSTILE}", "text": f"{HOSTILE}\n{'x' * 10_000_000}"}, {"id": "short", "text": "short"}]
    (folder / "bad.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


@pytest.fixture(scope="module")
def text(pipelines: Path) -> str:
    return recipe("quickstart")


def named(text: str, name: str) -> str:
    """Return the quickstart under another name, which publishes to a folder of its own."""
    return text.replace("name: quickstart", f"name: {name}").replace("corpora/quickstart", f"corpora/{name}")


@pytest.fixture(scope="module")
def run_id(server: Demo) -> str:
    """The demo's run of the quickstart, once it is over."""
    *_, first = server.client.runs(pipeline="quickstart")
    assert server.client.wait(first.id).status == "succeeded", server.log
    return first.id


def finished(server: Demo, text: str) -> str:
    run = server.client.submit(text)
    for _ in server.client.events(run.id):
        pass
    assert server.client.run(run.id).status == "succeeded"
    return str(run.id)


def test_the_demo_has_run_the_quickstart_and_will_every_night(server: Demo, run_id: str) -> None:
    [nightly] = server.client.schedules.listed()
    assert (nightly["name"], nightly["pipeline"], nightly["paused"]) == ("nightly", "quickstart", None) and nightly["next_due"]
    assert server.client.report(run_id)["outputs"][0]["rows"] == 147
    assert (server.folder / "corpora" / "quickstart").is_dir()


def test_a_run_is_submitted_watched_to_its_end_and_its_drops_explained(browser: Any, server: Demo, text: str) -> None:
    with looking(browser, server) as page:
        page.goto("/new")
        page.get_by_label("The pipeline, as YAML").fill(named(text, "watched").replace("sample/{site}", "copies/{site}"))
        page.get_by_role("button", name="Save").click()
        page.get_by_text("Version 1 is kept.").wait_for()
        page.get_by_label("Set", exact=True).fill("clean.length.min_chars=210")
        page.get_by_role("button", name="Run version 1").click()
        page.wait_for_url("**/runs/*")
        page.evaluate("document.body.dataset.sameDocument = 'yes'")
        page.get_by_text("is running").wait_for(timeout=60_000)
        page.locator("table.stages [data-state=running]").first.wait_for()
        assert page.evaluate("document.body.dataset.sameDocument") == "yes", "the page follows without being loaded again"
        page.get_by_role("heading", name=re.compile(rf"watched kept [\d,]+ of {300 * COPIES:,} documents")).wait_for(timeout=120_000)
        assert page.locator("svg.graph:visible a.node.done").count() == 4
        page.locator("table.stages").get_by_role("link", name="clean").click()
        page.get_by_role("link", name="too_few_chars").click()
        page.get_by_text("min_chars is 210").first.wait_for()
        page.locator("table.ledger tbody th a").first.click()
        page.get_by_text("It was dropped.").wait_for()
        assert re.search(r"by length: too_few_chars\. Measured \d+; min_chars is 210\.", page.locator("ol.story").inner_text())
        assert page.get_by_text("As text left it").is_visible()


def test_a_run_is_cancelled_while_it_goes_on(browser: Any, server: Demo, text: str) -> None:
    with looking(browser, server) as page:
        run = server.client.submit(named(text, "halted").replace("300kB", "299kB"))  # other shards: nothing is there yet
        page.goto(f"/runs/{run.id}")
        page.get_by_role("button", name="Cancel the run").click()
        page.get_by_role("heading", name=re.compile("halted was (cancelled|interrupted)")).wait_for(timeout=60_000)
        page.get_by_role("link", name="Runs", exact=True).first.click()
        assert "‖ cancelled" in page.get_by_role("row", name=re.compile(run.id)).inner_text()


def test_a_mistake_shows_beside_its_line_while_it_is_typed_and_words_are_offered(browser: Any, server: Demo, text: str) -> None:
    with looking(browser, server) as page:
        page.goto("/new")
        field = page.get_by_label("The pipeline, as YAML")
        field.fill(named(text, "edited").replace("min_chars", "min_char"))
        line = next(number for number, each in enumerate(text.splitlines(), 1) if "min_chars" in each)
        page.locator(".editor .wrong", has_text=str(line)).wait_for()
        assert "did you mean `min_chars`?" in page.locator("ul.mistakes").inner_text()
        page.get_by_role("button", name="Save").click()
        page.locator("ul.mistakes").wait_for()
        assert page.locator(".editor .wrong").inner_text() == str(line) and "min_char:" in field.input_value()
        field.fill("name: edited\nstages:\n  a:\n    from: x\n    operators:\n      - use: gopher_")
        field.press("End")
        page.keyboard.press("Control+Space")
        page.get_by_role("listbox").wait_for()
        assert page.get_by_role("option").first.inner_text().startswith("gopher_quality")
        page.keyboard.press("ArrowDown")
        page.keyboard.press("Enter")
        assert field.input_value().endswith("- use: gopher_repetition")
        page.keyboard.press("Enter")
        page.keyboard.type("par")
        page.keyboard.press("Tab")
        page.keyboard.type("{ max_top")
        page.get_by_role("option", name=re.compile("max_top_2_gram_ratio")).wait_for()
        page.keyboard.press("Escape")
        assert page.get_by_role("listbox").count() == 0


def test_versions_side_by_side(browser: Any, server: Demo, run_id: str, text: str) -> None:
    with looking(browser, server) as page:
        page.goto("/pipelines/quickstart")
        field = page.get_by_label("The pipeline, as YAML")
        field.fill(text.replace("min_chars: 200", "min_chars: 300"))
        page.get_by_role("button", name="Save").click()
        page.get_by_text("Version 2 is kept.").wait_for()
        page.get_by_role("button", name="Show what changed").click()
        assert "min_chars: 200" in page.locator(".difference .gone").inner_text()
        assert "min_chars: 300" in page.locator(".difference .new").inner_text()


def test_everything_needed_works_without_scripts(browser: Any, server: Demo, run_id: str, text: str) -> None:
    with looking(browser, server, scripts=False) as page:
        page.goto("/new")
        page.get_by_label("The pipeline, as YAML").fill(text.replace("use: normalize", "use: normalise"))
        page.get_by_role("button", name="Save").click()
        assert "did you mean `normalize`?" in page.locator("ul.mistakes").inner_text()
        page.goto("/runs")
        for box in page.get_by_role("checkbox").all()[:2]:
            box.check()
        page.get_by_role("button", name="Compare two").click()
        page.get_by_role("heading", name=re.compile("^Two runs")).wait_for()
        page.goto(f"/runs/{run_id}")
        page.get_by_label("Explain a document").fill("crawl/handbook_fr-FR.warc.gz:31955")
        page.get_by_role("button", name="Explain").click()
        page.get_by_role("link", name="crawl/handbook_en-US.warc.gz:29240").first.wait_for()


def test_a_hostile_document_runs_nothing_and_loads_nothing(browser: Any, server: Demo, pipelines: Path) -> None:
    drops = "operators: [{ use: length, params: { min_chars: 100 } }]"
    run = finished(
        server, f"name: bad\ninputs: {{ rows: {{ path: {pipelines}/bad.jsonl }} }}\nstages: {{ all: {{ from: rows, {drops} }} }}\n"
    )
    with looking(browser, server) as page:  # which fails on any dialog, script error or request to elsewhere
        for place in (
            "",
            "/stages/all",
            "/stages/all/documents",
            "/stages/all/documents?q=alert",
            f"/documents?id={quote('bad ' + HOSTILE)}",
        ):
            page.goto(f"/runs/{run}{place}")
        assert page.locator("pre.text b.control").first.inner_text() == "U+202E"
        assert "<script>alert(1)</script>" in page.locator("pre.text").inner_text()
        assert page.evaluate("document.scripts.length + document.images.length") == 0


@pytest.mark.parametrize("scripts", [True, False])
def test_a_schedule_is_added_paused_and_resumed(browser: Any, server: Demo, run_id: str, scripts: bool) -> None:
    name = f"weekly-{scripts}"
    with looking(browser, server, scripts=scripts) as page:
        page.goto("/pipelines/quickstart")
        page.get_by_role("link", name="Schedule it").click()
        page.get_by_label("Name").fill(name)
        assert not page.get_by_label("Look every").is_visible(), "of what starts it, one is shown"
        page.get_by_label("Cron expression").fill("30 25 * * *")
        page.get_by_role("button", name="Add it").click()
        assert "not a cron expression" in page.locator("#wrong-expression").inner_text()
        assert page.get_by_label("Name").input_value() == name
        page.get_by_label("Cron expression").fill("30 2 * * *")
        page.get_by_text("Policies: what becomes").click()
        page.get_by_label("A tick while the last run goes on").select_option("waits for its end")
        page.get_by_role("button", name="Add it").click()
        page.get_by_text("every day at 02:30, UTC").wait_for()
        page.get_by_text("waits for its end").wait_for()
        page.get_by_label("Why").fill("the store moves")
        page.get_by_role("button", name="Pause").click()
        assert "the store moves" in page.get_by_role("status").inner_text()
        page.get_by_role("link", name="Schedules", exact=True).first.click()
        assert "‖ paused" in page.get_by_role("row", name=name).inner_text()
        page.get_by_role("link", name=name).click()
        page.get_by_role("button", name="Resume").click()
        page.get_by_role("heading", name="The next times").wait_for()
        assert not page.get_by_role("button", name=f"Remove {name}").is_visible(), "who removes is asked first"
        page.get_by_text("Remove it").click()
        page.get_by_role("button", name=f"Remove {name}").click()
        page.wait_for_url("**/schedules")
        assert page.get_by_role("link", name=name).count() == 0


@pytest.fixture(scope="module")
def schedules(server: Demo, run_id: str) -> None:
    """Two schedules: the demo's, which has run, and one that is paused."""
    cron = {"kind": "cron", "expression": "0 4 * * SUN", "zone": "America/New_York"}
    server.client.schedules.add({"name": "resting", "pipeline": "quickstart", "trigger": cron})
    server.client.schedules.pause("resting", "a reason that is long enough to fill several lines of a phone " * 3)
    server.client.wait(str(server.client.schedules.run("nightly")["run_id"]))


def places(run_id: str) -> dict[str, str]:
    run = f"/runs/{run_id}"
    story = f"{run}/documents?id=crawl/handbook_fr-FR.warc.gz:31955"
    found = {
        "runs": "/runs",
        "run": run,
        "stage": f"{run}/stages/clean",
        "marks": f"{run}/stages/dedup",
        "compare": f"/compare?a={run_id}&b={run_id}",
    }
    found |= {"documents": f"{run}/stages/clean/documents?q=python", "drops": f"{run}/stages/clean/drops", "story": story}
    found |= {
        "pipelines": "/pipelines",
        "pipeline": "/pipelines/quickstart",
        "new": "/new",
        "proofs": "/proofs",
        "tokens": "/tokens",
        "api": "/api/v1/docs",
    }
    found |= {
        "schedules": "/schedules",
        "schedule": "/schedules/nightly",
        "paused": "/schedules/resting",
        "form": "/schedules/nightly/change",
    }
    return found | {"export": "/schedules/nightly/export", "missing": "/runs/none"}


@pytest.fixture(scope="module")
def axe(tmp_path_factory: pytest.TempPathFactory) -> str:
    script = axe_script(tmp_path_factory.mktemp("npm"))
    if script is None:
        pytest.skip("npm is missing or could not fetch axe-core")
    return script


@pytest.mark.parametrize(("width", "scheme"), [(1100, "light"), (1100, "dark"), (390, "light")])
def test_no_page_has_a_serious_fault_of_accessibility_or_runs_over(
    browser: Any, server: Demo, run_id: str, schedules: None, axe: str, width: int, scheme: str
) -> None:
    faults: list[str] = []
    with looking(browser, server, width, scheme) as page:
        for name, place in places(run_id).items():
            page.goto(place)
            page.evaluate("document.querySelectorAll('details').forEach((part) => (part.open = true))")
            page.evaluate(axe)
            faults += [f"{name}: {fault}" for fault in page.evaluate(FAULTS)]
            over = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
            faults += [f"{name}: {over} pixels too wide"] if over > 0 else []
    assert not faults, "\n".join(faults)


def test_the_keyboard_reaches_the_content_first_and_every_stage(browser: Any, server: Demo, run_id: str) -> None:
    with looking(browser, server) as page:
        page.goto(f"/runs/{run_id}")
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.textContent") == "To the content"
        page.keyboard.press("Enter")
        reached = []
        for _ in range(12):
            page.keyboard.press("Tab")
            reached.append(page.evaluate("document.activeElement.getAttribute('href')"))
        assert [f"/runs/{run_id}/stages/{name}" for name in ("text", "clean", "dedup", "corpus")] == [
            r for r in reached if r and "/stages/" in r
        ][:4]


def test_the_demo_starts_again_on_what_it_left(server: Demo, run_id: str) -> None:
    def left() -> list[str]:
        client = server.client
        schedules = [schedule["name"] for schedule in client.schedules.listed()]
        return [*(run.id for run in client.runs()), *schedules, str(client.call("GET", "/pipelines/quickstart")["number"])]

    before = left()
    assert server.stop() == 0, server.log
    server.start()
    assert left() == before
