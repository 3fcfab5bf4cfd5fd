"""Sending what the monitor tells to people, through Apprise, on a thread of its own."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from otel_tts.settings import MonitorSettings, Secret, SettingError

if TYPE_CHECKING:
    from apprise import Apprise

_logger = logging.getLogger("otel_tts.monitor")
_URLS = MonitorSettings.variable("notify_urls")

_TALKATIVE = ("apprise", "urllib3.connectionpool")
"""The loggers that name addresses, in which keys stand."""


class Notifier:
    """Sends messages, without ever keeping the caller waiting.

    A message that cannot be delivered is logged, once until one is delivered again; the address is not shown.

    Args:
        urls: of Apprise.
        service: the name of the service, which is in the title of each.

    Raises:
        SettingError: Apprise is not installed, or does not understand an address.
    """

    def __init__(self, urls: Secret, service: str) -> None:
        try:
            from apprise import Apprise
        except ModuleNotFoundError:
            raise SettingError(
                f"Notifications ({_URLS}) need Apprise, which is not installed. Install it with: pip install 'otel-tts[notify]'"
            ) from None
        self._apprise: Apprise = Apprise()
        with _quiet():
            understood = self._apprise.add(urls.value)
        if not understood:
            raise SettingError(
                f"There is an address in {_URLS} that Apprise does not understand. It takes one or more of its URLs, such as "
                "mailto://user:password@example.org or slack://tokens, with commas between."
            )
        self.service = service
        self.renew()

    def renew(self) -> None:
        """Begin anew in a forked child, which has inherited no threads."""
        self._messages: queue.SimpleQueue[tuple[str, str, str]] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._failed = False

    def send(self, title: str, body: str, kind: str) -> None:
        """Send a message, soon.

        Args:
            title: of the message, for people.
            body: of the message, for people.
            kind: Apprise's type of notification: ``FAILURE``, ``WARNING``, ``INFO`` or ``SUCCESS``.
        """
        self._messages.put((title, body, kind))
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, args=(self._messages,), name="otel-tts-notify", daemon=True)
            self._thread.start()

    def _run(self, messages: queue.SimpleQueue[tuple[str, str, str]]) -> None:
        from apprise import NotifyType
        from opentelemetry.instrumentation.utils import (
            suppress_instrumentation,  # it reads OTEL_PROPAGATORS, and raises for a wrong one
        )

        while True:
            title, body, kind = messages.get()
            try:
                with suppress_instrumentation(), _quiet():
                    # One by one: all together they would be sent, and logged, on threads of Apprise's own.
                    results = [
                        service.notify(title=title, body=body, notify_type=getattr(NotifyType, kind)) for service in self._apprise
                    ]
                delivered = all(results)
            except Exception:  # noqa: BLE001 - a plugin of Apprise's may raise anything, and its message may hold the address
                delivered = False
            if not delivered and not self._failed:
                _logger.warning("A notification could not be delivered. Check %s and the service behind it.", _URLS)
            self._failed = not delivered


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep what others log on this thread to themselves."""
    thread = threading.get_ident()

    def elsewhere(record: logging.LogRecord) -> bool:
        return record.thread != thread

    for name in _TALKATIVE:
        logging.getLogger(name).addFilter(elsewhere)
    try:
        yield
    finally:
        for name in _TALKATIVE:
            logging.getLogger(name).removeFilter(elsewhere)
