.PHONY: help run test contract clients faults fuzz fmt lint fmt-check clippy doc deny

help:
	@echo 'make run    natter on https://localhost:8443 with its own MongoDB, Redis and demo data'
	@echo 'make test   all tests against a throw-away MongoDB and Redis; ARGS=… goes to cargo test'
	@echo 'make contract  the service against its OpenAPI document; ARGS=… goes to Schemathesis'
	@echo 'make clients  a natter driven by many HTTP and WebSocket clients; ARGS=… chooses which'
	@echo 'make faults 200 kills of instances and failing primaries under load; NATTER_FAULTS_KILLS=…'
	@echo 'make fuzz   every fuzz target for NATTER_FUZZ_SECONDS (20) each'
	@echo 'make fmt    format the code'
	@echo 'make lint   formatting, clippy, docs and dependencies, warnings denied'

# A shell without job control starts its background commands with Ctrl-C ignored, and they cannot
# undo that. `--default-signal=INT` restores the default.
run:
	@exec env --default-signal=INT dev/run

test:
	@exec env --default-signal=INT dev/test $(ARGS)

contract:
	@exec env --default-signal=INT dev/contract $(ARGS)

clients:
	@exec env --default-signal=INT dev/clients $(ARGS)

faults:
	@exec env --default-signal=INT dev/faults $(ARGS)

# The names of fuzz targets begin with fuzz_. Save a new failing input as a file in tests/seeds.
fuzz:
	NATTER_FUZZ_SECONDS=$${NATTER_FUZZ_SECONDS:-20} cargo test --locked --lib fuzz_ -- --nocapture

fmt:
	cargo fmt

lint: fmt-check clippy doc deny

fmt-check:
	cargo fmt --check

clippy:
	cargo clippy --locked --all-targets -- -D warnings

doc:
	RUSTDOCFLAGS='-D warnings -A rustdoc::private_intra_doc_links' cargo doc --locked --no-deps --document-private-items

deny:
	dev/deny
