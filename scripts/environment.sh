# Sourced by the other scripts: goes to the project's root and makes .venv with the pins if need be.
# PYTHON names the interpreter that makes it (default: python3; 3.11 to 3.13).
set -eu
cd "$(dirname "${BASH_SOURCE[0]}")/.."

wanted=$(cat requirements.txt setup.cfg | cksum)
if [ "$(cat .venv/installed 2>/dev/null)" != "$wanted" ]; then
    python=${PYTHON:-python3}
    if ! "$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))'; then
        echo "error: need Python 3.11 to 3.13; name one: PYTHON=python3.11 bash $0" >&2
        exit 2
    fi
    if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
        echo "error: $python cannot make environments; on Debian: apt-get install python3-venv" >&2
        exit 2
    fi
    echo "installing into .venv (a minute or so)"
    "$python" -m venv .venv
    .venv/bin/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
    .venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps -e .
    echo "$wanted" > .venv/installed
fi
