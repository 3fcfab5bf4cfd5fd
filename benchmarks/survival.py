"""Members of a cluster are killed under load for longer than a test waits, and whoever sent the telemetry counts: docs/scaling.md.

    python -m benchmarks.survival "node 2,node 3" --away 30

Needs `make tools-scale`.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.e2e.stack import Process
from tests.scale.cluster import running
from tests.scale.test_survival import SPANS, counted, load, readers, spans

PATIENCE_S = 900.0


def main() -> None:
    """Kill members together, start them again, and wait until all is there."""
    parser = argparse.ArgumentParser(description="Kill members of a cluster under load, and count what arrives.")
    parser.add_argument("members", help="which, with commas between them: gateway 1, collector 2, receive 3, node 1, jaeger 2")
    parser.add_argument("--away", type=float, default=10.0, metavar="SECONDS", help="until they are started again (10)")
    arguments = parser.parse_args()
    count, stored = 0, Counter[str]()
    names = [name.strip() for name in arguments.members.split(",")]
    with tempfile.TemporaryDirectory() as directory:
        (Path(directory) / "cluster").mkdir()
        with running(Path(directory) / "cluster") as cluster:
            members = [cluster.members[name] for name in names]
            with load(cluster, Path(directory)) as account:
                time.sleep(3)
                for member in members:
                    member.kill()
                time.sleep(arguments.away)
                with ThreadPoolExecutor(len(members)) as starting:
                    list(starting.map(Process.start, members))
                back = time.monotonic()
                time.sleep(2)
            requests = len(account.ended)
            history = readers(cluster)
            while time.monotonic() - back < PATIENCE_S:
                count, stored = counted(history, account) or 0, spans(history, account) or Counter[str]()
                if count == requests and stored == account.spans:
                    break
                time.sleep(1)
            whole_s = time.monotonic() - back
    print("| killed | away, s | requests | counts lost | spans lost | all there after, s |")
    print("| --- | --- | --- | --- | --- | --- |")
    lost = f"{requests - count} | {SPANS * requests - sum(stored.values())} of {SPANS * requests}"
    print(f"| {', '.join(names)} | {arguments.away:g} | {requests} | {lost} | {whole_s:.0f} |")


if __name__ == "__main__":
    main()
