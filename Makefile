# Two commands set everything up on a fresh machine: `make demo` and `make test`. Each creates .venv if it is missing.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# On a machine whose index holds only CUDA builds of torch: make test TORCH_INDEX="--index-url https://download.pytorch.org/whl/cpu"
TORCH_INDEX ?=
# Test files run side by side, this many at once (each takes up to 4 GiB); one file stays in one process. A crash ends
# the run: pytest-xdist may wait for ever after it has replaced a worker (its issue 1378).
JOBS ?= 2
# At the tests' sizes XLA's optimiser takes about twice the time that everything else takes; and what one file or run has
# compiled, however small, the others need not.
COMPILED := JAX_COMPILATION_CACHE_DIR="$(CURDIR)/.pytest_cache/xla" JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS=0 JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES=-1
TESTED := $(COMPILED) XLA_FLAGS="$(XLA_FLAGS) --xla_backend_optimization_level=0" $(BIN)/python -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder --max-worker-restart 0

.PHONY: demo test test-slow test-all lint clean gpu-check
.DEFAULT_GOAL := test

$(VENV)/.core: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable .
	touch $@

$(VENV)/.test: $(VENV)/.core
	$(BIN)/python -m pip install --quiet torch==2.13.0 $(TORCH_INDEX)
	$(BIN)/python -m pip install --quiet --editable ".[dev]"
	# MediaPipe brings an OpenCV that needs libGL and hides the headless one; put that back.
	$(BIN)/python -m pip install --quiet --force-reinstall --no-deps opencv-python-headless
	touch $@

demo: $(VENV)/.core
	$(BIN)/python -m jax_talker.demo

test: $(VENV)/.test
	$(TESTED)

test-slow: $(VENV)/.test
	$(TESTED) -m slow --durations=25

test-all: test test-slow

# On a machine with a GPU, with whatever is installed there (no network is needed, nothing is installed): the rasteriser's
# GPU tests, and the bench against gsplat and splax (each where it is installed) on all scenes.
# Results: benchmarks/results/<card>.json
GPU_PYTHON ?= $(if $(wildcard $(BIN)/python),$(BIN)/python,$(PYTHON))
gpu-check:
	$(GPU_PYTHON) -c "import jax, sys; sys.exit(None if jax.default_backend() == 'gpu' else 'gpu-check: JAX sees no GPU (pip install -e .[gpu])')"
	$(GPU_PYTHON) -m pytest tests/kernels -m "gpu or not slow"
	$(GPU_PYTHON) -m benchmarks splats --device gpu --of pallas_triton,xla,gsplat,splax --batch 1,8 --json benchmarks/results/

lint: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright

clean:
	rm -rf $(VENV) runs build *.egg-info
