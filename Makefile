# Everything from a fresh clone; `make` alone lists what there is.
#
# All of it lives in .venv, in the versions of constraints.txt. Empty files in it (.created, .runtime,
# .dev, ...) remember what was done: a second run installs nothing, and a change of pyproject.toml or
# constraints.txt installs again.

BIN := .venv/bin
INSTALL := $(BIN)/python -m pip install -qq --disable-pip-version-check -c constraints.txt
# The build backend is pinned too, which only a pip of our own version is sure to understand.
INSTALL_HERE := $(INSTALL) --build-constraint constraints.txt --editable .

# Each is run before it is chosen: a pyenv shim may have no Python behind it, and Debian's python3
# has no ensurepip without python3-venv. PYENV_VERSION wakes the pyenv versions that .python-version
# does not select; without pyenv it means nothing.
USABLE := import sys, ensurepip, venv; sys.exit(sys.version_info < (3, 12))
CANDIDATES := $(PYTHON) python python3 python3.13 python3.14 python3.12 /usr/bin/python3
NO_PYTHON := No Python 3.12 or newer with its venv module was found: install Python 3.13 \
(with pyenv, or on Debian 13 or newer with: apt-get install python3-venv) \
or name one with: make PYTHON=/path/to/python

.PHONY: help demo test test-s3 test-chaos s3-server test-viewers viewer-tools fuzz fuzz-kernels gpu
.PHONY: lint bench bench-steps docs verdicts format constraints clean
.DELETE_ON_ERROR:

help:
	@echo 'make demo         convert the sample of this repository and open the result'
	@echo 'make test         all tests, on the CPU'
	@echo 'make test-s3      the tests on a real S3 server, with their figures (Debian: make s3-server)'
	@echo 'make test-chaos   hundreds of kills, 1,000 faults of storage, a node cut off (46 minutes)'
	@echo 'make s3-server    install that server, Ceph, with apt-get (as root)'
	@echo 'make test-viewers every viewer on every way of acquiring, looked at (Debian: make viewer-tools)'
	@echo 'make viewer-tools install Chromium and a screen without a monitor, with apt-get (as root)'
	@echo 'make fuzz-kernels the kernels for GPUs, compiled for the CPU, with the full numbers (minutes)'
	@echo 'make gpu          the tests and measurements that need an NVIDIA GPU, with a report'
	@echo 'make lint         ruff, mypy, import rules, spelling'
	@echo 'make bench        the comparison with other routes, written to docs/benchmarks.md (half an hour)'
	@echo 'make bench-steps  the benchmarks of single steps'
	@echo 'make fuzz         mutated frames of every codec family, 100,000 each (minutes)'
	@echo 'make docs         the documentation as a web site, into build/site'
	@echo 'make verdicts     write docs/verdicts.md anew, from all real data that is here'
	@echo 'make format       let ruff rewrite the code'
	@echo 'make constraints  choose the newest versions anew and write constraints.txt'
	@echo 'make clean        remove .venv and all that was built'

demo: .venv/.runtime
	$(BIN)/python -m sansfilm demo

test: .venv/.dev
	$(BIN)/python -m pytest

# The server is started and stopped by the tests; they are skipped, with the reason, without it.
test-s3: .venv/.dev
	SANSFILM_DAMAGES=1000 SANSFILM_OUTAGE_S=6 $(BIN)/python -m pytest tests/s3 tests/test_upkeep.py

# As root also with nodes in networks of their own. -k chooses a part: make test-chaos CHAOS='-k kills'
test-chaos: .venv/.dev
	SANSFILM_WORKER_KILLS=200 SANSFILM_DRIVER_KILLS=50 SANSFILM_VOLUME_KILLS=12 SANSFILM_FAULTS=1000 SANSFILM_OUTAGE_S=6 \
	    SANSFILM_TWO_NODES=1 $(BIN)/python -m pytest tests/chaos $(CHAOS) \
	    --timeout 1800 -o faulthandler_timeout=1700

s3-server:
	apt-get update && apt-get install -y --no-install-recommends radosgw ceph-mon ceph-osd

# Chromium draws the pages, Xvfb is the screen of napari's windows; skipped, with the reason, without.
test-viewers: .venv/.viewers
	SANSFILM_VIEWERS=all $(BIN)/python -m pytest tests/view/test_viewers_*.py tests/view/test_sliders.py

viewer-tools:
	apt-get update && apt-get install -y --no-install-recommends chromium xvfb xauth libegl1 \
	    libgl1-mesa-dri libxkbcommon-x11-0 libxcb-cursor0 libxcb-icccm4 libxcb-image0 \
	    libxcb-keysyms1 libxcb-render-util0 libxcb-shape0 libxcb-xinerama0

