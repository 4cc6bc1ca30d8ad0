#!/bin/sh
# Write requirements.txt: every package that the two commands need, pinned, for every platform and Python.
# The CUDA packages that torch's metadata lists are left out: pip brings them where the wheel asks for them.
set -eu
env=$(mktemp -d)
trap 'rm -rf "$env"' EXIT
python3 -m venv "$env"
"$env/bin/pip" install --quiet uv
lock() {
    "$env/bin/uv" pip compile --quiet --universal --python-version 3.11 --no-annotate --no-header \
        --extra book --extra test --extra lab --extra cluster "$@" pyproject.toml
}
cuda=$(lock | sed -nE 's/^((nvidia|cuda|triton)[A-Za-z0-9-]*)==.*/--no-emit-package \1/p')
{
    echo "# The full lock of what the Makefile's targets need, compiled from pyproject.toml by 'make lock'; then the package."
    # shellcheck disable=SC2086  # one word an option is meant
    lock $cuda
    echo "-e ."
} > requirements.txt.new
mv requirements.txt.new requirements.txt
