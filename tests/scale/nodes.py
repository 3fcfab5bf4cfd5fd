"""Configuration of small nodes of Cassandra that form one ring, all started at once."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from pathlib import Path

_TOKENS = 2**64  # of the ring, from -2**63
_CONFIG = """
cluster_name: otel-tts
num_tokens: 1
initial_token: "{token}"
auto_bootstrap: false
partitioner: org.apache.cassandra.dht.Murmur3Partitioner
endpoint_snitch: SimpleSnitch
authenticator: AllowAllAuthenticator
seed_provider:
  - class_name: org.apache.cassandra.locator.SimpleSeedProvider
    parameters: [{{seeds: "{seeds}"}}]
listen_address: {address}
rpc_address: {address}
storage_port: {gossip_port}
native_transport_port: {cql_port}
start_native_transport: true
native_transport_max_threads: 16
data_file_directories: [{directory}/data]
commitlog_directory: {directory}/commitlog
hints_directory: {directory}/hints
saved_caches_directory: {directory}/saved_caches
commitlog_sync: periodic
commitlog_sync_period: 10000ms
commitlog_segment_size: 4MiB
disk_access_mode: standard
memtable_heap_space: 32MiB
memtable_offheap_space: 32MiB
file_cache_size: 32MiB
concurrent_reads: 8
concurrent_writes: 8
concurrent_counter_writes: 4
auto_snapshot: false
"""
_LOGGING = """<configuration>
<appender name="OUT" class="ch.qos.logback.core.ConsoleAppender">
<encoder><pattern>%d %-5level %logger{20} %msg%n</pattern></encoder></appender>
<root level="INFO"><appender-ref ref="OUT"/></root>
</configuration>
"""


def configure(directory: Path, addresses: Sequence[str], number: int, cql_port: int, gossip_port: int) -> list[str]:
    """Write the files of one node, and give the options of its Java machine.

    Args:
        directory: of the node's files and data.
        addresses: of all nodes.
        number: of this one, from 1.
        cql_port: where clients come.
        gossip_port: where the other nodes come.
    """
    directory.mkdir()
    config = _CONFIG.format(
        token=-(2**63) + (number - 1) * (_TOKENS // len(addresses)),
        seeds=",".join(addresses),
        address=addresses[number - 1],
        gossip_port=gossip_port,
        cql_port=cql_port,
        directory=directory,
    )
    (directory / "cassandra.yaml").write_text(config)
    (directory / "logback.xml").write_text(_LOGGING)
    return [
        "-Xms256m",
        "-Xmx256m",
        "-XX:+UseSerialGC",
        "-XX:TieredStopAtLevel=1",
        f"-Dcassandra.config=file://{directory}/cassandra.yaml",
        f"-Dcassandra.storagedir={directory}",
        f"-Dlogback.configurationFile={directory}/logback.xml",
        "-Dcassandra.ring_delay_ms=2000",
        "-Dcassandra.skip_wait_for_gossip_to_settle=0",
    ]


def listens(address: str, port: int) -> bool:
    """Whether clients can connect."""
    try:
        socket.create_connection((address, port), 1).close()
    except OSError:
        return False
    return True
