"""Start hook: Python runs it before a program that ``otel-tts run`` starts, and before all Python programs which that one starts.

An interpreter of another environment or version does not have otel-tts: there it does nothing, and prints nothing.
"""

import os

_HERE = os.path.dirname(os.path.abspath(__file__))  # noqa: PTH100, PTH120 - any version of Python may run this


def _observe():  # type: ignore[no-untyped-def]  # noqa: ANN202 - as above
    try:
        from opentelemetry.instrumentation.auto_instrumentation import initialize

        import otel_tts.instrumentation.distro  # noqa: F401 - checks whether it can be imported
    except Exception:  # noqa: BLE001 - whatever the import raises, the program must start
        return
    before = os.environ.get("PYTHONPATH", "")
    # A process that is started during the set-up must not run this hook, which would start another one, without end.
    os.environ["PYTHONPATH"] = os.pathsep.join(path for path in before.split(os.pathsep) if path != _HERE)
    try:
        initialize()
    finally:
        os.environ["PYTHONPATH"] = before


_observe()  # type: ignore[no-untyped-call]
