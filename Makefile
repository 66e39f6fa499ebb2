# Two commands do everything on a fresh Debian 12 or 13 machine with root: `make demo` and `make test`.
SHELL := /bin/bash
RUN := . tests/env.sh &&

.PHONY: help setup demo demo-down test lint units sanity soak capabilities bench bench-pages bench-webroots bench-backups bed-up bed-down

help: ## Show the commands
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

setup: ## Install what tests and demo need (Debian packages, pinned Python tools in a cache)
	@bash tests/setup.sh

demo: setup ## Deploy a real WordPress site's uploads to S3 on two webservers, and show it
	@$(RUN) python demo/demo.py up

demo-down: setup ## End the demo and remove everything it started
	@$(RUN) python demo/demo.py down

test: setup ## Run every test; ends in "N passed, N failed"
	@$(RUN) python tests/all.py

lint: setup ## Only the linters
	@$(RUN) python tests/all.py lint

units: setup ## Only the unit tests
	@$(RUN) python tests/all.py units

sanity: setup ## Only ansible-test sanity
	@$(RUN) python tests/all.py sanity

soak: setup ## Full counts: cutover and way back killed before every step, drained 200 times while files are written, 500 changes told, 10,000 faults, 500 kills and 400 races of a sync, 100,000 files there and back, 100 backups by five webservers at once
	@$(RUN) ADT_SOAK=1 python tests/all.py soak-s3 molecule-deploy molecule-asset_mount molecule-wordpress molecule-webroot_backup

capabilities: setup ## Measure what each mount tool can do, and write it into the guide
	@$(RUN) python benchmarks/capabilities.py

bench: setup ## Compare the sync engine with all that does the same work, on a running test bed, and write it into the guide
	@$(RUN) python benchmarks/sync.py

bench-pages: setup ## Compare a WordPress in a bucket with one on disk, on a running test bed, and write it into the guide
	@$(RUN) python benchmarks/pages.py

bench-webroots: setup ## Measure how soon an edit is on the other webservers, on a running test bed with three
	@$(RUN) python benchmarks/webroots.py

bench-backups: setup ## Back up and restore a webroot of 100,000 files, beside tar and rsync, on a running test bed, and write it into the guide
	@$(RUN) python benchmarks/backup.py

bed-up: setup ## Start the test bed: an S3 server, two webservers, a build machine
	@$(RUN) tests/bed/bed up

bed-down: setup ## Stop the test bed
	@$(RUN) tests/bed/bed down
