from __future__ import annotations

import io
import json
import logging
import re
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from everloop.core.errors import SettingsError
from everloop.core.settings.whole import Settings
from everloop.serve.doors import journal as module
from everloop.serve.doors.journal import Journal, RequestLine
from everloop.serve.doors.redaction import Redaction, install_redaction, redact

Access = Callable[..., Settings]
SECRET = "c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0Xy0"
KEY = f"evl_0123456789ab_{SECRET}"
LINE = RequestLine(1_790_000_000.25, "/v1/forecast", "POST", 200, 0.0012345, "q1", "t1", "0123456789ab", "p1", "r1")


def refused(status: int, **more: str) -> RequestLine:
    return RequestLine(1_790_000_001.0, "/v1/outcomes", "POST", status, 0.5, **more)


def written(settings: Settings, root: Path, *lines: RequestLine) -> str:
    journal = Journal(settings, root)
    journal.start()
    for line in lines:
        journal.write(line)
    journal.stop()
    return (root / "requests.log").read_text() if settings.access.log_file else ""


def test_each_request_is_one_line_of_json(access: Access, tmp_path: Path) -> None:
    settings = access(log="all", log_file="requests.log")
    text = written(settings, tmp_path, LINE, refused(401, error="key_missing"), refused(503, error="overloaded"))
    first, second, third = map(json.loads, text.splitlines())
    assert first == {
        "time": "2026-09-21T14:13:20.250Z",
        "level": "info",
        "event": "request",
        "method": "POST",
        "route": "/v1/forecast",
        "status": 200,
        "milliseconds": 1.234,
        "request_id": "q1",
        "trace_id": "t1",
        "key": "0123456789ab",
        "prediction": "p1",
        "release": "r1",
    }
    assert (second["level"], second["error"]) == ("warning", "key_missing")
    assert third["level"] == "error"
    assert "key" not in second


def test_a_line_may_be_text(access: Access, tmp_path: Path) -> None:
    settings = access(log="all", log_file="requests.log", log_format="text")
    assert written(settings, tmp_path, LINE) == (
        "2026-09-21T14:13:20.250Z INFO POST /v1/forecast 200 1.234ms request_id=q1 trace_id=t1 key=0123456789ab"
        " prediction=p1 release=r1\n"
    )


def test_by_default_only_failures_are_logged(access: Access, tmp_path: Path) -> None:
    settings = access(log_file="logs/requests.log")
    journal = Journal(settings, tmp_path)
    assert [journal.is_wanted(status) for status in (200, 304, 400, 503)] == [False, False, True, True]
    journal.start()
    journal.write(LINE)
    journal.write(refused(404))
    journal.stop()
    assert [json.loads(line)["status"] for line in (tmp_path / "logs/requests.log").read_text().splitlines()] == [404]


def test_nothing_is_logged_where_it_is_off(access: Access, tmp_path: Path) -> None:
    journal = Journal(access(log="off", log_file="requests.log"), tmp_path)
    journal.start()
    assert not journal.is_wanted(500)
    journal.write(refused(500))
    journal.stop()
    assert list(tmp_path.iterdir()) == []


