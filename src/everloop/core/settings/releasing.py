"""How a challenger gets into charge, and what starts a retraining."""

from __future__ import annotations

from typing import Literal

from everloop.core.settings.section import Section, key

__all__ = ["ReleaseSettings", "RetrainSettings"]


class ReleaseSettings(Section):
    """How a release comes into charge."""

    rollout: Literal["direct", "shadow", "canary", "ab"] = key(
        "shadow",
        help="How a challenger is tried: not at all (direct), on every request beside the champion (shadow), or by "
        "answering a small share of the units (canary) or half of them (ab).",
    )
    canary_share: float = key(
        0.05, unit="share of the units", help="How much a challenger answers with rollout = 'canary'.", gt=0, lt=1
    )
    split_unit: str = key(
        "series",
        help="What traffic is split by: 'series', a column of the request such as a store or user, or 'header' for "
        "X-Everloop-Unit alone, which always goes before.",
        min_length=1,
        max_length=200,
    )
    alpha: float = key(0.05, unit="probability", help="Bound on promoting a challenger that is not better.", gt=0, lt=1)
    min_days: int = key(14, unit="days of truth", help="A trial is not decided before.", ge=2)
    max_days: int = key(42, unit="days of truth", help="A trial without a winner ends then; the champion stays.", ge=2)
    loss: str = key(
        "absolute",
        help="What an error costs when releases are compared: 'absolute', 'squared', 'pinball:Q' for a quantile, or "
        "'cost:OVER:UNDER', money for each unit forecast too much and too little.",
        pattern=r"^(absolute|squared|pinball:0?\.\d+|cost:\d+(\.\d+)?:\d+(\.\d+)?)$",
    )
    margin: float = key(
        0.0,
        unit="share of the champion's loss",
        help="A challenger that is surely not worse by more than this is promoted; 0 asks for a better one.",
        ge=0,
        lt=1,
    )
    cluster: str = key(
        "",
        help="What is independent when releases are compared: a column that names a series, such as the store, or "
        "'series'; empty takes the coarsest column with at least eight values.",
    )
    futility: float = key(
        0.02,
        unit="probability",
        help="A shadow trial ends when its chance to promote by max_days falls below this; 0 never ends it early.",
        ge=0,
        lt=1,
    )
    metric: str = key(
        "error",
        help="What decides an A/B test (rollout = 'ab'): 'error' of the forecasts, 'failures', 'outside' (truths "
        "outside the intervals), 'over' or 'under' (forecast too much or too little), or the name of a measurement.",
        min_length=1,
        max_length=100,
    )
    better: Literal["higher", "lower"] = key(
        "higher", help="Which way release.metric is better, where it is a measurement."
    )
    guardrails: list[str] = key(
        ["failures:0.01", "error:0.1"],
        help="What a challenger on a share of the traffic must not harm, each as 'NAME:MARGIN' or, for a measurement, "
        "'NAME:lower:MARGIN' or 'NAME:higher:MARGIN'. The margin is a share of the champion's value; for 'failures' "
        "and 'outside', which are shares, it is the difference.",
    )
    settle_days: int = key(
        1,
        unit="days",
        help="A day counts in a split comparison once so many whole days have passed since.",
        ge=0,
        le=60,
    )
    variance_reduction: Literal["before", "forecast", "none"] = key(
        "before",
        help="What makes a split comparison faster: each unit's own past (before), what was forecast for it before the "
        "split began (forecast), or nothing.",
    )
    rollback: Literal["auto", "off"] = key(
        "auto",
        help="Whether the previous champion takes over by itself when live errors have left the range that the release "
        "carries, and it would have done better; 'off' leaves it at the alert.",
    )
    rollback_cooldown_days: float = key(
        28.0, unit="days", help="After a rollback none follows by itself for so long.", ge=0
    )
    allow_pickle: bool = key(False, help="Load pickled models from bundles that this installation did not make.")
    trusted_pickles: list[str] = key(
        [],
        help="Pickled models that may be adopted and loaded: their sources as given to `everloop adopt`, or at least "
        "12 characters of a model's or release's digest.",
    )
    signing_key: str = key("", help="A file with an Ed25519 private key; each release that is made is signed with it.")
    trusted_keys: list[str] = key(
        [], help="Files with public keys; where any is named, servers load only releases signed with one of them."
    )


def _cron(text: str) -> str:
    if text and len(text.split()) not in (5, 6):
        raise ValueError("expected five fields: minute hour day month weekday, such as '0 3 * * 1'")
    return text


class RetrainSettings(Section):
    """What starts a retraining."""

    schedule: str = key(
        "0 3 * * 1", unit="cron, UTC", help="When to retrain; empty means never by schedule.", check=_cron
    )
    on: list[Literal["decay", "drift"]] = key(["decay", "drift"], help="Findings that start a retraining.")
    cooldown_hours: float = key(
        72.0, unit="hours", help="A finding does not start a retraining sooner than this after the last one.", ge=0
    )