fuzz-kernels: .venv/.dev
	SANSFILM_FULL_FUZZ=1 $(BIN)/python -m pytest --timeout 3600 --durations 5 \
	    tests/kernels/test_jpegls.py tests/kernels/test_rle.py \
	    tests/kernels/test_cuda_sources.py tests/kernels/test_array_kernels.py

# The driver is asked first, since what the GPU needs is large.
gpu: .venv/.created
	@$(BIN)/python benchmarks/gpu_report.py --check
	@$(MAKE) --no-print-directory .venv/.gpu
	$(BIN)/python benchmarks/gpu_report.py

lint: .venv/.dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/codespell

bench: .venv/.bench
	$(BIN)/python -m benchmarks compare
	$(BIN)/python -m benchmarks measure
	$(BIN)/python -m benchmarks report

bench-steps: .venv/.dev
	$(BIN)/python -m pytest benchmarks --benchmark-enable --benchmark-only

FUZZ ?= 100000

fuzz: .venv/.dev
	SANSFILM_FUZZ=$(FUZZ) $(BIN)/python -m pytest tests/decode/test_fuzz.py

# Nothing is fetched; a warning is an error. The tables that the code decides are made first.
docs: .venv/.docs
	$(BIN)/python docs/make_tables.py
	$(BIN)/python -m sphinx --fail-on-warning docs build/site

verdicts: .venv/.runtime
	$(BIN)/python docs/make_verdicts.py

format: .venv/.dev
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

clean:
	rm -rf .venv build dist docs/notebooks out/demo .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# --------------------------------------------------------------------------------------- set-up

.venv/.created:
	@for python in $(CANDIDATES); do \
	    case $$python in python3.*) export PYENV_VERSION=$${python#python};; esac; \
	    if "$$python" -c '$(USABLE)' >/dev/null 2>&1; then \
	        echo "Making .venv with $$("$$python" --version)"; \
	        "$$python" -m venv --clear .venv && touch $@; \
	        exit; \
	    fi; \
	done; \
	echo '$(NO_PYTHON)' >&2; \
	exit 1

# First the pinned pip, since an older one knows no dependency groups.
.venv/.runtime: .venv/.created pyproject.toml constraints.txt
	@echo 'Installing what sansfilm needs (a minute or two)'
	@$(INSTALL) pip
	@$(INSTALL_HERE)
	@touch $@

.venv/.dev: .venv/.runtime
	@echo 'Installing what its tests need (a minute or two)'
	@$(INSTALL_HERE) --group test --group lint
	@touch $@

.venv/.docs: .venv/.dev
	@echo 'Installing what the documentation needs (a minute or two)'
	@$(INSTALL) --group docs
	@touch $@

.venv/.bench: .venv/.dev
	@echo 'Installing what sansfilm is compared with (a minute or two)'
	@$(INSTALL_HERE) --group bench
	@touch $@

.venv/.viewers: .venv/.dev
	@echo 'Installing napari and a Qt (a minute or two)'
	@$(INSTALL_HERE)'[napari]' --group viewers
	@touch $@

.venv/.gpu: .venv/.dev
	@echo 'Installing what a GPU needs (a minute or two)'
	@$(INSTALL) --editable '.[gpu]' --build-constraint constraints.txt
	@touch $@

# ---------------------------------------------------------------------------------------- pinning

# Resolves everything at once and installs nothing. Try the result on the oldest Python as well.
# pip, hatchling and editables are what an editable installation needs besides.
constraints: .venv/.created
	@mkdir -p build
	@$(BIN)/python -m pip install -qq --upgrade pip
	$(BIN)/python -m pip install -qq --dry-run --ignore-installed --report build/resolved.json \
	    --editable '.[gpu,metrics,napari,neuroglancer,nibabel,notebook,s3,sitk,sql]' --group test \
	    --group lint --group docs --group bench --group viewers pip hatchling editables
	@grep '^#' constraints.txt >build/constraints.txt
	@$(BIN)/python -c 'import json; \
	    found = [item["metadata"] for item in json.load(open("build/resolved.json"))["install"]]; \
	    pins = {item["name"].lower().replace("_", "-"): item["version"] for item in found}; \
	    del pins["sansfilm"]; \
	    print(*(f"{name}=={pins[name]}" for name in sorted(pins)), sep="\n")' >>build/constraints.txt
	@mv build/constraints.txt constraints.txt
