#!/bin/sh
# Chromium for the dashboard's tests: whatever there is on PATH, else Debian's and Ubuntu's package where we may install it.
set -eu
for name in chromium chromium-browser google-chrome; do
	command -v "$name" >/dev/null 2>&1 && exit 0
done
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
	echo "Installing chromium with apt-get ..."
	apt-get update -qq
	DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium fonts-dejavu-core >/dev/null
else
	echo "No chromium on PATH: the dashboard's tests in a browser will be skipped. As root, \`apt install chromium\` brings it." >&2
fi
