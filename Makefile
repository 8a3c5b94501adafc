# Every target needs only git, make and a Python of 3.10 or newer; it installs the rest into .venv.
PYTHON ?= python3
BIN := .venv/bin
# Two processes, each with whole files, so that a file's models are built once; the longest files first (conftest.py).
TWO := -n 2 --dist loadfile --no-loadscope-reorder

.PHONY: setup demo test test-torch test-export lint notebooks lineage bands docs

setup: .venv/installed

.venv/installed: requirements.txt setup.cfg setup.py pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.10 or newer is needed: make PYTHON=python3.11 ...") if sys.version_info < (3, 10) else 0'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet -e '.[tensorflow,test]'
	@touch $@

# Train on the generated set, evaluate on images the training never saw, draw what is found.
demo: setup
	$(BIN)/python samples/coco.py train
	$(BIN)/python samples/coco.py evaluate
	$(BIN)/python samples/coco.py detect

# All tests on TensorFlow, then those of the graph on JAX.
test: setup
	$(BIN)/python -m pytest $(TWO) tests
	KERAS_BACKEND=jax $(BIN)/python -m pytest $(TWO) tests -m graph

# Those of the graph and one whole run on PyTorch, which is installed for it. Without a GPU its CPU build does, a tenth of
# the download: .venv/bin/pip install torch --index-url https://download.pytorch.org/whl/cpu
test-torch: .venv/torch-installed
	KERAS_BACKEND=torch $(BIN)/python -m pytest $(TWO) tests -m graph

.venv/torch-installed: .venv/installed
	$(BIN)/python -m pip install --quiet torch
	@touch $@

# Those of exported files in every runtime and of detection on Ray, which are installed for it: 880 MB.
test-export: .venv/export-installed
	$(BIN)/python -m pytest $(TWO) tests/export tests/evaluate/test_many.py tests/samples/test_exporting.py

.venv/export-installed: .venv/installed
	$(BIN)/python -m pip install --quiet -e '.[tensorflow,test,export,ray]'
	@touch $@

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# The notebooks of samples/, run from top to bottom and saved with what they show.
notebooks: setup
	$(BIN)/python samples/run_notebooks.py

# Every detector from R-CNN on, trained for the same minutes and measured: benchmarks/lineage.md, within 90 minutes.
lineage: setup
	$(BIN)/python benchmarks/lineage.py

# A minute of training of each sample, held to what it found before; SETS="--balloon DIR --nuclei DIR" for those on photos.
bands: setup
	$(BIN)/python benchmarks/bands.py $(SETS)

# The documentation, into site/; open site/index.html.
docs: .venv/docs-installed
	$(BIN)/mkdocs build --strict

.venv/docs-installed: .venv/installed
	$(BIN)/python -m pip install --quiet -e '.[tensorflow,docs]'
	@touch $@
