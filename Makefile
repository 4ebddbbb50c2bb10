# `make run` and `make test` do all the set-up themselves; a second call finds it done.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# One folder of images per class, such as CIFAR-10's, for the benchmark beside other libraries.
DATA ?= data/01_raw/cifar10-jpeg
# The experiment whose best model `make serve` serves.
MODEL ?= bidirectional
PARALLEL := --numprocesses=auto --maxprocesses=4 --dist=worksteal

export DO_NOT_TRACK := true
export MLFLOW_DISABLE_TELEMETRY := true

.PHONY: run heterogeneous studies full test lint types contracts pytest benchmark gpu-benchmark test-slow mlflow serve viz clean

run: $(VENV)/installed  ## the whole experiment on embedded data, one to three minutes
	$(BIN)/kedro run --pipelines=bidirectional

heterogeneous: $(VENV)/installed  ## the second experiment on four embedded domains, two to four minutes
	$(BIN)/kedro run --pipelines=heterogeneous

studies: $(VENV)/installed  ## four papers reproduced, each on embedded data, about six minutes in all
	for study in $$($(BIN)/python -c "from knowledge_transfer.experiment.config import STUDIES; print(*STUDIES)"); do \
		$(BIN)/kedro run --pipelines=$$study || exit 1; done

full: $(VENV)/installed  ## the published experiment: CIFAR-10, 50 epochs; a GPU is advised
	$(BIN)/kedro run --pipelines=bidirectional --env=full

test: lint types contracts pytest  ## what must hold before a change lands, about three minutes on two cores

lint: $(VENV)/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/dev
	$(BIN)/mypy

contracts: $(VENV)/dev
	$(BIN)/lint-imports

pytest: $(VENV)/dev
	$(BIN)/python -m pytest -m "not slow" $(PARALLEL)

test-slow: $(VENV)/dev  ## whole runs side by side, interrupted or on a Ray cluster; about five minutes
	$(BIN)/python -m pytest -m slow $(PARALLEL)

benchmark: $(VENV)/benchmark  ## speed beside other libraries and against the machine's limit; about an hour and a half
	$(BIN)/python -m benchmarks.speed --device cpu --only machine --only limits --minutes 60 --out data/08_reporting/speed.json
	$(BIN)/python -m benchmarks.speed.peers --data $(DATA)
	$(BIN)/python -m benchmarks.scaling.growth
	$(BIN)/python -m benchmarks.scaling.larger_than_memory
	$(BIN)/python -m benchmarks.scaling.runner_overhead
	$(BIN)/python -m benchmarks.scaling.stacking
	$(BIN)/python -m benchmarks.experiment.start_up

gpu-benchmark: $(VENV)/installed  ## speed and the whole experiment on one GPU, CIFAR-10 in data/01_raw; under 8 minutes
	$(BIN)/python -c "from torchvision.datasets import CIFAR10; CIFAR10('data/01_raw', download=True)"
	$(BIN)/python -m benchmarks.speed --data data/01_raw --out docs/gpu.json

mlflow: $(VENV)/installed  ## compare runs at http://127.0.0.1:5000
	MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false $(BIN)/mlflow ui --host 127.0.0.1 --port 5000 --workers 1 \
		--backend-store-uri "$${MLFLOW_TRACKING_URI:-sqlite:///mlflow.db}"

serve: $(VENV)/installed  ## the best model of the last run answers at http://127.0.0.1:5001/invocations
	PATH="$(CURDIR)/$(BIN):$$PATH" MLFLOW_TRACKING_URI="$${MLFLOW_TRACKING_URI:-sqlite:///mlflow.db}" $(BIN)/mlflow models serve \
		--model-uri "models:/$(MODEL)@champion" --host 127.0.0.1 --port 5001 --env-manager local

viz: $(VENV)/installed  ## the pipeline as a picture at http://127.0.0.1:4141
	$(BIN)/kedro viz run --host 127.0.0.1 --port 4141 --no-browser

clean:  ## remove what runs have made, not what was downloaded
	git clean -fdX data/0[2-8]* mlflow.db mlartifacts

# What running needs; again only when the requirements change. A torch that is there already is kept.
$(VENV)/installed: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable .
	touch $@

# What tests and benchmarks need besides.
$(VENV)/dev $(VENV)/benchmark: $(VENV)/%: $(VENV)/installed
	$(BIN)/python -m pip install --quiet --editable ".[$*]"
	touch $@
