#!/bin/sh
# Make the environment that the Makefile's targets run in, if it is not ready; or say in one line why that failed.
# Usage: setup.sh VENV [PYTHON]
# TORCH=cpu takes PyTorch's CPU wheels from PyTorch's own index: about 300 MB in all, where Linux's default brings
# CUDA and 2.9 GB. VENV remembers the choice; TORCH=default takes it back.
set -u
venv=$1
python=${2:-}
ready="$venv/.ready"
log="$venv/install.log"
torch=${TORCH:-$(cat "$venv/.torch" 2>/dev/null || echo default)}
running= # the installer that runs beside this script

say() { echo "set-up: $*"; }
fail() {
    echo "set-up: $*" >&2
    exit 1
}
stop() {
    trap '' INT TERM HUP
    [ -z "$running" ] || { kill "$running" && wait "$running"; } 2>/dev/null
    echo "set-up: interrupted; the next call of make starts it anew." >&2
    exit 130
}
trap stop INT TERM HUP

case $torch in
    cpu | default) ;;
    *) fail "TORCH is 'cpu' or 'default', but got '$torch'." ;;
esac

# What the environment was made for: its own place, this folder's, the choice of wheels, and the two lists of packages.
made_for() {
    (cd "$venv" && pwd -P)
    pwd -P
    echo "$torch"
    cat requirements.txt pyproject.toml 2>/dev/null | cksum
}
if [ -x "$venv/bin/python" ] && [ "$(cat "$ready" 2>/dev/null)" = "$(made_for)" ]; then
    exit 0
fi

new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }
# Why no file can be written in a folder, in the system's words; nothing if one can be.
unwritable() {
    said=$({ mkdir -p "$1" && head -c 8192 /dev/zero >"$1/.probe" && rm -f "$1/.probe"; } 2>&1) || echo "${said##*: }"
}
fail_if_unwritable() {
    reason=$(unwritable "$venv")
    case $reason in
        '') ;;
        *"o space left"* | *"uota exceeded"*) fail "the disk is full ($reason); the set-up needs room in '$(pwd)'." ;;
        *) fail "'$venv' in '$(pwd)' cannot be written: $reason. Clone or copy the project to where you may write." ;;
    esac
}

# Run the rest of the line with its output in the log; every ten seconds, show that it goes on, and where it is.
watch() {
    "$@" >>"$log" 2>&1 &
    running=$!
    seconds=0
    while kill -0 "$running" 2>/dev/null; do
        sleep 1
        seconds=$((seconds + 1))
        if [ $((seconds % 10)) -eq 3 ]; then
            line=$(tail -n 1 "$log" | sed -E 's/^ +//; s/^(Installing collected packages|Successfully installed).*/\1/')
            echo "  $seconds s: ${line:-still at it}"
        fi
    done
    wait "$running"
    status=$?
    running=
    return "$status"
}

# The true cause in the log: what an installer calls an error at its end is often only what followed from it.
# A connection that was lost and found again is no cause, and of the retries only the last one counts.
cause() {
    final() {
        found=$(grep -v 'Retry(total=[1-9]' "$log" | grep -m 1 -oiE "$1" | tail -n 1)
        [ -n "$found" ]
    }
    if final 'no space left on device|quota exceeded' || unwritable "$venv" | grep -qi 'no space'; then
        echo "the disk is full; the set-up needs room in '$(pwd)'."
    elif final 'certificate.verify.failed|invalid peer certificate'; then
        echo "the package index was reached, but its certificate is not trusted ($found); a proxy's own one is named by PIP_CERT."
    elif final 'temporary failure in name resolution|name or service not known|nodename nor servname|getaddrinfo failed|dns error|failed to lookup address|network is unreachable|no route to host|connection (refused|reset|aborted|broken|timed out)|timed out|cannot connect to proxy|error sending request|max retries exceeded'; then
        echo "the package index cannot be reached ($found); is the network up?"
    elif final '(permission denied|read-only file system).*'; then
        echo "a file cannot be written: $found"
    elif final 'no matching distribution found for torch==.*'; then
        echo "PyTorch has no such wheel for this computer ($(uname -sm), $("$venv/bin/python" --version)): Macs with Intel processors, macOS below 14 and Linux without glibc have none."
    elif final 'no matching distribution found for .*'; then
        echo "$found: the package index does not have it, or cannot be reached; is the network up?"
    else
        grep -iE '^ *error' "$log" | grep -viE -m 1 'subprocess-exited-with-error|likely not a problem' || tail -n 1 "$log"
    fi
}

install() {
    if command -v uv >/dev/null; then
        watch uv pip install --python "$venv/bin/python" "$@" && return
        say "uv failed, pip tries: $(cause)"
        echo "uv failed; pip:" >"$log"
    fi
    watch "$venv/bin/python" -m pip install --disable-pip-version-check --progress-bar off "$@"
}

if [ ! -e "$ready" ]; then
    anew=yes # there is none, or a half-made one, which is none
elif [ ! -x "$venv/bin/python" ]; then
    anew=yes && say "the Python that $venv was made with is gone; it is made anew."
elif was=$(sed -n 1p "$ready") && [ -n "$was" ] && [ "$was" != "$(made_for | sed -n 1p)" ]; then
    anew=yes && say "$venv was made in '$was' and knows that path; it is made anew here."
elif [ "$torch" != "$(cat "$venv/.torch" 2>/dev/null || echo default)" ]; then
    anew=yes && say "TORCH is now '$torch'; $venv is made anew."
else
    anew=
fi

if [ -n "$anew" ]; then
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
    say "making $venv with $("$python" --version 2>&1)."
    fail_if_unwritable
    rm -f "$ready" # first of all: an interrupt must not leave it beside half of the rest
    rm -rf "$venv"
    said=$("$python" -m venv "$venv" 2>&1) || {
        fail_if_unwritable
        rm -rf "$venv"
        fail "'$python -m venv' does not work; install it (on Debian and Ubuntu: apt install python3-venv). $(echo "$said" | tail -n 1)"
    }
fi
fail_if_unwritable
rm -f "$ready"
echo "$torch" >"$venv/.torch"
: >"$log"

size="about 300 MB"
if [ "$torch" = default ] && [ "$(uname -s)" = Linux ]; then
    size="2.9 GB with CUDA where PyPI's wheel brings it; TORCH=cpu takes about 300 MB"
fi
say "installing $(grep -c '^[^#-]' requirements.txt) packages into $venv, for a few minutes ($size; log: $log)."
if [ "$torch" = cpu ]; then # its dependencies come with the others, from the usual index
    install --no-deps --index-url https://download.pytorch.org/whl/cpu "$(grep '^torch==' requirements.txt)" ||
        fail "installing PyTorch's CPU wheel failed: $(cause) (all of it: $log)"
fi
install --requirement requirements.txt || fail "installing requirements.txt failed: $(cause) (all of it: $log)"
# Matplotlib announces the building of its font cache on stderr, in whichever notebook comes first: build it now.
watch "$venv/bin/python" -c 'import matplotlib.font_manager' || fail "matplotlib does not import: $(cause) (see $log)"
said=$({ made_for >"$ready.new" && mv "$ready.new" "$ready"; } 2>&1) || fail "the end could not be marked: $said"
say "ready."
