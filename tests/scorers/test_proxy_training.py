"""Training: the optimizer, the schedule, the order of data, losses that fall, and trainings that die and go on."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from curate.errors import CurateError, OperatorError, PipelineError
from curate_scorers.proxy import annealing
from curate_scorers.proxy.annealing import STABLE
from curate_scorers.proxy.recipe import Recipe
from curate_scorers.proxy.schedule import Schedule
from curate_scorers.proxy.train_proxy import TrainProxy
from tests.scorers import proxy_corpora
from tests.scorers.proxy_corpora import LENGTH, TINY, Files

torch = pytest.importorskip("torch")

from curate_scorers.proxy import checkpoint  # noqa: E402
from curate_scorers.proxy.batches import Order  # noqa: E402
from curate_scorers.proxy.folder import WEIGHTS, load_weights  # noqa: E402
from curate_scorers.proxy.model import Proxy  # noqa: E402
from curate_scorers.proxy.optimizers import Optimizer, orthogonalised  # noqa: E402
from curate_scorers.proxy.train import train  # noqa: E402


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Train with one thread: several that wait for each other are slow where other tests run beside them."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 40, 90), (2, 90, 40)])
def test_newton_schulz_makes_matrices_orthogonal(shape: tuple[int, int, int]) -> None:
    given = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    found = orthogonalised(given)
    values = torch.linalg.svdvals(found)
    assert float(values.min()) > 0.6 and float(values.max()) < 1.3
    left, _, right = torch.linalg.svd(given, full_matrices=False)
    assert float((found * (left @ right)).sum() / (found.norm() * (left @ right).norm())) > 0.98  # the same singular vectors
    more = torch.linalg.svdvals(orthogonalised(given, steps=12))
    assert float(more.min()) > 0.6 and float(more.max()) < 1.3


def test_a_step_of_muon_has_the_norm_of_its_rate() -> None:
    tall, square = torch.zeros(64, 16), torch.zeros(32, 32)
    named = {"model.layers.0.tall": tall, "model.layers.0.square": square}
    for weight in named.values():
        weight.requires_grad_(True)
        weight.grad = torch.randn(weight.shape, generator=torch.Generator().manual_seed(2))
    Optimizer(named.items(), 0.1, 0.0, 0.0).step(0.5)
    for weight in named.values():
        size = torch.linalg.svdvals(weight.detach()).mean() * (weight.shape[1] / weight.shape[0]) ** 0.5
        assert float(size) == pytest.approx(0.05, rel=0.2)  # vectors of unit mean square change by this much, whatever the shape
        assert float((weight.detach() * weight.grad).sum()) < 0


def test_other_weights_move_as_adamw_moves_them() -> None:
    ours, theirs = (torch.nn.Parameter(torch.linspace(-1, 1, 12).view(3, 4)) for _ in range(2))
    mine = Optimizer([("model.embed_tokens.weight", ours)], 0.0, 0.01, 0.1)
    other = torch.optim.AdamW([theirs], 0.01, betas=(0.9, 0.95), eps=1e-8, weight_decay=0.1)
    for seed in range(5):
        gradient = torch.randn(3, 4, generator=torch.Generator().manual_seed(seed))
        ours.grad, theirs.grad = gradient.clone(), gradient.clone()
        mine.step(1.0)
        other.step()
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)


def test_rates_warm_up_stay_and_decay() -> None:
    schedule = Schedule.of(100, 0.1, 0.3)
    rates = [schedule.rate(step) for step in range(100)]
    assert rates[:10] == pytest.approx([(k + 1) / 11 for k in range(10)])
    assert set(rates[10:70]) == {1.0} and schedule.stable_until == 70
    assert rates[70:] == pytest.approx([(30 - k) / 31 for k in range(30)])
    assert Schedule(1, 0, 1).rate(0) == 0.5


def test_each_epoch_has_each_row_once_in_an_order_of_its_own() -> None:
    order = Order(10, seed=4)
    first, second = order.take(0, 10), order.take(10, 10)
    assert sorted(first) == sorted(second) == list(range(10)) and first != second
    assert order.take(7, 6) == first[7:] + second[:3]
    assert Order(10, seed=5).take(0, 10) != first


def test_a_budget_is_cut_into_steps() -> None:
    packed = proxy_corpora.corpus()
    fill = packed.tokens / packed.rows
    recipe = Recipe(TINY, tokens=4 * packed.tokens)
    steps = recipe.steps(packed)
    assert steps * recipe.rows_a_step(packed) * fill == pytest.approx(recipe.budget, rel=0.02)
    assert Recipe(TINY, tokens=200 * 3 * LENGTH).rows_a_step(packed) == 3  # fewer than suit the size, so that there are 200 steps
    assert Recipe(TINY, tokens=200 * LENGTH - 1).rows_a_step(packed) == 1
    assert Recipe("2M").rates == (0.02, pytest.approx(0.008)) and Recipe("2M", other_rate=0.1).rates == (0.02, 0.1)
    assert Recipe("2M").budget == 20 * Recipe("2M").shape.parameters
    assert Recipe("2M", tokens_per_parameter=0.5).budget == 959_584
    assert Recipe(TINY, tokens=500, snapshots=4, decay_ratio=0.5).snapshot_steps(Schedule(100, 0, 50)) == [60, 70, 80, 90]


def test_a_step_is_no_larger_than_the_budget_and_nothing_is_read_more_often_than_allowed() -> None:
    packed = proxy_corpora.corpus()
    recipe = Recipe(TINY, tokens=10 * LENGTH, batch_tokens=1_000_000)
    assert (recipe.rows_a_step(packed), recipe.steps(packed)) == (10, 1)
    large = Recipe(TINY, tokens=4 * packed.tokens, batch_tokens=round(2.6 * packed.rows * LENGTH))
    assert large.steps(packed) * large.rows_a_step(packed) <= 4 * packed.rows


def test_snapshots_of_a_short_decay_are_never_what_it_begins_with() -> None:
    recipe = Recipe(TINY, tokens=500, snapshots=5)
    assert recipe.snapshot_steps(Schedule(2, 0, 2)) == [1] and recipe.snapshot_steps(Schedule(10, 0, 2)) == [9]


def test_a_step_in_smaller_passes_learns_the_same() -> None:
    packed = proxy_corpora.corpus()
    recipes = (Recipe(TINY, tokens=5_000, batch_tokens=512, micro_tokens=micro) for micro in (None, LENGTH))
    whole, small = (train(packed, recipe, Files()).losses for recipe in recipes)
    assert small != whole and small == pytest.approx(whole, rel=1e-3)


def test_a_model_learns_one_batch_by_heart() -> None:
    packed = proxy_corpora.corpus(12, parts=1)
    recipe = Recipe(TINY, tokens=100 * packed.tokens, batch_tokens=packed.rows * LENGTH, max_epochs=1000)
    trained = train(packed, recipe, Files())
    assert trained.losses[0] == pytest.approx(np.log(128), rel=0.02)
    assert trained.losses[-1] < 0.35  # a few documents begin alike, so that it cannot be 0


@pytest.mark.parametrize("deaths", [1, 3])
def test_a_training_that_dies_goes_on_to_the_same_bytes(monkeypatch: pytest.MonkeyPatch, deaths: int) -> None:
    monkeypatch.setattr(checkpoint, "LEAST_S", 0.0)
    monkeypatch.setattr(checkpoint, "COST_RATIO", 1e9)  # after every step
    packed, recipe = proxy_corpora.corpus(), Recipe(TINY, tokens=9_000, batch_tokens=256, snapshots=2, keep_stable=True)
    whole, killed = Files(), Files()
    expected = train(packed, recipe, whole)
    lines: list[str] = []
    for death in range(deaths):
        killed.dies_after = 5 + death
        with pytest.raises(KeyboardInterrupt):
            train(packed, recipe, killed)
    found = train(packed, recipe, killed, lines.append)
    assert found.losses == expected.losses and found.files == expected.files
    assert {name: killed[name] for name in found.files} == {name: whole[name] for name in found.files}
    first = sum(5 + death for death in range(deaths)) + 1
    assert lines[0].startswith(f"step {first} of {len(found.losses)}, loss ")  # nothing was done twice
    assert "tokens/s, MFU" in lines[-1]


def test_products_in_bfloat16_learn_as_well() -> None:
    packed = proxy_corpora.corpus()
    recipes = (Recipe(TINY, tokens=5_000, batch_tokens=256, precision=kind) for kind in ("float32", "bfloat16"))
    exact, rounded = (train(packed, recipe, Files()).losses for recipe in recipes)
    assert rounded != exact and rounded[0] == pytest.approx(exact[0], abs=0.01)
    assert rounded[-1] == pytest.approx(exact[-1], rel=0.05) and exact[-1] < 0.9 * exact[0]


def test_a_spoilt_checkpoint_is_not_read() -> None:
    packed, recipe = proxy_corpora.corpus(50), Recipe(TINY, tokens=500)
    files = Files()
    expected = train(packed, recipe, files)
    files["checkpoint"] = b"spoilt " * 10
    assert train(packed, recipe, files).losses == expected.losses


def test_seeds_and_snapshots_differ() -> None:
    packed, files = proxy_corpora.corpus(50), Files()
    one = train(packed, Recipe(TINY, tokens=1000, snapshots=2, decay_ratio=0.5), files)
    two = train(packed, Recipe(TINY, tokens=1000, seed=2), Files())
    assert one.losses != two.losses
    snapshots = [files[name] for name in one.files if name.startswith("step-")]
    assert len({*snapshots, files[WEIGHTS]}) == 3


def test_a_stable_model_is_annealed(tmp_path: Path) -> None:
    packed, files = proxy_corpora.corpus(), Files()
    train(packed, Recipe(TINY, tokens=12_000, batch_tokens=256, keep_stable=True), files)
    (tmp_path / STABLE).write_bytes(files[STABLE])
    annealed = train(packed, Recipe(TINY, tokens=3_000, batch_tokens=256, seed=9), Files(), base=str(tmp_path))
    assert [annealed.schedule.rate(step) for step in (0, 1)] != [1.0, 1.0] and annealed.schedule.warm_up == 0
    fresh = train(packed, Recipe(TINY, tokens=3_000, batch_tokens=256, seed=9), Files())
    assert annealed.losses[0] < 0.8 * fresh.losses[0] and annealed.losses[-1] < fresh.losses[-1]


def test_a_base_that_is_damaged_or_no_base_is_told(tmp_path: Path) -> None:
    files = Files()
    train(proxy_corpora.corpus(50), Recipe(TINY, tokens=500, keep_stable=True), files)
    spoilt = {"no such file": None, "is damaged": files[STABLE][:-1], "weights alone": files[WEIGHTS], "no safetensors file": b"x" * 50}
    for told, data in spoilt.items():
        if data is not None:
            (tmp_path / STABLE).write_bytes(data)
        with pytest.raises(OperatorError, match=told) as error:
            TrainProxy().verify_file("anneal", tmp_path)
        assert error.value.hint and "keep_stable: true" in error.value.hint
        with pytest.raises(OperatorError, match=told):
            train(proxy_corpora.corpus(50), Recipe(TINY, tokens=500), Files(), base=str(tmp_path))


def test_a_base_of_another_tokenizer_is_told(tmp_path: Path) -> None:
    files, packed = Files(), proxy_corpora.corpus(50)
    train(packed, Recipe(TINY, tokens=500, keep_stable=True), files)
    for name in ("base", "corpus"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "tokenizer.json").write_text("{}")
    (tmp_path / "base" / STABLE).write_bytes(files[STABLE])
    corpus = dataclasses.replace(packed, tokenizer=[tmp_path / "corpus/tokenizer.json"])
    annealing.verify_base(str(tmp_path / "base"), corpus)
    corpus.tokenizer[0].write_text('{"other": 1}')
    with pytest.raises(OperatorError, match="was trained on tokens of another tokenizer"):
        annealing.verify_base(str(tmp_path / "base"), corpus)


def test_annealing_without_a_budget_is_as_long_as_the_decay_of_its_base(tmp_path: Path) -> None:
    with pytest.raises(OperatorError, match=r"has no training.json that says how many tokens it read"):
        annealing.budgeted(Recipe(TINY), str(tmp_path))
    (tmp_path / "training.json").write_text('{"tokens": 40000}')
    assert annealing.budgeted(Recipe(TINY), str(tmp_path)) == Recipe(TINY, tokens=8000)
    assert annealing.budgeted(Recipe(TINY, decay_ratio=0.1), str(tmp_path)).budget == 4000
    for kept in (Recipe(TINY, tokens=5), Recipe(TINY, tokens_per_parameter=2)):
        assert annealing.budgeted(kept, str(tmp_path)) == kept
    stages = {"base": [TrainProxy(size=TINY, tokens=40_000, keep_stable=True)]}
    assert annealing.planned(Recipe(TINY), "stage:base", stages) == Recipe(TINY, tokens=8000)
    assert annealing.planned(Recipe(TINY), "stage:earlier", stages) is None


def test_annealing_needs_a_budget_or_a_share() -> None:
    with pytest.raises(PipelineError, match="decay_ratio: annealing takes this share of what its base read"):
        TrainProxy(size=TINY, anneal="stage:base", decay_ratio=0)
    TrainProxy(size=TINY, anneal="stage:base", decay_ratio=0, tokens=500)


def test_a_base_of_another_shape_is_told(tmp_path: Path) -> None:
    packed, files = proxy_corpora.corpus(), Files()
    train(packed, Recipe(TINY, tokens=2_000, keep_stable=True), files)
    (tmp_path / STABLE).write_bytes(files[STABLE])
    with pytest.raises(OperatorError, match="is of another model") as told:
        train(packed, Recipe("2M", tokens=2_000), Files(), base=str(tmp_path))
    assert told.value.hint and "size" in told.value.hint


def test_a_loss_that_is_no_number_ends_the_training(monkeypatch: pytest.MonkeyPatch) -> None:
    def spoilt(self: Proxy, states: torch.Tensor) -> None:
        load_weights(self, {name: torch.full_like(weight, torch.nan) for name, weight in self.named_parameters()})

    monkeypatch.setattr(Proxy, "_initialise", spoilt)
    with pytest.raises(OperatorError, match="the loss of step 1 is nan") as told:
        train(proxy_corpora.corpus(30), Recipe(TINY, tokens=500), Files())
    assert told.value.hint and "lower `matrix_rate` (0.02)" in told.value.hint


def test_no_memory_is_told_with_a_remedy() -> None:
    packed = proxy_corpora.corpus(30)
    endless = type(packed)(1 << 50, packed.length, packed.tokens, packed.eos, packed.parts, [])
    with pytest.raises(OperatorError, match="no memory for 32x2 on this machine") as told:
        train(endless, Recipe(TINY, tokens=500), Files())
    assert told.value.hint and "smaller vocabulary" in told.value.hint and "`micro_tokens` below 2,048" in told.value.hint


@pytest.mark.parametrize(
    ("params", "told"),
    [
        ({"size": "3M"}, "no size `3M`"),
        ({"size": "33x2"}, "no size `33x2`"),
        ({"tokens": 0}, "tokens is not above 0: 0"),
        ({"tokens": 5, "tokens_per_parameter": 5}, "both given"),
        ({"matrix_rate": -1.0}, "matrix_rate is not above 0"),
        ({"warm_up_ratio": 0.6, "decay_ratio": 0.5}, "more than 1 together"),
        ({"snapshots": -1}, "snapshots is less than 0"),
        ({"tokens_per_parameter": float("inf")}, "tokens_per_parameter is no finite number: inf"),
        ({"max_epochs": float("nan")}, "max_epochs is no finite number: nan"),
        ({"matrix_rate": float("nan")}, "matrix_rate is no finite number: nan"),
    ],
)
def test_recipes_that_make_no_sense_are_told(params: dict[str, Any], told: str) -> None:
    with pytest.raises(PipelineError, match=told):
        Recipe(**params)


def test_a_corpus_that_is_too_small_for_its_budget_is_told() -> None:
    packed = proxy_corpora.corpus(30)
    with pytest.raises(
        CurateError, match=rf"a budget of {5 * packed.tokens:,} tokens reads a corpus of {packed.tokens:,} 5\.0 times"
    ) as told:
        Recipe(TINY, tokens=5 * packed.tokens).steps(packed)
    assert told.value.hint and "max_epochs" in told.value.hint
    assert Recipe(TINY, tokens=5 * packed.tokens, max_epochs=5).steps(packed)
    with pytest.raises(OperatorError, match="is empty"):
        Recipe(TINY).steps(type(packed)(100, LENGTH, 0, 0, [], []))
