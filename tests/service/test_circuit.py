"""The circuit, under a clock that the test moves."""

from __future__ import annotations

from math import inf

from otel_tts.service.circuit import Circuit


def test_the_life_of_a_circuit() -> None:
    """Failures in a row open it, only a success closes it, and probes are due when it is open or nothing was heard for long."""
    now, states = [0.0], list[bool]()
    circuit = Circuit(3, 10, states.append, clock=lambda: now[0])
    assert (circuit.closed, circuit.probe_in(60), circuit.probe_in()) == (True, 0, inf)  # never heard of: find out
    circuit.failed()
    circuit.failed()
    circuit.succeeded()
    assert (circuit.closed, circuit.probe_in(60)) == (True, 60)
    for _ in range(3):
        circuit.failed()
    assert (circuit.closed, circuit.probe_in(60)) == (False, 10)
    now[0] = 9
    assert circuit.probe_in(60) == 1
    now[0] = 25
    assert circuit.probe_in(60) == 0
    circuit.failed()  # the probe
    assert (circuit.closed, circuit.probe_in(60)) == (False, 10)
    circuit.succeeded()
    assert (circuit.closed, circuit.probe_in(60)) == (True, 60)
    assert states == [True, True, True, True, True, False, False, True]
