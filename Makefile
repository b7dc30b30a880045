# make quickstart   run the sample pipeline from nothing        make test    all tests
# make check        lint, format, types, layers, generated docs  make bench   measure speed and memory
# make service      the service with something to look at, on this machine; PORT=8301 for another port than 8300
PYTHON ?= python3
PORT ?= 8300
LLM ?= 1
BIN := .venv/bin
# Where pip was told of a folder of wheels (a processor-only build of torch, say), uv looks there too.
LINKS := $(shell $(PYTHON) -m pip config get global.find-links 2>/dev/null)
INSTALL := $(if $(LINKS),UV_FIND_LINKS=$(LINKS) )$(BIN)/uv pip install --python $(BIN)/python --compile-bytecode --quiet

.PHONY: quickstart service test test-llm images check bench peers fidelity quality speed dedup scorers format clean

quickstart: .venv/.core
	$(BIN)/curate run pipelines/quickstart.yaml

service: .venv/.serve
	$(BIN)/python -m curate.demo service-demo $(PORT)

test: .venv/.dev
	$(BIN)/python -m pytest -n 2 --dist loadfile

# Real vLLM servers on this machine's processor: environment and models (3.5 GB, minutes), and the tests that ask them; with LLM=all
# also those that take minutes each, recipes and a refiner that is trained.
test-llm: .venv/.dev
	$(BIN)/python -m tests.llm.environment
	CURATE_TEST_LLM=$(LLM) $(BIN)/python -m pytest -n 0 tests/llm/test_vllm.py

# The image for processors, built by buildah on a base made by debootstrap (minutes, 2 GB), and the quickstart inside it.
images: .venv/.dev
	CURATE_TEST_IMAGES_WANTED=1 $(BIN)/python -m pytest -n 0 tests/deploy/test_built.py

check: .venv/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/python tests/docs/generate.py --check

format: .venv/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/python tests/docs/generate.py

bench: .venv/.dev
	$(BIN)/python -m tests.benchmarks.run
	$(BIN)/python -m tests.benchmarks.speed_filters
	$(BIN)/python -m tests.benchmarks.fasttext_speed
	$(BIN)/python -m tests.benchmarks.lm_loss_speed
	$(BIN)/python -m tests.benchmarks.tokenize_speed
	$(BIN)/python -m tests.benchmarks.service_load

# The peers' environments, then our decisions and speed beside theirs; both need ../shared/data.
peers: .venv/.dev
	$(BIN)/python tests/benchmarks/peers/make_env.py

fidelity: .venv/.dev
	$(BIN)/python -m tests.benchmarks.fidelity --write

quality: .venv/.dev
	$(BIN)/python -m tests.benchmarks.quality --write
	$(BIN)/python -m tests.benchmarks.language_limits --write

dedup: .venv/.dev
	$(BIN)/python -m tests.benchmarks.dedup_peers --write

# Scorers with models: what they are worth on labels never trained on, and their speed.
scorers: .venv/.dev
	$(BIN)/python -m tests.benchmarks.quality_scorers --write
	$(BIN)/python -m tests.benchmarks.fasttext_speed --write
	$(BIN)/python -m tests.benchmarks.lm_loss_speed --write
	$(BIN)/python -m tests.benchmarks.embed_speed --write
	$(BIN)/python -m tests.benchmarks.clustering --write
	$(BIN)/python -m tests.benchmarks.semantic_dedup --write

speed: .venv/.dev
	$(BIN)/python -m tests.benchmarks.speed_filters --write

# Bytecode is compiled at installation: every worker that starts imports from it (measured: 3 times faster). So are the kernels.
$(BIN)/uv:
	$(PYTHON) -c 'import sys; sys.exit("curate needs Python 3.11 or later") if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv

.venv/.core: $(BIN)/uv pyproject.toml
	$(INSTALL) --editable .
	$(BIN)/python -m curate.kernels
	touch $@

.venv/.serve: .venv/.core
	$(INSTALL) --editable '.[serve]'
	touch $@

.venv/.dev: .venv/.core
	$(INSTALL) --editable '.[dev]' --constraint tests/constraints.txt
	touch $@

clean:
	rm -rf .venv workspace corpora service-demo .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
