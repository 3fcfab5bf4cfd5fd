"""The cache: keys, the written form, and each tier with the real thing behind it."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import json
import os
import signal
import socket
import subprocess
import zlib
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_tts.service.cache import Cache, Entry, cache_tiers, key, tiers
from otel_tts.service.cache.entry import CorruptEntryError
from otel_tts.service.cache.files import FileTier
from otel_tts.service.cache.memory import MemoryTier
from otel_tts.service.cache.redis import RedisTier
from otel_tts.service.cache.tier import TierError
from otel_tts.service.speech import EngineRequest
from otel_tts.settings import SettingError

ENTRY = Entry(b"\x01\x02" * 4000, 16000, "piper", "joe", "1.8")
KEY = "a" * 64


class Clock:
    """Seconds that pass when told."""

    now = 1e9

    def __call__(self) -> float:
        """The reading."""
        return self.now


def names(directory: Path) -> list[str]:
    """The files in a directory."""
    return sorted(path.name for path in directory.iterdir())


def entry(samples: int) -> Entry:
    """An entry of that many samples."""
    return replace(ENTRY, pcm=bytes(2 * samples))


# --- entries --------------------------------------------------------------------------------------


def test_everything_that_changes_the_audio_changes_the_key(scripted: Any) -> None:
    """Variations of one request are as many keys; an equal one is the same key, and no key shows the text."""
    provider, speech = scripted("one"), EngineRequest("Hello.", "one-voice", "en-US")
    newer, other, other_model = scripted("one"), scripted("two", voice="one-voice"), scripted("one")
    newer.version = "2"
    other_model.voices = [replace(other_model.voices[0], model="large")]
    variations = [
        key(provider, speech),
        key(newer, speech),
        key(other, speech),
        key(other_model, speech),
        *(
            key(provider, replace(speech, **change))
            for change in (
                {"text": "Hello!"},
                {"text": "Hel\nlo."},
                {"language": "en-GB"},
                {"rate": 1.1},
                {"pitch": 1.0},
                {"volume_gain_db": 1.0},
                {"ssml": True},
            )
        ),
    ]
    assert len(set(variations)) == len(variations) == 11
    assert key(scripted("one"), EngineRequest("Hello.", "one-voice", "en-US")) == variations[0]
    assert all(len(k) == 64 and k == k.lower() and int(k, 16) for k in variations)


def test_the_written_form_comes_back_whole_or_not_at_all() -> None:
    """Any truncation and any flipped byte of header or audio is noticed."""
    written = ENTRY.written(KEY)
    assert Entry.parse(written, KEY) == ENTRY
    assert ENTRY.duration_s == 0.25
    assert b"".join(ENTRY.chunks()) == ENTRY.pcm
    damaged = [b"", b"\n", b"junk", written[:10], written[:-1], written + b"x", written[: len(written) // 2], b"\xff" * 100]
    damaged += [written[:at] + bytes([written[at] ^ 0x80]) + written[at + 1 :] for at in (0, 3, 20, 300, len(written) - 1)]
    damaged += [written.replace(b"otel-tts audio 2", b"otel-tts audio 9"), written.replace(b'"model"', b'"medol"')]
    for data in damaged:
        with pytest.raises(CorruptEntryError):
            Entry.parse(data, KEY)


# --- memory ---------------------------------------------------------------------------------------


async def test_memory_is_bounded_in_bytes_and_time() -> None:
    """The least recently used goes for size, the old for age; what fits nowhere is not kept."""
    clock, evicted = Clock(), list[str]()
    tier = MemoryTier(30_000, 60, evicted.append, clock)
    for name in "abc":
        await tier.put(name, entry(4000))
    assert await tier.get("a") == entry(4000)
    await tier.put("d", entry(4000))  # b is the least recently used
    assert [await tier.get(name) is not None for name in "abcd"] == [True, False, True, True]
    await tier.put("huge", entry(20_000))
    assert (await tier.get("huge"), tier.entries(), tier.size_bytes(), evicted) == (None, 3, 3 * (8000 + 512), ["size"])
    clock.now += 61
    assert await tier.get("a") is None
    await tier.put("e", entry(1))
    assert (tier.entries(), evicted) == (1, ["size"] + ["expired"] * 3)


# --- files ----------------------------------------------------------------------------------------


async def test_files_outlive_the_process(tmp_path: Path) -> None:
    """Another process on the same directory, at the same time or later, finds the entry and knows what there is."""
    first = FileTier(tmp_path / "cache", 10**6, 60, print)
    second = FileTier(tmp_path / "cache", 10**6, 60, print)
    await first.put(KEY, ENTRY)
    assert await second.get(KEY) == ENTRY
    third = FileTier(tmp_path / "cache", 10**6, 60, print)
    size = len(ENTRY.written(KEY))
    assert [(tier.entries(), tier.size_bytes()) for tier in (first, second, third)] == [(1, size)] * 3
    assert names(tmp_path / "cache") == [f"{KEY}.audio"]
    assert (tmp_path / "cache").stat().st_mode & 0o077 == 0


async def test_files_are_bounded_in_bytes_and_time(tmp_path: Path) -> None:
    """As in memory, also over a restart: the order of use is in the files."""
    clock, evicted = Clock(), list[str]()
    size = len(entry(4000).written(KEY))
    tier = FileTier(tmp_path, 3 * size, 60, evicted.append, clock)
    for name in "abc":
        clock.now += 1
        await tier.put(name * 64, entry(4000))
    clock.now += 1
    assert await tier.get("a" * 64)
    tier = FileTier(tmp_path, 3 * size, 60, evicted.append, clock)
    await tier.put("d" * 64, entry(4000))
    assert [await tier.get(name * 64) is not None for name in "abcd"] == [True, False, True, True]
    await tier.put("e" * 64, entry(20_000))
    assert (await tier.get("e" * 64), tier.entries(), tier.size_bytes(), evicted) == (None, 3, 3 * size, ["size"])
    clock.now += 100
    assert await tier.get("c" * 64) is None
    assert (tier.entries(), tier.size_bytes(), evicted) == (2, 2 * size, ["size", "expired"])


def forged(audio: bytes = ENTRY.pcm, **changes: Any) -> bytes:
    """A written form whose checksum is right, with a header that is not; a change to None leaves the field out."""
    header = {**asdict(replace(ENTRY, pcm=b"")), "pcm": len(audio), "key": KEY, **changes}
    head = json.dumps({name: value for name, value in header.items() if value is not None}).encode()
    return b"otel-tts audio 2 %08x %s\n%s" % (zlib.crc32(audio, zlib.crc32(head)), head, audio)


def deep(head: bytes) -> bytes:
    """A written form with this for a header."""
    return b"otel-tts audio 2 %08x %s\n" % (zlib.crc32(head), head)


WRITTEN = ENTRY.written(KEY)
FORGED = {
    **{f"{field}={value!r}": forged(**{field: value})
       for field, values in {
           "sample_rate": (None, 0, -1, "24000", 24000.0, True, 10**9, 1e400, [24000]),
           "provider": (None, 7, [], {}),
           "model": (None, 7),
           "version": (None, False),
           "pcm": (None, 0, len(ENTRY.pcm) - 2, -1, "all"),
           "key": (None, "0" * 64, 7),
           "more": (1,),
       }.items()
       for value in values},
    "no audio": forged(b""),
    "half a sample": forged(ENTRY.pcm[:-1]),
    "another key's": ENTRY.written("0" * 64),
    "the first schema": b'otel-tts audio 1 {"sample_rate": 24000, "pcm": 2, "crc": 0}\n\0\0',
    "deep": deep(b"[" * 200_000),
    "digits": deep(b"9" * 100_000),
    "no object": deep(b"[1, 2]"),
    "no JSON": deep(b"\xff\xfe"),
    "empty": b"",
    "zeros": bytes(len(WRITTEN)),
    "half": WRITTEN[: len(WRITTEN) // 2],
    "twice": WRITTEN * 2,
    "crlf": WRITTEN.replace(b"\n", b"\r\n", 1),
}  # fmt: skip


@pytest.mark.parametrize("damage", FORGED.values(), ids=FORGED)
async def test_a_corrupt_file_is_dropped(tmp_path: Path, damage: bytes, record_property: Callable[[str, object], None]) -> None:
    """It is a miss, counted as invalid, and gone, so that the text is kept again."""
    evicted = list[str]()
    tier = FileTier(tmp_path, 10**6, 60, evicted.append)
    await tier.put(KEY, ENTRY)
    (tmp_path / f"{KEY}.audio").write_bytes(damage)
    record_property("hostile inputs: files", 1)
    assert (await tier.get(KEY), await tier.get(KEY)) == (None, None)
    assert (evicted, names(tmp_path), tier.entries(), tier.size_bytes()) == (["invalid"], [], 0, 0)
    await tier.put(KEY, ENTRY)
    assert await tier.get(KEY) == ENTRY


@given(st.data())
def test_any_damage_is_noticed(data: st.DataObject) -> None:
    """Any bit that flips, any piece that is cut out, doubled or put elsewhere: never audio that nobody made."""
    damaged = bytearray(WRITTEN)
    for _ in range(data.draw(st.integers(1, 3))):
        at, end = sorted(data.draw(st.tuples(*[st.integers(0, len(damaged))] * 2)))
        replacement = data.draw(st.one_of(st.binary(max_size=8), st.just(bytes(damaged[at:end]) * 2), st.just(b"")))
        damaged[at:end] = replacement
    if bytes(damaged) == WRITTEN:
        return
    with pytest.raises(CorruptEntryError):
        Entry.parse(bytes(damaged), KEY)


def directory(path: Path) -> None:
    """A directory with something in it."""
    path.mkdir()
    (path / "file").write_bytes(WRITTEN)


OTHER_THINGS: dict[str, Callable[[Path], Any]] = {
    "directory": directory,
    "pipe": os.mkfifo,
    "dangling link": lambda path: path.symlink_to("nowhere"),
    "link to itself": lambda path: path.symlink_to(path.name),
    "too large": lambda path: path.write_bytes(bytes(2 * 10**6)),
    "from the future": lambda path: (path.write_bytes(WRITTEN), os.utime(path, (0, 10**11))),
}


@pytest.mark.parametrize("make", OTHER_THINGS.values(), ids=OTHER_THINGS)
async def test_what_is_no_file_of_ours_is_dropped(
    tmp_path: Path, make: Callable[[Path], Any], record_property: Callable[[str, object], None]
) -> None:
    """Whatever stands in an entry's place: a miss, gone, and nobody waits for it."""
    evicted = list[str]()
    path = tmp_path / f"{KEY}.audio"
    make(path)
    tier = FileTier(tmp_path, 10**6, 60, evicted.append)
    assert await asyncio.wait_for(tier.get(KEY), 5) is None
    record_property("hostile inputs: files", 1)
    assert (evicted, path.is_symlink() or path.exists()) == (["invalid"], False)
    await tier.put(KEY, ENTRY)
    assert await tier.get(KEY) == ENTRY


