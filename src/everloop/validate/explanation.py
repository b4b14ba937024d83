"""What groups of features bring: left out, shuffled, and by the gain of splits, on the windows of a backtest.

- *Left out*: the recipe is fitted without a group, and its forecasts are compared with those of the whole, case by
  case, on the same windows. This is what the group is worth, since other features may stand in for it.
- *Shuffled*: the fitted model is asked with the group's values shuffled among the rows of a window that it has not
  seen. This is how much it leans on the group: for features that say the same as others, more than they are worth.
- *Gain*: the share of the group in what the splits gained in training. It knows no unseen data, and favours features
  with many values.

All intervals of one kind hold together with probability ``1 - alpha``: each of ``n`` groups gets ``alpha / n``
(Bonferroni). A forecaster that is not made of such features is explained by the columns of the data: each is left out
of the panel.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from everloop.core.errors import UsageError, nearest
from everloop.core.project import Project
from everloop.core.seeds import derive_seed
from everloop.data.panel import Panel
from everloop.experiment.training import fit_context, make_candidate
from everloop.models.asking import ask
from everloop.models.explaining import TreeModel, gain_shares, shuffled
from everloop.models.forecaster import Forecaster, ForecastRequest
from everloop.models.groups import groups_of
from everloop.validate.backtest import Backtest, BacktestPlan, Fold, run_backtest
from everloop.validate.gates.pairing import Clusters, Estimate, saving
from everloop.validate.scores import score_as_set

__all__ = ["Explanation", "GroupWorth", "Recipe", "explain"]

Progress = Callable[[int, int, str], None]
"""Called with the backtests done, all of them, and a word on the present one."""


@dataclass(frozen=True, slots=True)
class GroupWorth:
    """What one group of features brings.

    Attributes:
        group: its name.
        features: their names.
        gain: its share of what all splits gained; ``None`` for a model that does not tell.
        without: the metric without the group; ``None`` where it was not left out.
        left_out: by which share the loss of the whole is smaller than without the group, with its interval; ``None``
            where it was not left out, or the metric has no losses by case.
        shuffled: by which share the loss is smaller than with the group's values shuffled; ``None`` likewise.
    """

    group: str
    features: tuple[str, ...]
    gain: float | None
    without: float | None
    left_out: Estimate | None
    shuffled: Estimate | None

    @property
    def verdict(self) -> str:
        """Whether leaving it out is surely worse (it helps), surely better (it harms), or neither is sure."""
        if self.left_out is None or self.left_out.lower is None:
            return "cannot tell"
        if self.left_out.is_surely_positive:
            return "helps"
        return "harms" if self.left_out.is_surely_negative else "not sure"

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "group": self.group,
            "features": list(self.features),
            "gain": self.gain,
            "without": self.without,
            "left_out": None if self.left_out is None else self.left_out.to_dict(),
            "shuffled": None if self.shuffled is None else self.shuffled.to_dict(),
            "verdict": self.verdict,
        }


@dataclass(frozen=True, slots=True)
class Explanation:
    """What a recipe's features bring.

    Attributes:
        candidate: its name.
        options: its constructor's parameters.
        metric: the metric.
        value: the whole's, over all windows.
        windows: how many windows.
        alpha: the error of all intervals of one kind together, at each end.
        groups: what each brings, the most first.
        features: each feature's share of the gain, largest first; empty for a model that does not tell.
    """

    candidate: str
    options: dict[str, Any]
    metric: str
    value: float | None
    windows: int
    alpha: float
    groups: tuple[GroupWorth, ...]
    features: dict[str, float]

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "candidate": self.candidate,
            "options": self.options,
            "metric": self.metric,
            "value": self.value,
            "windows": self.windows,
            "alpha": self.alpha,
            "groups": [each.to_dict() for each in self.groups],
            "features": self.features,
        }


@dataclass(frozen=True, slots=True)
class Recipe:
    """What is explained: a candidate with its options."""

    candidate: str
    options: Mapping[str, Any]


def explain(
    project: Project,
    panel: Panel,
    recipe: Recipe,
    *,
    only: Collection[str] = (),
    by_column: bool = False,
    leaving_out: bool = True,
    progress: Progress = lambda done, total, word: None,
) -> Explanation:
    """What the groups of a recipe's features bring, on the project's backtest windows.

    Args:
        project: the project.
        panel: the data.
        recipe: what is explained.
        only: the groups that are looked at; all by default.
        by_column: whether each column of the data is a group of its own.
        leaving_out: whether groups are left out, which takes a backtest for each.
        progress: told the backtests done.

    Raises:
        UsageError: the candidate or a group is unknown, or there is nothing to leave out.
        ModelError: the history is too short, or the candidate fails.
    """
    made: list[Forecaster] = []
    progress(0, 1, "the whole")
    whole = _backtest(project, panel, recipe, made.append)
    models = [each for each in made if isinstance(each, TreeModel)]
    groups = _asked(_groups(panel, models[0] if models else None, by_column=by_column), only, recipe.candidate)
    alpha = project.settings.validation.gates.alpha
    compare = _Compare(project, panel, whole, alpha / len(groups))
    gains = _mean_gains(models)
    mixed = _shuffled(project, whole, models, groups)
    worth = []
    for done, (name, features) in enumerate(groups.items(), start=1):
        progress(done, len(groups) + 1, f"without {name}" if leaving_out else name)
        lacking = _without(project, panel, recipe, name, features) if leaving_out else None
        worth.append(
            GroupWorth(
                name,
                features,
                sum(gains.get(each, 0.0) for each in features) if gains else None,
                None if lacking is None else compare.value(lacking),
                None if lacking is None else compare.saved(lacking),
                compare.saved(mixed[name]) if name in mixed else None,
            )
        )
    progress(len(groups) + 1, len(groups) + 1, "")
    ranked = sorted(worth, key=_worth, reverse=True)
    options = make_candidate(project, recipe.candidate, options=recipe.options).parameters()
    metric = project.settings.validation.metric
    value = compare.value(whole)
    return Explanation(recipe.candidate, options, metric, value, len(whole.folds), alpha, tuple(ranked), gains)


@dataclass(frozen=True, slots=True)
class _Compare:
    """Backtests held against that of the whole."""

    project: Project
    panel: Panel
    whole: Backtest
    alpha: float

    def value(self, backtest: Backtest) -> float | None:
        settings = self.project.settings
        scores = score_as_set(backtest, self.panel, settings, has_slices=False)
        measure = scores.overall.get(settings.validation.metric)
        return None if measure is None else measure.value

    def saved(self, lacking: Backtest) -> Estimate | None:
        clusters = Clusters.of(self.panel, self.project.settings.release.cluster)
        metric = self.project.settings.validation.metric
        return saving(self.whole, lacking, clusters, metric=metric, alpha=self.alpha)


def _worth(each: GroupWorth) -> tuple[float, float, float]:
    def of(estimate: Estimate | None) -> float:
        return -9.0 if estimate is None or estimate.value is None else estimate.value

    return of(each.left_out), of(each.shuffled), each.gain or 0.0


def _backtest(
    project: Project, panel: Panel, recipe: Recipe, keep: Callable[[Forecaster], None] = lambda model: None
) -> Backtest:
    """A backtest that fits anew at each window, so that every window is unseen; the models are handed on."""

    def make() -> Forecaster:
        model = make_candidate(project, recipe.candidate, options=recipe.options)
        keep(model)
        return model

    plan = replace(BacktestPlan.of(project.settings), mode="refit")
    return run_backtest(make, panel, plan, fit_context(project), name=recipe.candidate)


def _asked(groups: Mapping[str, tuple[str, ...]], only: Collection[str], candidate: str) -> dict[str, tuple[str, ...]]:
    """The groups that are looked at; all where ``only`` is empty.

    Raises:
        UsageError: one of them is unknown, or there is none at all.
    """
    unknown = [name for name in only if name not in groups]
    if unknown or not groups:
        raise UsageError(
            "explain_group",
            f"there is no group {unknown[0]!r}" if unknown else f"{candidate} has no features to leave out",
            hint=nearest(unknown[0], groups) if unknown else "it looks at the target's past alone",
            path="--group",
        )
    return {name: members for name, members in groups.items() if not only or name in only}


def _groups(panel: Panel, model: TreeModel | None, *, by_column: bool) -> dict[str, tuple[str, ...]]:
    """The features of each group; of a model that does not show them, the panel's columns."""
    if model is not None:
        names = list(dict.fromkeys(name for own, _ in model.boosters() for name in own))
    else:
        kinds = (("known", panel.known), ("observed", panel.observed), ("static", panel.static))
        names = [f"{kind}_{column}" for kind, columns in kinds for column in sorted(columns)]
    found = groups_of(names, by_column=by_column)
    return {group: tuple(names[place] for place in places) for group, places in found.items()}


