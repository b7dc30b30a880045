"""A service to look at, in a folder of its own: the quickstart's pipeline, a run of it, and a nightly schedule.

python -m curate.demo [FOLDER [PORT]]    in a checkout; `make service` does this

Started again on the same folder, it adds only what is not there any more.
"""

from __future__ import annotations

import logging
import shutil
import sys
import threading
import time
from pathlib import Path

from curate.client import Client
from curate.client_schedules import NewSchedule
from curate.errors import TransientError
from curate.recipes import recipe
from curate.service.server import FIRST_TOKEN, serve
from curate.service.settings import PORT, ServiceSettings, load_settings

PIPELINE = "quickstart"
SAMPLE = Path("pipelines/sample")
NIGHTLY: NewSchedule = {
    "name": "nightly",
    "pipeline": PIPELINE,
    "trigger": {"kind": "cron", "expression": "30 2 * * *", "zone": "Europe/Berlin"},
    "policies": {"retries": 2, "pause_after": 3},
}
_PAUSE_S = 0.2


def main(folder: str = "service-demo", port: str = str(PORT)) -> None:
    """Serve until Ctrl-C; what the demo shows is loaded once the service answers."""
    if not SAMPLE.is_dir():
        sys.exit(f"there is no {SAMPLE} here: start the demo in a checkout")
    places = {name: str(Path(folder) / name) for name in ("workspace", "pipelines")}
    shutil.copytree(SAMPLE, Path(places["pipelines"]) / SAMPLE.name, dirs_exist_ok=True)  # the pipeline's paths stay as they are
    chosen = {"home": folder, "workspace": places["workspace"], "folder": places["pipelines"], "allow": (folder,), "port": int(port)}
    settings = load_settings(None, chosen)
    logging.getLogger("curate.service.access").setLevel(logging.WARNING)  # or what is told to people is lost in it
    threading.Thread(target=load, args=(settings,), daemon=True).start()
    serve(settings, _tell)


def load(settings: ServiceSettings) -> None:
    """Keep the pipeline, and ask for its run and its schedule, unless they are there; say how to look at them."""
    client = _answering(settings)
    if all(kept["name"] != PIPELINE for kept in client.listed("/pipelines")):
        client.save(recipe(PIPELINE))
    if next(client.runs(pipeline=PIPELINE), None) is None:
        client.submit_named(PIPELINE)
    if all(schedule["name"] != NIGHTLY["name"] for schedule in client.schedules.listed()):
        client.schedules.add(NIGHTLY)
    _tell(f"look at {settings.url} with the token in {settings.home / FIRST_TOKEN}; Ctrl-C ends it")


def _answering(settings: ServiceSettings) -> Client:
    """Return a client once the service answers, which has written its first token by then."""
    while True:
        try:
            client = Client(settings.url, (settings.home / FIRST_TOKEN).read_text().strip())
            client.call("GET", "/me")
            return client
        except (FileNotFoundError, TransientError):
            time.sleep(_PAUSE_S)


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
