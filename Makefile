# Everything that people and CI run. Each target makes what it needs: a virtual environment in .venv.
PYTHON ?= python3
BIN := .venv/bin
RUN := $(BIN)/python -m reconciler
RESULTS := .reconciler/results
# One more than there are cores: many tests wait for other processes.
WORKERS = $(shell $(PYTHON) -c "import os; print((os.cpu_count() or 1) + 1)")

.PHONY: help demo test acceptance browser screenshots check cover schemas clean-demo invariants torture torture-shared kills soak \
	soak-loop torture-served test-slurm demo-slurm slurm-cluster bench bench-quick profiles bench-service conformance action lock

help:  ## Show the targets
	@grep -hE '^[a-z-]+:.*##' Makefile | sed -E 's/:.*## /\t/' | expand -t 14

.venv/installed: pyproject.toml
	@echo 'Making a virtual environment in .venv; the first time this takes a minute.'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'
	$(BIN)/python -m pip install --quiet --editable '.[service]'
	@touch $@

.venv/developing: .venv/installed
	$(BIN)/python -m pip install --quiet --group dev
	@touch $@

# Each step of the demo is shown as a user would type it.
step = @printf '\n\033[1m$$ reconciler %s\033[0m\n' "$(1)"; $(RUN) $(1)

demo: .venv/installed  ## Run the main job: the specs in specs/, on the embedded service, on this machine
	$(call step,validate)
	$(call step,apply --yes --wait --verbose)
	@$(RUN) status --no-refresh --format json \
		| $(BIN)/python -c 'import json, sys; [print(job["name"]) for job in json.load(sys.stdin)["jobs"]]' \
		| while IFS= read -r name; do \
			printf '\033[1m$$ reconciler outputs %s --download %s\033[0m\n' "$$name" "$(RESULTS)/$$name"; \
			$(RUN) --quiet outputs "$$name" --download "$(RESULTS)/$$name" > /dev/null || exit 1; \
		done
	@printf '\n\033[1m$$ python specs/score.py %s\033[0m\n' "$(RESULTS)"
	@$(BIN)/python specs/score.py "$(RESULTS)"
	@printf '\nThe result files are in %s/, the record is in .reconciler/state.json.\n' "$(RESULTS)"
	$(call step,apply --yes)
	@printf '\nA changed spec would be one more line in that plan. "make clean-demo" starts over.\n'

clean-demo:  ## Forget what the demo did
	rm -rf .reconciler

test: .venv/developing  ## Run the quick tests
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile

CHROMIUM = @command -v chromium >/dev/null || (apt-get update -qq && apt-get install -y -qq chromium)

action: .venv/developing  ## The GitHub Action, the GitLab template and the pre-commit hook, step by step (minutes)
	$(BIN)/python -m pytest -n $(WORKERS) -m 'slow or not slow' tests/acceptance/test_action.py tests/acceptance/test_gitlab.py \
		tests/acceptance/test_installed.py

acceptance: .venv/developing  ## The commands as users run them: golden transcripts, examples of docs/, signals, loops (minutes)
	$(BIN)/python -m pytest -n $(WORKERS) -m 'slow or not slow' tests/acceptance --ignore tests/acceptance/test_action.py \
		--ignore tests/acceptance/test_gitlab.py --ignore tests/acceptance/test_installed.py \
		--ignore tests/acceptance/test_soak_loop.py

browser: .venv/developing  ## The page of the service, and the HTML report, in a real Chromium
	$(CHROMIUM)
	$(BIN)/python -m pytest -m browser tests/service/test_page_browser.py tests/unit/test_report_browser.py

screenshots: .venv/developing  ## Pictures of that page, with example jobs, in .reconciler/screenshots
	$(CHROMIUM)
	$(BIN)/python tests/service/screenshots.py

invariants: .venv/developing  ## Kill the client at every point, on every kind of platform, and the loop (minutes)
	$(BIN)/python -m pytest -n $(WORKERS) tests/invariants tests/acceptance/test_soak_loop.py -m slow

torture: .venv/developing  ## Ten thousand kills at random points, with faults (half an hour)
	$(BIN)/python tests/invariants/torture.py --kills 10000

torture-shared: .venv/developing  ## Three runners at once on every shared state, killed and stopped (ROUNDS=, SEED=)
	$(BIN)/python tests/invariants/torture_shared.py --rounds $(or $(ROUNDS),300) $(if $(SEED),--seed $(SEED))

