"""Every exception of otel-tts, below one base.

::

    OtelTtsError
    └── SettingError, also a ValueError: a setting or an argument cannot be used

Each stands where it is raised; the base and what users catch everywhere stand here.
"""

from __future__ import annotations


class OtelTtsError(Exception):
    """An error of otel-tts. Nothing below it is ever raised into a request that is observed."""


class SettingError(OtelTtsError, ValueError):
    """A setting or an argument cannot be used; the message names it, its value and what is allowed."""
