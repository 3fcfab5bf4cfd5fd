# mypy: ignore-errors
# ruff: noqa: ANN001, ANN201, D103
"""A program that knows nothing of telemetry: it speaks in two processes of `multiprocessing`, one after the other, and itself."""

import multiprocessing
import sys


def speak(text):
    import hibari

    hibari.Hibari(threads=1)(text)


if __name__ == "__main__":
    context = multiprocessing.get_context(sys.argv[1])
    for text in ("One.", "Two."):
        child = context.Process(target=speak, args=(text,))
        child.start()
        child.join()
    speak("Three.")
