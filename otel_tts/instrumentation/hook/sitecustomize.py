"""What Python runs before a program that ``otel-tts run`` has started, and before all Python programs that that one starts.

An interpreter of another environment, or of another version, has no otel-tts: nothing happens there, and nothing is printed.
"""

import os

_HERE = os.path.dirname(os.path.abspath(__file__))  # noqa: PTH100, PTH120 - any Python may come by here


def _observe():  # type: ignore[no-untyped-def]  # noqa: ANN202 - as above
    try:
        from opentelemetry.instrumentation.auto_instrumentation import initialize

        import otel_tts.instrumentation.distro  # noqa: F401 - whether it can be
    except Exception:  # noqa: BLE001 - whatever keeps it from being imported, the program is not ours
        return
    before = os.environ.get("PYTHONPATH", "")
    # What is started meanwhile is not to begin with the same, and so on.
    os.environ["PYTHONPATH"] = os.pathsep.join(path for path in before.split(os.pathsep) if path != _HERE)
    try:
        initialize()
    finally:
        os.environ["PYTHONPATH"] = before


_observe()  # type: ignore[no-untyped-call]