torture-served: .venv/developing  ## Three runners at once on a real service that is killed, too (ROUNDS=, SEED=, ENGINE=slurm)
	$(BIN)/python tests/invariants/torture_served.py --rounds $(or $(ROUNDS),20) $(if $(SEED),--seed $(SEED)) \
		--engine $(or $(ENGINE),local)

SLURM = @for each in slurmctld slurmd sbatch munged; do \
		PATH="$$PATH:/usr/sbin" command -v $$each >/dev/null || lacking=1; \
	done; [ -z "$$lacking" ] || (apt-get update -qq && DEBIAN_FRONTEND=noninteractive \
		apt-get install -y -qq --no-install-recommends slurmctld slurmd slurm-client munge >/dev/null)

test-slurm: .venv/developing  ## The service on a Slurm cluster of two nodes, which is installed if need be, with all its faults (minutes)
	$(SLURM)
	$(BIN)/python tests/service/demo_slurm.py
	$(BIN)/python -m pytest -n 4 --dist loadfile -m slurm tests/service tests/invariants/test_served.py

demo-slurm: .venv/installed  ## The demo, unchanged, on such a cluster
	$(SLURM)
	$(BIN)/python tests/service/demo_slurm.py

slurm-cluster: .venv/installed  ## Start such a cluster, to try things out; Ctrl-C stops it
	$(SLURM)
	$(BIN)/python tests/service/cluster.py .reconciler/cluster

kills: .venv/developing  ## Kill the service at every point, its workers, and both (ten minutes)
	$(BIN)/python -m pytest -n auto tests/service/test_service_kills.py -m slow

soak: .venv/developing  ## A simulated hour of a busy service that is killed again and again (minutes; HOURS=, SEED=)
	$(BIN)/python tests/service/soak.py --hours $(or $(HOURS),1) $(if $(SEED),--seed $(SEED))

soak-loop: .venv/developing  ## A loop that follows a busy repository, killed as its service is (MINUTES=, SEED=)
	$(BIN)/python tests/acceptance/soak_loop.py --minutes $(or $(MINUTES),10) $(if $(SEED),--seed $(SEED))

bench: .venv/developing  ## Every bar of performance with what is reached, beside other tools (twenty minutes)
	$(BIN)/python -m benchmarks --results benchmarks/results

bench-quick: .venv/developing  ## The same with fewer specs (minutes); nothing is written
	$(BIN)/python -m benchmarks --size quick

profiles: .venv/developing  ## Where the time goes on the three hottest paths, as pages in .bench/profiles
	$(BIN)/python -m benchmarks.profiles

bench-service: .venv/developing  ## What a request to the service costs, and whether it grows with the queue (minutes)
	$(BIN)/python -m benchmarks.service

cover: .venv/developing  ## Run the quick tests and show what they do not reach
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --cov --cov-report term

check: .venv/developing  ## Run the linters and the type checker
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	@for folder in reconciler/service/pipelines/*/; do \
		(cd "$$folder" && "$(CURDIR)/$(BIN)/mypy" --config-file "$(CURDIR)/pyproject.toml" *.py) || exit 1; done
	$(BIN)/lint-imports
	$(BIN)/zizmor --offline --no-progress --persona pedantic --quiet action.yml
	$(BIN)/check-jsonschema --quiet --builtin-schema vendor.github-actions action.yml

schemas: .venv/installed  ## Write the committed schemas and pipeline snapshots anew
	@mkdir -p schemas/pipelines
	for name in spec config plan state explanation; do $(RUN) schema $$name > schemas/$$name.schema.json; done
	$(RUN) schema service > schemas/service.openapi.json
	$(RUN) --endpoint local pipelines pull

lock: .venv/developing  ## Write requirements.lock anew: what the container is made of, with hashes (UPGRADE=--upgrade for newer versions)
	CUSTOM_COMPILE_COMMAND='make lock' $(BIN)/pip-compile --quiet --extra service --all-build-deps --generate-hashes --allow-unsafe \
		--strip-extras --no-emit-index-url --no-emit-find-links --no-emit-trusted-host --no-emit-options $(UPGRADE) \
		--output-file requirements.lock pyproject.toml

conformance: .venv/developing  ## The service against its OpenAPI document, bad clients, full disks, a busy day (minutes)
	$(BIN)/python -m pytest -m 'slow and not browser' tests/service tests/pipelines \
		tests/unit/test_benchmarks.py --ignore tests/service/test_service_kills.py
