#!/bin/sh
# The headers of PortAudio, with which PyAudio is built for RealtimeTTS: whatever there is, else Debian's and Ubuntu's package where we may
# install it. RealtimeTTS is tested muted: no sound card is needed.
set -eu
for folder in /usr/include /usr/local/include /opt/homebrew/include; do
	[ -e "$folder/portaudio.h" ] && exit 0
done
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
	echo "Installing portaudio19-dev with apt-get ..."
	apt-get update -qq
	DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends portaudio19-dev >/dev/null
else
	echo "No portaudio.h: PyAudio cannot be built for the tests of RealtimeTTS. As root, \`apt install portaudio19-dev\` brings it." >&2
fi
