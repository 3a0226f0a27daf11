#!/usr/bin/env bash
# Runs all tests, one process a core, each taking over what another has left; arguments go to pytest.
. "$(dirname "${BASH_SOURCE[0]}")/environment.sh"

exec .venv/bin/python -m pytest -n auto --dist worksteal "$@"
