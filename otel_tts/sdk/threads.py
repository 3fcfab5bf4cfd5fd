"""Whether this process can start threads. Nothing is exported without them, and the host starts all the same."""

from __future__ import annotations

import threading


def can_start(count: int) -> bool:
    """Return whether so many threads more can run at the same time. They are started, and end at once.

    Args:
        count: of threads.
    """
    end = threading.Event()
    threads: list[threading.Thread] = []
    try:
        for _ in range(count):
            thread = threading.Thread(target=end.wait, name="otel-tts-start", daemon=True)
            thread.start()
            threads.append(thread)
    except RuntimeError:  # as Python tells of any reason
        return False
    finally:
        end.set()
        for thread in threads:
            thread.join()
    return True
