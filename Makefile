# `make all` reproduces everything at the default scale; `make all SCALE=smoke` at another one.
# Every target first brings .venv in line with requirements.lock.

.DEFAULT_GOAL := all
FORCE:
.PHONY: FORCE all nasbench truths official test test-thorough test-cluster faults audit regress bench bench-check lint lock site

PYTHON ?= python3
SCALE ?=

# The environment is made by the system's Python; everything else sees .venv first.
system_path := $(PATH)
export PATH := $(CURDIR)/.venv/bin:$(PATH)

# Every job and many tests start Python anew: that no file of ours is compiled each time is worth it.
export PYTHONDONTWRITEBYTECODE :=

is_supported := import sys; sys.exit(sys.version_info < (3, 11))
installed := .venv/.installed

snakemake = .venv/bin/snakemake $@ $(if $(SCALE),--config scale=$(SCALE))

# Snakemake's targets, each with the runs that it needs: `make table3 SCALE=smoke`.
all nasbench truths official: $(installed)
	$(snakemake)
table%: $(installed) FORCE
	$(snakemake)
figure%: $(installed) FORCE
	$(snakemake)

# A file stays in one process, so what its tests share is made once; tests/conftest.py orders them.
test: $(installed)
	.venv/bin/pytest -q -n auto --dist loadfile --no-loadscope-reorder

# The same with what repeats these tests at length.
test-thorough: $(installed)
	.venv/bin/pytest -q -n auto --dist loadfile --no-loadscope-reorder -m "not faults"

# Kills, damage, full disks and the like, often; writes the table of docs/reliability.md.
KILLS ?= 50
faults: $(installed)
	.venv/bin/pytest -q tests/faults tests/contrib -m "" --kills $(KILLS) --hypothesis-profile thorough \
		--reliability docs/reliability.md

# Are there known vulnerabilities in the locked packages? (Needs uv, and a network.)
audit:
	@said="$$(uvx -q pip-audit --strict --requirement requirements.lock --no-deps --disable-pip \
		--progress-spinner off 2>&1)" && echo "No known vulnerability in requirements.lock." || { \
	case "$$said" in \
		*"known vulnerabilit"*) echo "$$said" ;; \
		*) echo "make audit: no advisories can be had from here, so nothing was audited" ;; \
	esac; exit 1; }

# The workflow through a SLURM of one node, which is installed and removed again (Debian, as root).
test-cluster: $(installed)
	.venv/bin/python -m ensurepip
	.venv/bin/python -m pip install --quiet -c requirements.lock -e '.[cluster]'
	.venv/bin/pytest -q --cluster tests/cluster

# The study on the small benchmark against its stored intervals: is the method as good as it was?
regress: $(installed)
	.venv/bin/pdnas regress

# Speed and memory against what people would use instead (15 minutes at most on two cores).
bench: $(installed)
	.venv/bin/python -m benchmarks

# The quick rows anew: is a ratio much worse than the stored one?
bench-check: $(installed)
	.venv/bin/python -m benchmarks --check

lint: $(installed)
	.venv/bin/ruff check
	.venv/bin/ruff format --check
	.venv/bin/mypy

# The docs site, in build/site. A link, anchor or name in a docstring that leads nowhere fails.
site: .venv/.docs
	rm -rf build/site
	.venv/bin/sphinx-build --fail-on-warning --nitpicky --quiet --fresh-env -c docs/site . build/site

.venv/.docs: $(installed)
	.venv/bin/python -m ensurepip
	.venv/bin/python -m pip install --quiet -c requirements.lock -e '.[docs]'
	touch $@

# Writes the lock anew, keeping the versions that still fit.
lock:
	uv pip compile pyproject.toml --extra dev --universal --python-version 3.11 --no-header \
		-o requirements.lock

# .installing marks an install under way. An install that was cut short leaves it behind, and the
# next one starts from nothing. It turns into the stamp at the end, with the time of the beginning,
# so a lock that changes during an install is noticed. Bytecode, which pip always writes, is worth
# half a minute: where Python may not write it later (PYTHONDONTWRITEBYTECODE), every command would
# start by compiling what it imports, which takes longer than importing it.
$(installed): requirements.lock pyproject.toml
	@set -eu; export PATH="$(system_path)"; \
	if [ -e .venv/.installing ] || ! .venv/bin/python -c '$(is_supported)' 2>/dev/null; then \
		if ! "$(PYTHON)" -c '$(is_supported)' 2>/dev/null; then \
			echo "pdnas needs Python 3.11 or newer, and '$(PYTHON)' is older or absent." \
				"Name another one: make PYTHON=python3.12" >&2; \
			exit 1; \
		fi; \
		base="$$("$(PYTHON)" -c 'import sys; print(sys._base_executable)')"; \
		rm -rf .venv; \
		if command -v uv >/dev/null; then \
			uv venv --python "$$base" .venv; \
		else \
			"$$base" -m venv .venv; \
		fi; \
	fi; \
	rm -f $@; \
	touch .venv/.installing; \
	if command -v uv >/dev/null; then \
		uv pip install --python .venv/bin/python --compile-bytecode --no-deps \
			-r requirements.lock; \
		uv pip install --python .venv/bin/python --no-deps -e .; \
	else \
		.venv/bin/python -m pip --version >/dev/null 2>&1 || .venv/bin/python -m ensurepip; \
		.venv/bin/python -m pip install --no-deps -r requirements.lock; \
		.venv/bin/python -m pip install --no-deps -e .; \
	fi; \
	mv .venv/.installing $@
