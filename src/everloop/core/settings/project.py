"""What the project is and where its data come from."""

from __future__ import annotations

from typing import Literal

from everloop.core.errors import SettingsError
from everloop.core.frequency import Frequency
from everloop.core.settings.cleaning import CleaningSettings
from everloop.core.settings.section import Section, key, table

__all__ = ["ContractSettings", "DataSettings", "ProjectSettings"]

Weekday = Literal["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]


class ProjectSettings(Section):
    """What the project is."""

    name: str = key(
        help="The project's name; also the model's name over HTTP.", pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$"
    )
    task: Literal["forecasting", "regression", "classification"] = key("forecasting", help="The kind of task.")
    seed: int = key(7, help="The one seed that every random choice follows from.", ge=0)


class ContractSettings(Section):
    """What a row must be to enter the table; a row that breaks it goes to quarantine with its reasons."""

    types: dict[str, Literal["string", "integer", "float", "boolean", "date", "datetime"]] = key(
        {}, help="The type of a column, by column name; a value that cannot be read as it is a bad one."
    )
    ranges: dict[str, tuple[float | None, float | None]] = key(
        {}, help="The lowest and highest value of a column, by column name."
    )
    required: list[str] = key([], help="Columns that may not be empty, beside the series, time and target.")
    negative_target: Literal["quarantine", "accept"] = key(
        "quarantine", help="What becomes of a row with a target below zero."
    )
    unknown_series: Literal["accept", "quarantine"] = key(
        "accept", help="What becomes of rows of a series that the table has never seen (after the first ingestion)."
    )
    future_rows: Literal["quarantine", "accept"] = key(
        "quarantine", help="What becomes of a row with a target that is dated after the present."
    )
    max_bad_share: float = key(
        0.01, unit="share of the rows", help="Above this share of bad rows the ingestion stops.", ge=0, le=1
    )
    max_gap: int = key(
        0, unit="steps", help="A longer hole inside a series is a warning; 0 means that holes are not looked at.", ge=0
    )
    max_age: int = key(0, unit="steps", help="Newest data older than this are stale: a warning; 0 means never.", ge=0)


def _frequency(text: str) -> str:
    try:
        return Frequency.parse(text).text
    except SettingsError as error:
        raise ValueError(f"{error.message}; {error.hint}") from None


class DataSettings(Section):
    """Where the data come from and what their columns are."""

    source: str = key(
        "",
        help="Files (CSV, Parquet; a glob is allowed), a database URL (with `query`), or a Python function "
        "'module:function' that returns frames.",
    )
    query: str = key("", help="The SQL query, where the source is a database URL.")
    series: list[str] = key([], help="The columns that together name a series.")
    time: str = key("", help="The time column.")
    target: str = key("", help="The column to forecast.")
    frequency: str = key("1d", help="The step of the time grid, such as 1h, 1d, 1w, 1mo.", check=_frequency)
    known_ahead: list[str] = key([], help="Columns whose values are known for the future too.")
    observed: list[str] = key([], help="Columns known only up to the present; models see their last known value.")
    static: list[str] = key([], help="Columns that do not change within a series.")
    future_source: str = key("", help="A second source, of the known-ahead columns for times to come.")
    future_query: str = key("", help="The SQL query of the second source, where it is a database URL.")
    missing_ahead: Literal["last", "error"] = key(
        "last",
        help="What a known-ahead value that is missing at forecast time becomes: the last known one, or an error.",
    )
    calendar: list[str] = key(
        [],
        help="Calendar columns to make, known for every time ahead: 'holidays:US', 'holidays:DE-BY', "
        "'holidays:{country}' (by a static column), 'school_holidays:DE-BY', 'school_holidays:breaks.csv', "
        "'paydays:15,last'.",
    )
    closed_weekdays: list[Weekday] = key([], help="Weekdays without trade: their forecast is zero.")
    contract: ContractSettings = table(ContractSettings)
    cleaning: CleaningSettings = table(CleaningSettings)
