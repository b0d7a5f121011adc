# From a fresh clone to speech:  make speak
# From a fresh clone to tests:   make test
# From a fresh clone to a server for speech clients:   make serve
#
# All make their own .venv and install what the machine can use: requirements.txt where an NVIDIA GPU answers, else
# requirements-cpu.txt. They install again when those files change.

PYTHON ?= python3
VENV ?= .venv
VENV4 ?= .venv4
ARGS ?=
PROCESSES ?= logical

WITH_GPU := $(shell nvidia-smi >/dev/null 2>&1 && echo yes)
REQUIREMENTS := $(if $(WITH_GPU),requirements.txt,requirements-cpu.txt)
NEEDS := $(if $(WITH_GPU),GPU found: about 7 GB and 4 to 7 minutes,no GPU found: about 2 GB and 2 to 3 minutes)
LINTED := orpheus tests benchmarks recipes deploy docs inference.py orpheus_sft_unsloth.py

# Each stamp says that its file is installed.
RUNTIME := $(VENV)/.installed-$(REQUIREMENTS)
DEV := $(VENV)/.installed-requirements-dev.txt
EVAL := $(VENV)/.installed-requirements-eval.txt
SERVE := $(VENV)/.installed-requirements-serve.txt
SERVE_DEV := $(VENV)/.installed-requirements-serve-dev.txt
RAY := $(VENV)/.installed-requirements-ray.txt
KERNELS := $(VENV)/.installed-requirements-kernels.txt
DEPLOY := $(VENV)/.installed-requirements-deploy.txt
LLAMA := $(VENV)/.installed-requirements-llama.txt
OLD := $(VENV4)/.installed-requirements-transformers4.txt

.PHONY: help speak serve test test-serve test-browsers test-engines test-transformers4 test-ray test-kernels kills evaluate bench lint lint-deploy format clean

help:
	@echo "make speak    speaks five examples into generated_audio/    make speak ARGS=\"'Good morning.' --voice theo\""
	@echo "make serve    serves speech at http://127.0.0.1:8080    make serve ARGS=\"--max-streams 8\""
	@echo 'make test     runs the tests                                make test ARGS="-k codec"'
	@echo 'make test-engines    speaks through llama.cpp as well, which it installs'
	@echo 'make test-serve    talks to the server as other programs do, whose clients it installs'
	@echo 'make test-browsers    hears the page at / in Chromium and Firefox, those that are installed'
	@echo 'make test-transformers4    loads a merged model and an adapter with transformers 4 as well, in $(VENV4)'
	@echo 'make test-ray works and serves on two Ray workers, which are killed; installs Ray'
	@echo 'make test-kernels    runs the GPU kernels in an interpreter and compiles them for five kinds of card; installs Triton'
	@echo 'make kills    kills training at 30 random moments, goes on, and compares adapters and your files; trains twice at once, and as two ranks'
	@echo 'make bench    prints what is measured on this machine, peers beside us; JSON with everything last'
	@echo 'make evaluate measures the voice                             make evaluate ARGS="--model demo --limit 20"'
	@echo 'make lint-deploy    checks deploy/ with the linters of its formats'
	@echo 'make lint     checks style                                  make format repairs it'
	@echo 'make clean    removes $(VENV), $(VENV4) and caches; keeps generated_audio/, lora_model/ and outputs/'
	@echo 'make speak PYTHON=python3.12 takes another Python than python3'

speak: $(RUNTIME)
	@$(VENV)/bin/python inference.py $(ARGS)

serve: $(SERVE)
	@$(VENV)/bin/python -m orpheus.server $(ARGS)

test: $(DEV)
	@$(VENV)/bin/python -m pytest -n $(PROCESSES) --maxprocesses 8 --dist worksteal $(ARGS)

test-engines: $(DEV) $(LLAMA)
	@$(VENV)/bin/python -m pytest -m llama tests/export tests/engines tests/benchmarks $(ARGS)

test-serve: $(DEV) $(SERVE_DEV)
	@$(VENV)/bin/python -m pytest -m serve tests/server $(ARGS)

test-browsers: $(DEV)
	@$(VENV)/bin/python -m pytest -m browser tests/server $(ARGS)

test-transformers4: $(DEV) $(OLD)
	@TRANSFORMERS4_PYTHON=$(abspath $(VENV4))/bin/python $(VENV)/bin/python -m pytest -s -m transformers4 tests/export $(ARGS)

test-ray: $(DEV) $(RAY)
	@$(VENV)/bin/python -m pytest -m ray -W ignore::pytest.PytestUnraisableExceptionWarning tests/prepare tests/deploy $(ARGS)

test-kernels: $(DEV) $(KERNELS)
	@$(VENV)/bin/python -m pytest -n $(PROCESSES) --maxprocesses 8 -m kernels tests/engines tests/codec tests/training $(ARGS)

