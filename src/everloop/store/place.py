"""Where a store is: its URL in parts, for those who go there by the database's own driver."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, cast
from urllib.parse import parse_qsl, unquote

from everloop.core.errors import SettingsError

__all__ = ["Place", "connect_postgres", "missing_driver", "place_of"]

_CONNECT_SECONDS = 3
_SQLITE = re.compile(r"sqlite:///(?P<database>[^?:][^?]*)")
_POSTGRES = re.compile(
    r"postgresql\+psycopg://(?:(?P<user>[^:@/]*)(?::(?P<password>[^@]*))?@)?(?P<host>[^:@/?\[\]]*)(?::(?P<port>\d+))?"
    r"/(?P<database>[^?]*)(?:\?(?P<options>.*))?"
)


@dataclass(frozen=True, slots=True)
class Place:
    """The parts of a store's URL.

    Attributes:
        url: the whole of it.
        is_sqlite: whether it is a file of SQLite; else a PostgreSQL server.
        database: the file, or the name of the database.
        shown: the URL without its password.
        login: who asks which server, as psycopg takes it.
    """

    url: str = field(repr=False)
    is_sqlite: bool
    database: str
    shown: str
    login: dict[str, Any] = field(default_factory=dict, repr=False)


def missing_driver(error: ModuleNotFoundError) -> SettingsError:
    """The error that tells which database driver is to be installed."""
    return SettingsError(
        "store_driver",
        f"the driver {error.name!r} is not installed",
        hint="pip install 'everloop[postgres]'",
        path="store.url",
    )


def place_of(url: str) -> Place:
    """The parts of a URL as SQLAlchemy reads it; what is not of the usual form, SQLAlchemy itself is asked for.

    Raises:
        SettingsError: it is no URL of a database.

    >>> place_of("postgresql+psycopg://me:secret@db/shop").shown
    'postgresql+psycopg://me:***@db/shop'
    """
    if found := _SQLITE.fullmatch(url):
        return Place(url, True, found["database"], url)
    found = _POSTGRES.fullmatch(url)
    options = parse_qsl(found["options"] or "", keep_blank_values=True) if found else []
    if found is None or len(dict(options)) < len(options):
        return _unusual(url)
    password = found["password"]
    shown = url if password is None else f"{url[: found.start('password')]}***{url[found.end('password') :]}"
    return Place(
        url,
        False,
        found["database"],
        shown,
        {
            "host": found["host"] or None,
            "port": int(found["port"]) if found["port"] else None,
            "user": unquote(found["user"]) if found["user"] else None,
            "password": None if password is None else unquote(password),
            "dbname": found["database"] or None,
            **dict(options),
        },
    )


def connect_postgres(place: Place) -> Any:
    """A psycopg connection that commits each statement by itself.

    Raises:
        psycopg.Error: the server does not answer within three seconds, or knows us not.
    """
    import psycopg  # an optional part of the installation, which the URL asks for

    return psycopg.connect(autocommit=True, **{"connect_timeout": _CONNECT_SECONDS, **place.login})


def _unusual(url: str) -> Place:
    from sqlalchemy.engine import make_url  # 100 ms of a start that usual URLs need not pay
    from sqlalchemy.exc import ArgumentError

    try:
        parsed = make_url(url)
        backend = parsed.get_backend_name()
        if backend not in ("sqlite", "postgresql"):
            raise ArgumentError(f"{backend} cannot be a store")
    except (ArgumentError, ValueError) as error:
        raise SettingsError(
            "store_url",
            f"{url!r} is not a database URL: {error}",
            hint="sqlite:///file.db or postgresql+psycopg://user@host/name",
            path="store.url",
        ) from error
    login = {
        "host": parsed.host,
        "port": parsed.port,
        "user": parsed.username,
        "password": parsed.password,
        "dbname": parsed.database,
        **cast("dict[str, Any]", {name: value for name, value in parsed.query.items() if isinstance(value, str)}),
    }
    shown = parsed.render_as_string(hide_password=True)
    return Place(url, backend == "sqlite", parsed.database or "", shown, {} if backend == "sqlite" else login)
