"""The whole of ``everloop.toml``."""

from __future__ import annotations

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
