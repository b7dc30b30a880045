"""What a user may get wrong around models and scores is told by `curate check`, with the line, what was found and a hint; nothing runs."""

from __future__ import annotations

import pickle
import shutil
from pathlib import Path
from typing import Any

import orjson
import pytest
from click.testing import CliRunner, Result

from curate.cli import cli
from curate.errors import PipelineError
from curate_operators.language import SHIPPED_MODEL
from tests.engine import small

NONE = "0" * 64
LOSSES = "losses: [a, b, c]"
QUANTILES = {
    "format": 1,
    "group_by": None,
    "groups": [{"group": None, "documents": 2, "scores": [0.1, 0.2], "below": [0, 1], "equal": [1, 1]}],
}


def safetensors(values: int = 4) -> bytes:
    """Return a file of the format with one tensor of `values` bytes."""
    header = orjson.dumps({"w": {"dtype": "U8", "shape": [values], "data_offsets": [0, values]}})
    return len(header).to_bytes(8, "little") + header + bytes(values)


def language_model(folder: Path, **files: bytes) -> None:
    """Write what looks like a language model; `files` by their names without suffix, in place of what is right."""
    folder.mkdir()
    named = {"config": "config.json", "tokenizer": "tokenizer.json", "model": "model.safetensors", "pytorch_model": "pytorch_model.bin"}
    named |= {"index": "model.safetensors.index.json"}
    right = {"config": orjson.dumps({"architectures": ["LlamaForCausalLM"]}), "tokenizer": b"{}", "model": safetensors()}
    for name, data in (right | files).items():
        if data:
            (folder / named[name]).write_bytes(data)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Documents, and models and tables of all kinds that are not what they seem."""
    folder = tmp_path_factory.mktemp("bad")
    row = {"text": "some words", "kind": "x", "n": 0.5, "a": 1.0, "b": 2.0, "c": 3.0, "tok": 3, "top": {"label": "1", "probability": 0.5}}
    for name in ("crawl", "good"):
        small.write_jsonl(folder / f"{name}.jsonl", [{"id": f"{name}{i}", **row} for i in range(3)])
    shutil.copy(SHIPPED_MODEL, folder / "lid.ftz")
    (folder / "cut.bin").write_bytes(SHIPPED_MODEL.read_bytes()[:50_000])
    (folder / "pickle.bin").write_bytes(pickle.dumps({"a": 1}))
    (folder / "empty.bin").write_bytes(b"")
    (folder / "quantiles.json").write_bytes(orjson.dumps(QUANTILES))
    (folder / "other.json").write_bytes(b'{"groups": []}')
    (folder / "family.json").write_bytes(orjson.dumps({"models": [{"scores": {"x": 1}}, {"scores": {"x": 2}}]}))
    language_model(folder / "lm")
    language_model(folder / "pickled", model=b"", pytorch_model=pickle.dumps({"a": 1}))
    language_model(folder / "posing", model=pickle.dumps({"a": 1}))
    language_model(folder / "huge_header", model=(1 << 60).to_bytes(8, "little") + b"{}")
    language_model(folder / "cut", model=safetensors()[:-1])
    language_model(folder / "no_json", config=b"{nope")
    language_model(folder / "no_object", config=b"[]")
    language_model(folder / "no_name", config=b"{}")
    language_model(folder / "no_tokenizer", tokenizer=b"")
    language_model(folder / "no_part", index=orjson.dumps({"weight_map": {"w": "model.safetensors", "v": "model-2.safetensors"}}))
    return folder


def checked(folder: Path, stages: str, command: str = "check") -> Result:
    """Check a pipeline in a folder, or give it to another command."""
    file = folder / "p.yaml"
    file.write_text(f"name: p\ninputs: {{ crawl: {{ path: crawl.jsonl }}, good: {{ path: good.jsonl }} }}\nstages:\n{stages}\n")
    return CliRunner().invoke(cli, [command, str(file)], catch_exceptions=False)


def scorer(use: str, params: str) -> str:
    return f"  s: {{ from: crawl, operators: [ {{ use: {use}, into: q, params: {{ {params} }} }} ] }}"


def whole(use: str, params: str, source: str = "crawl") -> str:
    return f"  s: {{ from: {source}, use: {use}, params: {{ {params} }} }}"


def chain(operators: str, then: str) -> str:
    return f"  scores: {{ from: crawl, operators: [{operators}] }}\n{then}"


CASES: dict[str, tuple[str, str, str]] = {
    "fasttext: missing": (scorer("fasttext", "model: none.bin"), "`model`: there is no file none.bin", "relative to the pipeline file"),
    "fasttext: folder": (scorer("fasttext", "model: lm"), "`model`: lm is a folder, not a file", "relative to"),
    "fasttext: pickle": (scorer("fasttext", "model: pickle.bin"), "not a fastText model", "fastText .bin or .ftz"),
    "fasttext: empty": (scorer("fasttext", "model: empty.bin"), "has 0 bytes", "fastText .bin or .ftz"),
    "fasttext: cut": (scorer("fasttext", "model: cut.bin"), "is damaged: 50,000 bytes", "download it again"),
    "fasttext: checksum": (scorer("fasttext", f"model: lid.ftz, sha256: '{NONE}'"), "its SHA-256 is 8f3472cf", "correct `sha256`"),
    "fasttext: no checksum": (scorer("fasttext", "model: lid.ftz, sha256: abc"), "sha256 is no SHA-256: abc", "64 hexadecimal digits"),
    "fasttext: languages": (
        scorer("fasttext", "model: lid.ftz, label: hq"),
        "has no label `hq`",
        "en, ru, de, fr, it, ja, es, ceb and 168 more",
    ),
    "fasttext: languages for 1": (
        scorer("fasttext", "model: lid.ftz, label: '1'"),
        "no label `1`",
        "it tells languages, and is a model for `language`",
    ),
    "fasttext: number": (scorer("fasttext", "model: lid.ftz, label: 1"), "must be a string or null, found the number 1", "in quotes"),
    "fasttext: a chain": (
        chain("{use: draw}", scorer("fasttext", "model: 'stage:scores'")),
        "keeps no file, but `model` needs one",
        "trains a model",
    ),
    "language: pickle": (scorer("language", "model: pickle.bin"), "`language`: not a fastText model", "fastText .bin or .ftz"),
    "lm_loss: missing": (scorer("lm_loss", "model: none"), "none: there is no folder with a config.json", "make_model_family"),
    "lm_loss: a file": (scorer("lm_loss", "model: lid.ftz"), "there is no folder with a config.json", "relative to the pipeline file"),
    "lm_loss: URL": (scorer("lm_loss", "model: 's3://b/m'"), "model is no folder: s3://b/m", "copy it to each machine"),
    "lm_loss: a chain": (
        chain("{use: draw}", scorer("lm_loss", "model: 'stage:scores'")),
        "keeps no file, but `model` needs one",
        "trains a model",
    ),
    "lm_loss: pickle": (scorer("lm_loss", "model: pickled"), "a pickle, pytorch_model.bin, which could run any code", "*.safetensors only"),
    "lm_loss: posing": (scorer("lm_loss", "model: posing"), "is no safetensors file, whatever its name says", "*.safetensors only"),
    "lm_loss: huge header": (scorer("lm_loss", "model: huge_header"), "is no safetensors file", "*.safetensors only"),
    "lm_loss: cut": (scorer("lm_loss", "model: cut"), "is damaged", "copy it again"),
    "lm_loss: config": (scorer("lm_loss", "model: no_json"), "config.json cannot be read", "copy it again"),
    "lm_loss: config of another kind": (scorer("lm_loss", "model: no_object"), "config.json holds no object", "copy it again"),
    "lm_loss: no architecture": (scorer("lm_loss", "model: no_name"), "its config.json names no architecture", "architectures"),
    "lm_loss: tokenizer": (scorer("lm_loss", "model: no_tokenizer"), "it has no tokenizer.json", "save its fast tokenizer"),
    "lm_loss: part": (scorer("lm_loss", "model: no_part"), "model-2.safetensors is missing", "copy the whole folder"),
    "lm_loss: checksum": (scorer("lm_loss", f"model: lm, sha256: {{model.safetensors: '{NONE}'}}"), "is another file", "correct `sha256`"),
    "lm_loss: no such file": (
        scorer("lm_loss", f"model: lm, sha256: {{x.safetensors: '{NONE}'}}"),
        "no file x.safetensors",
        "correct `sha256`",
    ),
    "strength: too few": (
        scorer("predictive_strength", f"{LOSSES}, scores: [1, 2]"),
        "`scores` has 2 numbers for 3 models",
        "order of `losses`",
    ),
    "strength: NaN": (
        scorer("predictive_strength", f"{LOSSES}, scores: [1, .nan, 2]"),
        "`scores` has nan, which is no finite number",
        "order of",
    ),
    "strength: equal": (scorer("predictive_strength", f"{LOSSES}, scores: [1, 1, 1]"), "all models are equally good", "must differ"),
    "strength: family": (
        scorer("predictive_strength", f"{LOSSES}, family: family.json"),
        "has 2 numbers for 3 models",
        "order of `losses`",
    ),
    "strength: target": (scorer("predictive_strength", "losses: [a, b], family: family.json, target: y"), "no scores for `y`", "it holds"),
    "strength: text": (scorer("predictive_strength", "losses: [a, kind], scores: [1, 2]"), "column `kind` is string", "losses are numbers"),
    "correlations: text": (
        whole("perplexity_correlations", "losses: [a, kind], scores: [1, 2]"),
        "column `kind` is string",
        "a loss is a number",
    ),
    "correlations: two": (
        whole("perplexity_correlations", "losses: [a, b], scores: [1, 2]", "[crawl, good]"),
        "one set of documents",
        "[DOCUMENTS, LOSSES]",
    ),
    "correlations: equal": (
        whole("perplexity_correlations", f"{LOSSES}, scores: [1, 1, 1]"),
        "the scores do not differ",
        "models that differ",
    ),
    "train: one source": (whole("train_fasttext", ""), "`train_fasttext`: all documents have the label `crawl`", "`from: [wanted, crawl]`"),
    "train: one label": (
        whole("train_fasttext", "labels: {crawl: x, good: x}", "[crawl, good]"),
        "all documents have the label `x`",
        "another kind",
    ),
    "train: no source": (
        whole("train_fasttext", "labels: {godo: x, crawl: y}", "[crawl, good]"),
        "`godo` is no source",
        "its sources are: crawl, good",
    ),
    "train: positive": (
        whole("train_fasttext", "positive: hq", "[crawl, good]"),
        "no source has the label `hq`",
        "labels are: crawl, good",
    ),
    "train: fractions": (whole("train_fasttext", "label: n"), "label column `n` is double", "labels are strings"),
    "train: attributes": (
        chain("{use: draw}", whole("train_fasttext", "", "[crawl, scores]")),
        "`scores` has none",
        "make documents of both",
    ),
    "top: two": (
        whole("select_top", "column: n, fraction: 0.1", "[crawl, good]"),
        "`select_top`: it reads one set of documents",
        "[DOCUMENTS, SCORES]",
    ),
    "top: no documents": (
        chain("{use: draw}", whole("select_top", "column: scores.draw, fraction: 0.1", "scores")),
        "not there",
        "`from: [crawl, scores]`",
    ),
    "top: text": (whole("select_top", "column: kind, fraction: 0.1"), "column `kind` is string, not a number", ""),
    "top: struct": (whole("select_top", "column: top, fraction: 0.1"), "column `top` is struct", "top.label, top.probability"),
    "calibrate: two": (
        whole("calibrate", "column: n", "[crawl, good]"),
        "`calibrate`: it reads one set of documents",
        "[DOCUMENTS, SCORES]",
    ),
    "quantile: no table": (
        scorer("quantile", "column: n, table: other.json"),
        "other.json is no table of quantiles",
        "make it with `calibrate`",
    ),
    "quantile: a model": (scorer("quantile", "column: n, table: lid.ftz"), "lid.ftz is no table of quantiles", "make it with `calibrate`"),
    "quantile: groups": (
        scorer("quantile", "column: n, table: quantiles.json, group_by: kind"),
        "made for all documents at once",
        "or to neither",
    ),
    "quantile: text": (scorer("quantile", "column: kind, table: quantiles.json"), "column `kind` is string, not a number", ""),
    "quantile: struct": (scorer("quantile", "column: top, table: quantiles.json"), "column `top` is struct", "top.label, top.probability"),
}


@pytest.mark.parametrize(("stages", "told", "hint"), CASES.values(), ids=CASES.keys())
def test_what_is_wrong_is_told_before_anything_runs(folder: Path, stages: str, told: str, hint: str) -> None:
    with pytest.raises(PipelineError) as error:
        checked(folder, stages)
    said = str(error.value)
    assert f"p.yaml:{4 + stages.count(chr(10))}: " in said and told in said and hint in said
    assert error.value.exit_code == 2
    assert not (folder / "workspace").exists()


GOOD: dict[str, str] = {
    "fasttext": scorer("fasttext", "model: lid.ftz, label: en"),
    "lm_loss": scorer("lm_loss", "model: lm"),
    "quantile": scorer("quantile", "column: top.probability, table: quantiles.json"),
    "strength": scorer("predictive_strength", "losses: [a, b], family: family.json, target: x"),
    "train": whole("train_fasttext", "labels: {crawl: cc, good: hq}, positive: hq", "[crawl, good]"),
    "thresholds": f"{whole('select_top', 'column: n, fraction: 0.5')}\n  q: {{ from: crawl, operators: [{{ use: quantile, params: {{ column: n, table: 'stage:s' }} }}] }}",
    "where": "  s: { from: crawl, operators: [{ use: where, params: { keep: \"top.label = '1' and top.probability > 0.4\" } }] }",
}


@pytest.mark.parametrize("stages", GOOD.values(), ids=GOOD.keys())
def test_what_is_right_passes(folder: Path, stages: str) -> None:
    done = checked(folder, stages)
    assert done.exit_code == 0, done.output


def test_a_plan_names_the_import_of_an_input(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    done = checked(folder, whole("select_top", "column: n, fraction: 0.5"), "plan")
    assert done.exit_code == 0 and "documents  read  from crawl" in done.output


def test_a_check_loads_no_torch(folder: Path) -> None:
    import subprocess
    import sys

    checked(folder, GOOD["lm_loss"])
    code = f"import sys; from curate.cli import cli; cli.main(['check', {str(folder / 'p.yaml')!r}], standalone_mode=False); print('torch' in sys.modules)"
    said: Any = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert said.stdout.splitlines()[-1] == "False"
