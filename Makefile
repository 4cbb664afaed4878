# Two commands do everything on a new machine: `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test setup check bench audit clean

# Build a network, search one for small images, compile the winner, let it read a digit. What is done
# already is not done again. A second thread gains nothing with such small networks, and on a busy
# machine it loses much.
demo: setup
	$(BIN)/archspec build specs/smlpnet_b.yaml
	OMP_NUM_THREADS=1 $(BIN)/archspec search --space smlpnet_cifar_space --budget 3MFLOPs --trials 16 --epochs 8 --finalists 2
	$(BIN)/archspec compile --backend onnx --device cpu --batch 1:8:64 --output runs/compiled/demo
	$(BIN)/archspec run runs/compiled/demo --image docs/demo/seven.png --top 3

test: check
	$(BIN)/pytest -n 2

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

setup: $(VENV)/installed

# Installed again whenever what is to be installed has changed.
$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("archspec needs Python 3.11 or newer, found " + sys.version.split()[0] + "; name another one: make PYTHON=python3.12 …")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip -c constraints.txt
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[dev]'
	# apart, and without what it needs to run: tests ask it which operators TensorRT converts
	-$(BIN)/python -m pip install --quiet --no-deps --target $(VENV)/torch_tensorrt torch-tensorrt==2.13.0
	# apart, and without torchvision: tests register the shipped networks with it
	-$(BIN)/python -m pip install --quiet --no-deps --target $(VENV)/timm timm==1.0.31
	touch $@

# Known vulnerabilities of what is installed, by the registry's own list; not a part of `make test`,
# which needs no network. The tool stands apart from what it looks at.
audit: setup
	@$(PYTHON) -m venv $(VENV)/audit
	-@$(VENV)/audit/bin/python -m pip install --quiet --disable-pip-version-check pip-audit==2.10.1
	@rm -f $(VENV)/audit.json
	-@$(VENV)/audit/bin/pip-audit --path $(VENV)/lib/python3*/site-packages --skip-editable \
	  --progress-spinner off --format json --output $(VENV)/audit.json > /dev/null 2>&1
	@$(BIN)/python scripts/audit.py $(VENV)/audit.json

bench: setup
	$(BIN)/python -m benchmarks

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
