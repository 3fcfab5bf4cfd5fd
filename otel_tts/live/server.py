"""Server: how Streamlit is started, with everything switched off that this dashboard does not need."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from otel_tts.hosts import own_names

APP = Path(__file__).with_name("app.py")
_THEMES: Mapping[str, Mapping[str, str]] = {
    "light": {
        "primaryColor": "#0072B2",
        "backgroundColor": "#ffffff",
        "secondaryBackgroundColor": "#f4f6f8",
        "textColor": "#1c2530",
    },
    "dark": {
        "primaryColor": "#56B4E9",
        "backgroundColor": "#11161d",
        "secondaryBackgroundColor": "#1a212b",
        "textColor": "#e8edf2",
    },
}


def command(host: str, port: int, allowed_hosts: Sequence[str] = ()) -> list[str]:
    """The program and its arguments. It asks no server but ours for anything: fonts and scripts come with Streamlit.

    Args:
        host: to listen on.
        port: the port to listen on.
        allowed_hosts: further names that a `Host` header may have.
    """
    options = {
        "server.address": host,
        "server.port": str(port),
        "server.headless": "true",
        "server.fileWatcherType": "none",
        "server.runOnSave": "false",
        "browser.gatherUsageStats": "false",
        "client.toolbarMode": "viewer",
        "client.showErrorDetails": "none",
        "client.showErrorLinks": "false",
        "logger.level": "warning",
        "theme.baseFontSize": "15",
        **{f"theme.{name}.{option}": value for name, theme in _THEMES.items() for option, value in theme.items()},
    }
    flags = [f"--{option}={value}" for option, value in options.items()]
    flags += [f"--server.allowedHosts={name}" for name in own_names(host, allowed_hosts)]
    return [sys.executable, "-m", "streamlit", "run", str(APP), *flags]


def url(host: str, port: int) -> str:
    """The address to open in a browser.

    Args:
        host: to listen on.
        port: the port to listen on.
    """
    shown = "127.0.0.1" if host in ("", "0.0.0.0", "::") else f"[{host}]" if ":" in host else host  # noqa: S104 - these mean everywhere
    return f"http://{shown}:{port}"
