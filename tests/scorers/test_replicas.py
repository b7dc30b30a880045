"""A training on several devices, here two processes on the CPU: the same model as alone, whoever dies on the way."""

from __future__ import annotations

import dataclasses
import multiprocessing
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from curate.errors import OperatorError, TransientError
from curate_scorers.proxy.recipe import Recipe
from tests.scorers import proxy_corpora
from tests.scorers.proxy_corpora import TINY, Files

torch = pytest.importorskip("torch")

from curate_scorers.proxy.folder import WEIGHTS  # noqa: E402
from curate_scorers.proxy.replicas import replicas  # noqa: E402
from curate_scorers.proxy.train import train  # noqa: E402

pytestmark = pytest.mark.slow
RECIPE = Recipe(TINY, tokens=6_000, batch_tokens=128)
STARTING = """
import sys, time
from curate_scorers.proxy.replicas import replicas
if __name__ == "__main__":
    import multiprocessing, threading
    threading.Thread(target=lambda: (time.sleep(0.5), print(multiprocessing.active_children()[0].pid, flush=True))).start()
    with replicas({"replicas": 2, "folder": "", "names": [], "recipe": {}, "anneal": None}):
        time.sleep(60)
"""


@pytest.fixture
def item(tmp_path: Path) -> Iterator[dict[str, Any]]:
    """A training on one thread, as tasks are on machines with other work."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    names = proxy_corpora.write(tmp_path / "packed", proxy_corpora.corpus(120))
    yield {"folder": str(tmp_path / "packed"), "names": names, "recipe": dataclasses.asdict(RECIPE), "anneal": None, "replicas": 2}
    torch.set_num_threads(threads)


def test_two_learn_what_one_learns_also_when_they_were_killed(item: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("curate_scorers.proxy.checkpoint.LEAST_S", 0.0)
    monkeypatch.setattr("curate_scorers.proxy.checkpoint.COST_RATIO", 1e9)
    packed, alone, together = proxy_corpora.corpus(120), Files(), Files()
    single = train(packed, RECIPE, alone)
    together.dies_after = 20
    with pytest.raises(KeyboardInterrupt), replicas(item) as replica:
        train(packed, RECIPE, together, replica=replica)
    with replicas(item) as replica:
        both = train(packed, RECIPE, together, replica=replica)
    assert len(both.losses) == len(single.losses) > 40 and both.losses[:20] != both.losses[20:40]
    assert both.losses == pytest.approx(single.losses, rel=1e-4)
    assert set(together) == set(alone) and len(together[WEIGHTS]) == len(alone[WEIGHTS])


def test_what_another_says_when_it_fails_is_told(item: dict[str, Any]) -> None:
    with pytest.raises(OperatorError, match=r"a replica failed: .*no packed corpus"), replicas(item | {"names": []}) as replica:
        train(proxy_corpora.corpus(120), RECIPE, Files(), replica=replica)


def test_one_that_is_killed_is_tried_again(item: dict[str, Any]) -> None:
    with pytest.raises(TransientError, match="a replica was killed by signal 9"), replicas(item) as replica:
        [other] = multiprocessing.active_children()
        other.kill()
        train(proxy_corpora.corpus(120), RECIPE, Files(), replica=replica)


def test_others_end_with_the_first(tmp_path: Path) -> None:
    script = tmp_path / "starting.py"
    script.write_text(STARTING)
    with subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, text=True) as first:
        assert first.stdout is not None
        other = psutil.Process(int(first.stdout.readline()))
        first.kill()
        other.wait(30)
