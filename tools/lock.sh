#!/bin/sh
# Write requirements.txt: every package that the Makefile's targets need, pinned, for every platform and Python.
# The CUDA packages that torch's metadata lists are left out: pip brings them where the wheel asks for them.
set -eu
env=$(mktemp -d)
new=requirements.txt.new
trap 'rm -rf "$env" "$new"' EXIT
trap 'exit 130' INT TERM HUP
uv=uv
if ! command -v uv >/dev/null; then
    python3 -m venv "$env"
    "$env/bin/pip" install --quiet uv
    uv="$env/bin/uv"
fi
# The package takes a range of torch; the stored outputs are this one's.
echo "torch==2.13.0" > "$env/constraints.txt"
lock() {
    "$uv" pip compile --quiet --universal --python-version 3.11 --no-annotate --no-header \
        --constraint "$env/constraints.txt" --extra book --extra test --extra lab "$@" pyproject.toml
}
lock > "$env/all.txt"
cuda=$(sed -nE 's/^((nvidia|cuda|triton)[A-Za-z0-9-]*)==.*/--no-emit-package \1/p' "$env/all.txt")
{
    echo "# The full lock of what the Makefile's targets need, compiled from pyproject.toml by 'make lock'; then the package."
    # shellcheck disable=SC2086  # one word an option is meant
    lock $cuda
    echo "-e ."
} > "$new"
mv "$new" requirements.txt
