# mypy: ignore-errors
# ruff: noqa: ANN001, ANN201, D103
"""A web application that knows nothing of telemetry, for a server that forks: it speaks, and says in which process it did."""

import os

import hibari

engine = None


def application(environ, start_response):
    global engine
    engine = engine or hibari.Hibari(threads=1)
    samples = engine(environ["QUERY_STRING"])
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [f"{os.getpid()} {len(samples)}".encode()]