def _without(project: Project, panel: Panel, recipe: Recipe, group: str, features: Sequence[str]) -> Backtest:
    """The backtest without a group."""
    model = type(make_candidate(project, recipe.candidate, options=recipe.options))
    if "without" in inspect.signature(model).parameters:
        gone = [*recipe.options.get("without", ()), group]
        return _backtest(project, panel, Recipe(recipe.candidate, {**recipe.options, "without": gone}))
    columns = {each.removeprefix(f"{kind}_") for kind in ("known", "observed", "static") for each in features}
    return _backtest(project, _lacking(panel, columns), recipe)


def _lacking(panel: Panel, columns: Collection[str]) -> Panel:
    """The panel without some columns."""

    def kept(values: Mapping[str, Any]) -> dict[str, Any]:
        return {name: each for name, each in values.items() if name not in columns}

    return replace(
        panel,
        known=kept(panel.known),
        observed=kept(panel.observed),
        static=kept(panel.static),
        categories=kept(panel.categories),
        future=replace(panel.future, columns=kept(panel.future.columns)),
    )


def _mean_gains(models: Sequence[TreeModel]) -> dict[str, float]:
    """Each feature's share of the gain, the mean over the windows' models."""
    total: dict[str, float] = {}
    for model in models:
        for name, share in gain_shares(model).items():
            total[name] = total.get(name, 0.0) + share / len(models)
    return dict(sorted(total.items(), key=lambda each: (-each[1], each[0])))


def _shuffled(
    project: Project, whole: Backtest, models: Sequence[TreeModel], groups: Mapping[str, Sequence[str]]
) -> dict[str, Backtest]:
    """The windows' own models asked again with each group shuffled."""
    if len(models) != len(whole.folds):
        return {}
    seed = derive_seed(project.settings.project.seed, "explain")
    request = ForecastRequest(whole.plan.horizon)
    found = {}
    for name, features in groups.items():
        folds: list[Fold] = []
        for number, (fold, model) in enumerate(zip(whole.folds, models, strict=True)):
            mixed = shuffled(model, features, derive_seed(seed, name, str(number)))
            folds.append(replace(fold, mean=ask(mixed, request).mean))  # type: ignore[arg-type]
        found[name] = Backtest(whole.plan, (), tuple(folds))
    return found
