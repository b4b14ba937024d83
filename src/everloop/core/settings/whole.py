"""The whole of ``everloop.toml``."""

from __future__ import annotations

from everloop.core.errors import SettingsError
from everloop.core.settings.costs import CostSettings
from everloop.core.settings.engine import EngineSettings
from everloop.core.settings.monitoring import MonitorSettings
from everloop.core.settings.operating import LoopSettings, StoreSettings, TrackingSettings
from everloop.core.settings.project import DataSettings, ProjectSettings
from everloop.core.settings.releasing import ReleaseSettings, RetrainSettings
from everloop.core.settings.section import Section, table
from everloop.core.settings.serving import AccessSettings, LogSettings, ServeSettings
from everloop.core.settings.training import ForecastSettings, TrainSettings, ValidateSettings
from everloop.core.settings.tuning import TuneSettings

__all__ = ["Settings"]


class Settings(Section):
    """The whole of ``everloop.toml``."""

    project: ProjectSettings = table(ProjectSettings)
    data: DataSettings = table(DataSettings)
    forecast: ForecastSettings = table(ForecastSettings)
    train: TrainSettings = table(TrainSettings)
    tune: TuneSettings = table(TuneSettings)
    validation: ValidateSettings = table(ValidateSettings, alias="validate")
    costs: CostSettings = table(CostSettings)
    engine: EngineSettings = table(EngineSettings)
    release: ReleaseSettings = table(ReleaseSettings)
    retrain: RetrainSettings = table(RetrainSettings)
    monitor: MonitorSettings = table(MonitorSettings)
    serve: ServeSettings = table(ServeSettings)
    access: AccessSettings = table(AccessSettings)
    log: LogSettings = table(LogSettings)
    loop: LoopSettings = table(LoopSettings)
    store: StoreSettings = table(StoreSettings)
    tracking: TrackingSettings = table(TrackingSettings)

    def _check(self) -> None:
        """What tables must keep to together.

        Raises:
            SettingsError: they do not.
        """
        costs, horizon = self.costs, self.forecast.horizon
        if costs.periods > horizon:
            raise SettingsError(
                "settings_value",
                f"costs.periods: {costs.periods} steps are more than the forecast's {horizon}",
                hint="forecast.horizon must reach as far as an order has to last",
                path="costs.periods",
            )
        if self.validation.metric != "cost":
            return
        if not costs.is_set:
            raise SettingsError(
                "settings_value",
                "validate.metric: 'cost' needs costs.overstock and costs.stockout",
                hint="say in [costs] what a unit too many and one too few costs",
                path="validate.metric",
            )
        if self.validation.windows < 3:
            raise SettingsError(
                "settings_value",
                f"validate.metric: 'cost' needs validate.windows = 3 or more; got {self.validation.windows}",
                hint="the orders of a window learn from the errors of the others",
                path="validate.windows",
            )
