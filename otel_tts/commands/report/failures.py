"""What a report command cannot do, said in one line, with an exit code of its own for scripts."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import click

from otel_tts.errors import OtelTtsError
from otel_tts.history import History, HistoryUnavailableError
from otel_tts.report import tracking
from otel_tts.report.lock import AnotherJobError, LockError
from otel_tts.report.reference import UnknownReferenceError

NO_DATA, UNREACHABLE, NO_REFERENCE, BUSY, NO_HISTORY = 3, 4, 5, 6, 7


class ReportFailedError(OtelTtsError, click.ClickException):
    """Something that a script may want to tell from something else.

    Args:
        message: for people, in one line.
        exit_code: of the command.
    """

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code  # type: ignore[misc]  # click declares it for the class, and reads it from the instance


@contextmanager
def failures() -> Iterator[None]:
    """What goes wrong in the block is said in a line, with an exit code of its own.

    Raises:
        ReportFailedError: the block failed for a reason that has an exit code of its own.
        UsageError: an argument cannot be used.
    """
    codes: Mapping[type[Exception], int] = {
        tracking.TrackingUnreachableError: UNREACHABLE,
        UnknownReferenceError: NO_REFERENCE,
        AnotherJobError: BUSY,
        HistoryUnavailableError: NO_HISTORY,
    }
    try:
        yield
    except tuple(codes) as error:
        raise ReportFailedError(str(error), next(code for kind, code in codes.items() if isinstance(error, kind))) from error
    except LockError as error:
        raise click.ClickException(str(error)) from error
    except ModuleNotFoundError as error:  # the heavy ones are imported where they are used
        raise click.ClickException(
            f"`otel-tts report` needs the Python module {error.name}, which is not installed. "
            "Install it with: pip install 'otel-tts[report]'"
        ) from error
    except ValueError as error:
        raise click.UsageError(str(error)) from error


def require_telemetry(history: History, service: str | None) -> None:
    """Check that there is telemetry to report.

    Args:
        history: the telemetry that is read.
        service: the name of the service; None: every one.

    Raises:
        ReportFailedError: there is not.
    """
    names = [service_.name for service_ in history.services(history.began or 0.0, time.time() + history.interval)]
    if not names:
        raise ReportFailedError(
            f"There is no telemetry of any request in {history.source}. Run `otel-tts demo`, or your own service.", NO_DATA
        )
    if service is not None and service not in names:
        raise ReportFailedError(f"There is no telemetry of {service!r}, only of {', '.join(names)}.", NO_DATA)


def one_service(history: History, service: str | None) -> str:
    """Return the service to compare: the named one, or the only one.

    Args:
        history: the telemetry.
        service: the name that was given; None without one.

    Raises:
        ReportFailedError: there is no telemetry, or none of this service.
        UsageError: there is telemetry of several services, and no name was given.
    """
    require_telemetry(history, service)
    names = [service_.name for service_ in history.services(history.began or 0.0, time.time() + history.interval)]
    if service is None and len(names) > 1:
        raise click.UsageError(f"There is telemetry of {', '.join(names)}: choose one with --service.")
    return service or names[0]
