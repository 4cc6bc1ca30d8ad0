#!/bin/sh
# Make .venv, install requirements.txt into it, and mark it as ready; or say in one line why that failed.
# Usage: setup.sh VENV [PYTHON]
set -u
venv=$1
python=${2:-}
ready="$venv/.ready"

fail() {
    echo "set-up: $*" >&2
    exit 1
}
new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }

if [ ! -e "$ready" ]; then
    rm -rf "$venv" # a half-made environment is no environment
    if [ -n "$python" ]; then
        command -v "$python" >/dev/null || fail "there is no '$python'; install Python 3.11 or newer."
        new_enough "$python" || fail "'$python' is $("$python" --version 2>&1); Python 3.11 or newer is needed."
    else
        for candidate in python3 python3.14 python3.13 python3.12 python3.11 python; do
            if command -v $candidate >/dev/null && new_enough $candidate; then
                python=$candidate
                break
            fi
        done
        [ -n "$python" ] || fail "no Python 3.11 or newer was found; install one, or name it: make PYTHON=/path/to/python3.12"
    fi
    "$python" -m venv "$venv" >/dev/null 2>&1 || {
        rm -rf "$venv"
        fail "'$python -m venv' does not work; install it (on Debian and Ubuntu: apt install python3-venv)."
    }
fi
rm -f "$ready"

log="$venv/install.log"
echo "Installing requirements.txt into $venv; the first time takes a few minutes (log: $log)."
"$venv/bin/python" -m pip install --disable-pip-version-check --requirement requirements.txt >"$log" 2>&1 ||
    fail "installing requirements.txt failed: $(grep -m 1 '^ERROR' "$log" || tail -n 1 "$log") (all of it: $log)"
# Matplotlib announces the building of its font cache on stderr, in whichever notebook comes first: build it now.
"$venv/bin/python" -c 'import matplotlib.font_manager' >>"$log" 2>&1 || fail "matplotlib does not import (see $log)"
touch "$ready"