async def test_a_file_larger_than_the_whole_cache_is_dropped(tmp_path: Path) -> None:
    """An entry that a process with more room wrote: reading it would take the memory of all others, and keeping it their place."""
    evicted = list[str]()
    (tmp_path / f"{KEY}.audio").write_bytes(entry(20_000).written(KEY))
    tier = FileTier(tmp_path, 10_000, 60, evicted.append)
    assert await tier.get(KEY) is None
    assert (evicted, names(tmp_path), tier.size_bytes()) == (["invalid"], [], 0)


@pytest.mark.parametrize("number", [errno.EACCES, errno.EPERM, errno.EIO], ids=errno.errorcode.get)
async def test_a_file_that_cannot_be_read_is_dropped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """Another user's, or on a broken disk: only the entry is lost, not the tier, and the text is kept again."""

    def fails(_: Path) -> bytes:
        raise OSError(number, os.strerror(number))

    evicted = list[str]()
    tier = FileTier(tmp_path, 10**6, 60, evicted.append)
    await tier.put(KEY, ENTRY)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_bytes", fails)
        assert await tier.get(KEY) is None
    assert (evicted, names(tmp_path), tier.entries()) == (["invalid"], [], 0)
    await tier.put(KEY, ENTRY)
    assert await tier.get(KEY) == ENTRY


