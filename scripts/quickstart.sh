#!/usr/bin/env bash
# From a fresh clone to a trained language model of Japanese and its figure, in a few minutes.
. "$(dirname "${BASH_SOURCE[0]}")/environment.sh"

exec .venv/bin/python -m experiments.language_model --preset=quick --workdir=runs/quickstart "$@"
