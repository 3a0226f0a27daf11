#!/usr/bin/env bash
# Runs all tests, one process a core and one file at a time in each; arguments go to pytest.
. "$(dirname "${BASH_SOURCE[0]}")/environment.sh"

exec .venv/bin/python -m pytest -n auto --dist loadfile "$@"