async def test_what_a_dead_process_left_half_written_is_cleared_away(tmp_path: Path) -> None:
    """Only when it is old: another process may be writing right now."""
    old, new = tmp_path / f"{KEY}.1.partial", tmp_path / f"{KEY}.2.partial"
    for path in (old, new):
        path.write_bytes(b"half")
    os.utime(old, (1, 1))
    FileTier(tmp_path, 10**6, 60, print)
    assert names(tmp_path) == [new.name]


async def test_a_directory_that_goes_away_is_an_error_of_the_tier(tmp_path: Path) -> None:
    """Reading finds nothing; writing says so, and leaves nothing half done."""
    tier = FileTier(tmp_path / "cache", 10**6, 60, print)
    (tmp_path / "cache").rmdir()
    assert await tier.get(KEY) is None
    with pytest.raises(TierError):
        await tier.put(KEY, ENTRY)
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(TierError):
        await tier.get(KEY)


# --- Redis ----------------------------------------------------------------------------------------


class Redis:
    """A real server on a free port."""

    def __init__(self, program: Path, directory: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self._program, self._directory = program, directory
        self.start()

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Start it, empty, and wait until it answers."""
        command = [self._program, "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--dir", str(self._directory)]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if "eady to accept connections" in line:
                return
        raise AssertionError("Redis did not start.")

    def freeze(self) -> None:
        """It keeps its connections and answers nothing any more."""
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """It goes on."""
        self._process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """As a crash would."""
        self._process.kill()
        self._process.communicate()


@pytest.fixture
def redis(redis_server: Path, tmp_path: Path) -> Iterator[Redis]:
    """A running Redis."""
    server = Redis(redis_server, tmp_path)
    yield server
    server.kill()


async def test_redis_keeps_entries_for_a_time(redis: Redis) -> None:
    """What one process puts, another gets, as bytes that expire by themselves; a corrupt value is dropped."""
    evicted = list[str]()
    one, other = RedisTier(redis.url, 30, evicted.append), RedisTier(redis.url, 30, evicted.append)
    assert await one.get(KEY) is None
    await one.put(KEY, ENTRY)
    assert await other.get(KEY) == ENTRY
    from redis.asyncio import Redis as Client

    async with Client.from_url(redis.url) as client:
        (name,) = await client.keys()
        assert 29_000 < await client.pttl(name) <= 30_000
        assert KEY.encode() in name
        for damage in ["", *FORGED.values()]:
            await client.set(name, damage)
            assert await one.get(KEY) is None
            assert await client.keys() == []
        await client.rpush(name, "a list")
        assert await one.get(KEY) is None
        await one.put(KEY, ENTRY)
        assert await one.get(KEY) == ENTRY
        assert evicted == ["invalid"] * (len(FORGED) + 2)
    await one.close()
    await other.close()


async def test_a_redis_that_dies_is_an_error_of_the_tier_until_it_is_back(redis: Redis) -> None:
    """Killed: refused at once. Frozen: given up after half a second. Back: used again, over fresh connections."""
    tier, loop = RedisTier(redis.url, 30, print), asyncio.get_running_loop()
    await tier.put(KEY, ENTRY)
    redis.freeze()
    began = loop.time()
    with pytest.raises(TierError):
        await tier.get(KEY)
    assert loop.time() - began < 2
    redis.thaw()
    assert await tier.get(KEY) == ENTRY
    redis.kill()
    for _ in range(2):
        with pytest.raises(TierError):
            await tier.get(KEY)
        with pytest.raises(TierError):
            await tier.put(KEY, ENTRY)
    redis.start()
    assert await tier.get(KEY) is None
    await tier.put(KEY, ENTRY)
    assert await tier.get(KEY) == ENTRY
    await tier.close()


# --- in a service ---------------------------------------------------------------------------------


async def test_a_tier_that_cannot_be_used_is_refused_at_the_start(tmp_path: Path, capture_tts: Any) -> None:
    """With the variable, the tier and the reason, and without the password."""
    (tmp_path / "file").write_text("")
    for url, reason in (
        (f"file://{tmp_path}/file", "File exists"),
        ("redis://:secret@localhost/0?colour=red", "'colour'"),
        ("redis://:secret@localhost/0?socket_timeout=soon", "socket_timeout"),
    ):
        with pytest.raises(SettingError) as refused:
            Cache.open(cache_tiers(url), capture_tts.telemetry())
        assert "TTS_CACHE_URL" in str(refused.value)
        assert reason in str(refused.value)
        assert "secret" not in str(refused.value)


async def test_every_tier_is_asked_in_turn_and_filled_from_below(
    start: Any, scripted: Any, redis: Redis, tmp_path: Path, capture_tts: Any
) -> None:
    """Memory, then files, then Redis; what a lower tier has comes into the upper ones; names in files and Redis are hashes."""
    text = "A phrase that nobody must see."
    urls = cache_tiers(f"memory://,file://{tmp_path}/cache,{redis.url}")
    engine = scripted("one")
    client = await start(engine, cache=urls)
    await client.speak(text)
    files = tmp_path / "cache"
    await client.until(lambda: [Path(name).suffix for name in names(files)] == [".audio"])
    (name,) = names(files)
    assert name != f"{hashlib.sha256(text.encode()).hexdigest()}.audio"
    assert text.encode() not in (files / name).read_bytes()
    await client.until(lambda: len(capture_tts.points("tts.cache.size")) == 2)

    def writes() -> list[Any]:
        return [span for span in capture_tts.spans if span.name == "tts.cache.write"]

    await client.until(lambda: len(writes()) == 2)  # Redis has it, too

    # A second service on the same files and Redis has nothing in memory.
    again = await start(engine, cache=urls)
    hits = [(await again.speak(text)).rendition for _ in range(2)]
    assert [(hit.cache, hit.provider, hit.model) for hit in hits] == [(1, "one", "one-model")] * 2
    hit_tiers = [s["tts.cache.tier"] for s in capture_tts.syntheses(cache_result="hit")]
    assert hit_tiers == ["files", "memory"]
    assert len(engine.calls) == 1

    # A third one has Redis alone.
    third = await start(engine, cache=cache_tiers(f"memory://,file://{tmp_path}/other,{redis.url}"))
    await third.speak(text)
    assert [s["tts.cache.tier"] for s in capture_tts.syntheses(cache_result="hit")][2:] == ["redis"]
    await third.until(lambda: len(writes()) == 2 + 1)
    assert list((tmp_path / "other").glob("*.audio"))
    results = {
        (point.attributes["tts.cache.tier"], point.attributes["tts.cache.lookup.result"]): point.value
        for point in capture_tts.points("tts.cache.lookups")
    }
    assert results == {
        ("memory", "miss"): 3, ("files", "miss"): 2, ("redis", "miss"): 1,
        ("memory", "hit"): 1, ("files", "hit"): 1, ("redis", "hit"): 1,
    }  # fmt: skip
    synthesis_spans = {s.span.context.span_id for s in capture_tts.syntheses()}
    assert [(span.parent, span.links[0].context.span_id in synthesis_spans) for span in writes()] == [(None, True)] * (2 + 1)


async def test_a_dead_redis_fails_no_request(
    start: Any, scripted: Any, redis: Redis, capture_tts: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every request is answered by the engine; a few look-ups fail, then it is left alone, and used again when it is back."""
    monkeypatch.setattr(tiers, "PAUSE_S", 0.2)
    engine = scripted("one")
    client = await start(engine, cache=cache_tiers(redis.url))
    redis.kill()
    renditions = [(await client.speak(f"Number {n}.")).rendition for n in range(5)]
    assert [rendition.cache for rendition in renditions] == [2] * 5
    assert [s.outcome for s in capture_tts.syntheses()] == ["ok"] * 5
    assert capture_tts.total("tts.cache.lookups", {"tts.cache.lookup.result": "error"}) == 3
    redis.start()
    async with asyncio.timeout(5):
        while (await client.speak("Number 0.")).rendition.cache != 1:  # noqa: ASYNC110 - the server tells no event of ours
            await asyncio.sleep(0.01)