kills: $(DEV)
	@$(VENV)/bin/python -m tests.scripts.kill_and_resume $(ARGS)

evaluate: $(EVAL)
	@$(VENV)/bin/python -m orpheus.evaluate $(ARGS)

bench: $(DEV)
	@$(VENV)/bin/python -m benchmarks.start
	@$(VENV)/bin/python -m benchmarks.decode
	@$(VENV)/bin/python -m benchmarks.encode
	@$(VENV)/bin/python -m benchmarks.streams
	@$(VENV)/bin/python -m benchmarks.generate
	@$(VENV)/bin/python -m benchmarks.train

lint: $(DEV)
	@$(VENV)/bin/ruff check $(LINTED)
	@$(VENV)/bin/ruff format --check $(LINTED)

lint-deploy: $(DEPLOY)
	@$(VENV)/bin/hadolint deploy/Dockerfile
	@$(VENV)/bin/yamllint -s -c deploy/.yamllint.yaml deploy
	@$(VENV)/bin/kubernetes-validate --strict deploy/kubernetes.yaml deploy/kubernetes-vllm.yaml
	@$(VENV)/bin/check-jsonschema --builtin-schema vendor.compose-spec deploy/compose.yaml

format: $(DEV)
	@$(VENV)/bin/ruff check --fix $(LINTED)
	@$(VENV)/bin/ruff format $(LINTED)

clean:
	rm -rf $(VENV) $(VENV4) .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/bin/python $(VENV4)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
	    { echo 'error: Python 3.10 or newer is needed; name one with PYTHON=python3.12' >&2; exit 2; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
	    { echo 'error: $(PYTHON) cannot make virtual environments. On Debian and Ubuntu: sudo apt install python3-venv' >&2; exit 2; }
	@$(PYTHON) -m venv $(@:/bin/python=)

$(RUNTIME): $(VENV)/bin/python requirements.txt requirements-cpu.txt
	@echo 'Installing $(REQUIREMENTS) into $(VENV) ($(NEEDS))'
	@$(VENV)/bin/python -m pip install -q -r $(REQUIREMENTS)
	@touch $@

$(DEV): $(RUNTIME) requirements-dev.txt requirements-serve.txt
	@echo 'Installing requirements-dev.txt into $(VENV) (about 0.2 GB)'
	@$(VENV)/bin/python -m pip install -q -c requirements.txt -r requirements-dev.txt
	@touch $@

$(SERVE): $(RUNTIME) requirements-serve.txt
	@echo 'Installing requirements-serve.txt into $(VENV) (about 20 MB)'
	@$(VENV)/bin/python -m pip install -q -c requirements.txt -r requirements-serve.txt
	@touch $@

$(SERVE_DEV): $(RUNTIME) requirements-serve.txt requirements-serve-dev.txt
	@echo 'Installing requirements-serve-dev.txt into $(VENV)'
	@$(VENV)/bin/python -m pip install -q -c requirements.txt -r requirements-serve.txt -r requirements-serve-dev.txt
	@touch $@

$(RAY): $(RUNTIME) requirements-serve.txt requirements-ray.txt
	@echo 'Installing requirements-ray.txt into $(VENV) (about 0.3 GB)'
	@$(VENV)/bin/python -m pip install -q -c requirements.txt -r requirements-serve.txt -r requirements-ray.txt
	@touch $@

$(KERNELS): $(RUNTIME) requirements-kernels.txt
	@echo 'Installing requirements-kernels.txt into $(VENV) (about 1 GB)'
	@$(VENV)/bin/python -m pip install -q -r requirements-kernels.txt
	@touch $@

$(DEPLOY): $(VENV)/bin/python requirements-deploy.txt
	@echo 'Installing requirements-deploy.txt into $(VENV) (about 30 MB)'
	@$(VENV)/bin/python -m pip install -q -r requirements-deploy.txt
	@touch $@

$(LLAMA): $(RUNTIME) requirements-llama.txt
	@echo 'Installing requirements-llama.txt into $(VENV) (about 0.1 GB)'
	@$(VENV)/bin/python -m pip install -q -c requirements.txt -r requirements-llama.txt
	@touch $@

$(OLD): $(VENV4)/bin/python requirements-transformers4.txt
	@echo 'Installing requirements-transformers4.txt into $(VENV4) (about 1.2 GB)'
	@$(VENV4)/bin/python -m pip install -q -r requirements-transformers4.txt
	@touch $@

# Resemblyzer alone without what it asks for: requirements-eval.txt has webrtcvad compiled.
$(EVAL): $(RUNTIME) requirements-eval.txt
	@echo 'Installing requirements-eval.txt into $(VENV) (about 0.6 GB)'
	@$(VENV)/bin/python -m pip install -q -c requirements.txt -r requirements-eval.txt
	@$(VENV)/bin/python -m pip install -q --no-deps Resemblyzer
	@touch $@
