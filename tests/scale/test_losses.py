"""What cannot be kept: the volume of a Collector, and traces on which nobody has decided yet. Nothing else goes with them."""

from __future__ import annotations

import time
from pathlib import Path

from tests.e2e.stack import get, until
from tests.scale.cluster import COLLECTORS, JAEGERS, Cluster
from tests.scale.test_survival import (
    RATE,
    SPANS,
    Account,
    assert_all_arrived,
    assert_all_counted,
    load,
    readers,
    spans,
)

DECISION_WAIT_S = 5.0
ON_THE_WAY_S = 5.0
"""How long a trace may take, on a busy machine, from its end until it is with a Collector."""


def stored(cluster: Cluster, account: Account) -> dict[str, int]:
    """How many spans of each trace the store has."""
    return until(lambda: spans(readers(cluster), account), "the store answers", 60)  # type: ignore[no-any-return]


def queues_are_empty(cluster: Cluster) -> bool:
    """Whether the Collectors that run have sent all that they took."""
    query = 'last_over_time(otelcol_exporter_queue_size{exporter="otlp_http/traces"}[10s])'
    reply = get(f"{cluster.prometheus}/api/v1/query", query=query)
    sizes = [float(series["value"][1]) for series in reply["data"]["result"]] if reply else []
    return len(sizes) >= len(COLLECTORS) and not any(sizes)


def test_a_lost_volume_costs_what_its_queue_held(cluster: Cluster, tmp_path: Path) -> None:
    """No count, and of the spans those in its queue: the volume that is put back has every one that was missing."""
    collector = cluster.members["collector 1"]
    jaegers = [cluster.members[f"jaeger {number}"] for number in range(1, len(JAEGERS) + 1)]
    volume, lost = cluster.directory / "queue-1", cluster.directory / "queue-1-lost"
    with load(cluster, tmp_path) as account:
        for jaeger in jaegers:
            jaeger.kill()
        time.sleep(3)  # traces gather in the queues
        collector.kill()
        volume.rename(lost)
        collector.start()
        for jaeger in jaegers:
            jaeger.start()
        time.sleep(2)
    assert_all_counted(cluster, account)
    until(lambda: queues_are_empty(cluster), "the queues are empty", 240)
    arrived = stored(cluster, account)
    missing = account.spans.keys() - arrived.keys()
    print(f"lost with the volume: {len(missing)} of {len(account.spans)} traces")
    assert missing
    assert max(arrived.values()) <= SPANS

    collector.kill()
    volume.rename(cluster.directory / "queue-1-after")
    lost.rename(volume)
    collector.start()
    assert_all_arrived(cluster, account)


def test_tail_sampling_loses_at_most_the_undecided(cluster: Cluster, tmp_path: Path) -> None:
    """With a Collector that is killed go the traces that it had not decided on: no count, and no trace from before or after."""
    keep_all = {"SAMPLING_DECISION_WAIT": f"{DECISION_WAIT_S:g}s", "SAMPLING_PERCENT": "100"}
    with cluster.overlaid("tail-sampling", **keep_all):
        with load(cluster, tmp_path) as account:
            time.sleep(2 * DECISION_WAIT_S + ON_THE_WAY_S)
            killed_at = time.time()
            cluster.members["collector 1"].kill()
            time.sleep(2)
            cluster.members["collector 1"].start()
            time.sleep(2)
        undecided = {
            trace_id for trace_id, ended in account.ended.items() if -DECISION_WAIT_S - ON_THE_WAY_S < ended - killed_at < 0
        }
        decided = {trace_id: SPANS for trace_id in account.ended if trace_id not in undecided}
        assert len(decided) > 5 * RATE

        def missing() -> set[str]:
            arrived = stored(cluster, account)
            assert max(arrived.values()) <= SPANS
            return {trace_id for trace_id in account.ended if arrived.get(trace_id) != SPANS}

        until(lambda: missing() <= undecided, "all traces that were decided on", 240)
        assert_all_counted(cluster, account)
        lost = missing()
    print(f"lost undecided: {len(lost)} of {len(account.ended)} traces")
    assert lost
