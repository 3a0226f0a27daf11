#!/usr/bin/env bash
# Runs all tests; arguments go to pytest.
. "$(dirname "${BASH_SOURCE[0]}")/environment.sh"

exec .venv/bin/python -m pytest "$@"
