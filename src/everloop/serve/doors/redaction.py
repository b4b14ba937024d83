"""No log holds a key: what looks like one is taken out of every record before any handler sees it."""

from __future__ import annotations

import logging
import re
from typing import Any

from everloop.store.records import KEY_PREFIX

__all__ = ["Redaction", "install_redaction", "redact", "redact_keys"]

_KEY = re.compile(r"\b(evl_[0-9a-f]{12}_)[A-Za-z0-9_-]+")
_HEADER = re.compile(
    # as a header's line, in a dict, in a pair
    r"""(\b(?:authorization|x-api-key)(?:["']?\s*[:=]\s*|["']\s*,\s*)(?:b?["'])?)"""
    r"""(?:(?:bearer|basic|digest|negotiate)\s+)?[^\s"',;)}\]]+""",
    re.IGNORECASE,
)
_BEARER = re.compile(r"\b(bearer\s+)[A-Za-z0-9._~+/-]{16,}=*", re.IGNORECASE)


def redact(text: str) -> str:
    """A text without secrets: keys keep their id, header values go.

    >>> redact("sent evl_0123456789ab_c2VjcmV0c2VjcmV0 and X-API-Key: hunter2")
    'sent evl_0123456789ab_*** and X-API-Key: ***'
    """
    return _BEARER.sub(r"\1***", _HEADER.sub(r"\1***", redact_keys(text)))


def redact_keys(text: str) -> str:
    """The same for keys of Everloop alone: in a tenth of the time, for text where no header can stand."""
    return _KEY.sub(r"\1***", text) if KEY_PREFIX in text else text


class Redaction(logging.Filter):
    """Takes secrets out of a record's message, traceback and stack; lets every record through."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Clean the record in place."""
        try:
            text = record.getMessage()
        except Exception:
            # a message that does not fit its arguments would be printed as it is by logging's own error report
            text = f"{record.msg} {record.args}"
            record.msg, record.args = redact(text), ()
        clean = redact(text)
        if clean != text:
            record.msg, record.args = clean, ()
        if record.exc_info and not record.exc_text:
            record.exc_text = redact(_FORMATTER.formatException(record.exc_info))
        if record.stack_info:
            record.stack_info = redact(record.stack_info)
        return True


_FORMATTER = logging.Formatter()
_REDACTION = Redaction()


def install_redaction() -> None:
    """Clean every record of this process from now on, whichever logger makes it and whichever handler writes it."""
    make = logging.getLogRecordFactory()
    if getattr(make, "is_redacting", False):
        return

    def make_clean(*args: Any, **kwargs: Any) -> logging.LogRecord:
        record = make(*args, **kwargs)
        _REDACTION.filter(record)
        return record

    make_clean.is_redacting = True  # type: ignore[attr-defined]  # a mark, so that it is not wrapped twice
    logging.setLogRecordFactory(make_clean)