def test_lines_go_to_standard_error(access: Access, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    written(access(log="all"), tmp_path, LINE)
    out, err = capfd.readouterr()
    assert out == ""
    assert json.loads(err)["prediction"] == "p1"


def test_too_many_lines_are_lost_and_that_is_told(access: Access, tmp_path: Path) -> None:
    journal = Journal(access(log_file="requests.log"), tmp_path)
    for _ in range(1000):
        journal.write(refused(400))
    journal.start()
    journal.stop()
    lines = [json.loads(line) for line in (tmp_path / "requests.log").read_text().splitlines()]
    assert len(lines) == 251
    assert (lines[-1]["event"], lines[-1]["lost"]) == ("lines_lost", 750)
    assert journal.lost == 750


def test_several_processes_append_and_a_moved_file_is_made_anew(access: Access, tmp_path: Path) -> None:
    settings = access(log="all", log_file="requests.log")
    first, second = Journal(settings, tmp_path), Journal(settings, tmp_path)
    for journal in (first, second):
        journal.write(LINE)
        journal._flush()
    (tmp_path / "requests.log").replace(tmp_path / "requests.log.1")
    for journal in (first, second):
        journal.write(LINE)
        journal._flush()
    for name in ("requests.log", "requests.log.1"):
        assert len((tmp_path / name).read_text().splitlines()) == 2
    first.stop()
    second.stop()


def test_the_thread_writes_while_the_server_runs(
    access: Access, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_PAUSE_SECONDS", 0.0)
    journal = Journal(access(log="all", log_file="requests.log"), tmp_path)
    wrote = threading.Semaphore(0)
    write = journal._sink.write

    def tell(data: bytes) -> None:
        write(data)
        wrote.release()

    monkeypatch.setattr(journal._sink, "write", tell)
    journal.start()
    for number in range(3):
        journal.write(LINE)
        assert wrote.acquire(timeout=10)
        assert len((tmp_path / "requests.log").read_text().splitlines()) == number + 1
    journal.stop()


def test_a_file_that_cannot_be_written_is_told(access: Access, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SettingsError) as caught:
        Journal(access(log_file="file/requests.log"), tmp_path)
    assert caught.value.path == "access.log_file"


def test_a_full_disk_costs_lines_not_the_server(
    access: Access, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("there is no /dev/full here")
    journal = Journal(access(log="all", log_file="/dev/full"), tmp_path)
    for _ in range(3):
        journal.write(LINE)
        journal._flush()
    assert caplog.text.count("cannot be written") == 1


def test_a_key_sent_as_a_request_id_is_not_logged(access: Access, tmp_path: Path) -> None:
    settings = access(log="all", log_file="requests.log")
    text = written(settings, tmp_path, refused(401, request_id=KEY))
    assert SECRET not in text
    assert json.loads(text)["request_id"] == "evl_0123456789ab_***"


@pytest.mark.parametrize(
    "text",
    [
        KEY,
        f"Authorization: Bearer {KEY}",
        f"authorization=Basic {SECRET}",
        f"AUTHORIZATION: {SECRET}",
        f"x-api-key: {SECRET}",
        f"{{'x-api-key': '{SECRET}', 'host': 'x'}}",
        f'{{"Authorization":"Bearer {SECRET}"}}',
        f"[(b'authorization', b'Bearer {SECRET}'), (b'host', b'x')]",
        f"Proxy-Authorization: Digest {SECRET}",
        f"got bearer {SECRET}",
        f"curl -H 'X-API-Key: {SECRET}' http://x",
    ],
)
def test_secrets_are_taken_out(text: str) -> None:
    clean = redact(text)
    assert SECRET not in clean
    assert "***" in clean


@pytest.mark.parametrize(
    "text",
    ["authorization is required", "the key evl_0123456789ab holds", "send: Authorization", "bearer of news", ""],
)
def test_what_is_no_secret_stays(text: str) -> None:
    assert redact(text) == text


@given(st.text(max_size=40), st.text(max_size=40))
def test_a_key_is_found_in_any_text(before: str, after: str) -> None:
    clean = redact(f"{before} {KEY} {after}")
    assert SECRET not in clean


@pytest.fixture
def heard() -> Iterator[tuple[logging.Logger, io.StringIO]]:
    """A logger with a handler of its own, while records are redacted."""
    before = logging.getLogRecordFactory()
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logging.Formatter("%(message)s"))
    logger = logging.getLogger("somebody.elses.library")
    logger.addHandler(handler)
    logger.propagate = False
    yield logger, stream
    logger.removeHandler(handler)
    logger.propagate = True
    logging.setLogRecordFactory(before)


def test_no_handler_sees_a_key(heard: tuple[logging.Logger, io.StringIO]) -> None:
    logger, stream = heard
    install_redaction()
    install_redaction()
    logger.error("sent %s with %r", KEY, {"authorization": f"Bearer {SECRET}"})
    logger.error("plain %d", 7)
    try:
        raise ValueError(f"bad header Authorization: Bearer {KEY}")
    except ValueError:
        logger.exception("failed", stack_info=True)
    logger.error(KEY, "an argument too many")
    text = stream.getvalue()
    assert SECRET not in text
    assert "evl_0123456789ab_***" in text
    assert "plain 7" in text
    assert "ValueError: bad header" in text
    assert re.search(r"an argument too many", text)


def test_the_filter_cleans_and_keeps_each_record() -> None:
    record = logging.LogRecord("x", logging.INFO, "x.py", 1, "a %s", (KEY,), None)
    assert Redaction().filter(record) is True
    assert SECRET not in record.getMessage()
    arguments: tuple[Any, ...] = ("b",)
    other = logging.LogRecord("x", logging.INFO, "x.py", 1, "a %s", arguments, None)
    Redaction().filter(other)
    assert other.args == arguments
