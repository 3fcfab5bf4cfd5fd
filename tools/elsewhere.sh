#!/bin/sh
# Runs a part of the tests where they usually do not run: in a folder with blanks and umlauts that is reached by a symbolic link and has
# the project's name, far from UTC, on one core, with other programs on the usual ports, and without a network where the system allows
# to take it away. The folder takes the programs and packages of this checkout.
set -eu
root=$(pwd -P)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/a földer"
ln -s "$work/a földer" "$work/link"
git clone --quiet "$root" "$work/link/otel-tts"
cd "$work/link/otel-tts"
ln -s "$root/.venv" .venv
test ! -e "$root/.tools" || ln -s "$root/.tools" .tools
export TZ=Asia/Kathmandu LC_ALL=C PYTHONPATH="$work/link/otel-tts"
one_core=$(command -v taskset >/dev/null && echo "taskset -c 0" || true)
alone=$(unshare --net --map-root-user true 2>/dev/null && echo "unshare --net --map-root-user" || true)
test -n "$alone" || echo "This system takes no network away: the tests run with it." >&2
# shellcheck disable=SC2016,SC2086 # the inner shell expands; the commands are words
$one_core $alone sh -c '
	test -z "$0" || ip link set lo up
	.venv/bin/python -m tools.occupied 3000 4317 4318 8002 8501 9090 16686 50053 &
	occupied=$!
	sleep 2
	.venv/bin/python -m pytest -q -p no:cacheprovider "$@" && status=0 || status=$?
	kill $occupied
	exit $status' "$alone" "$@"
