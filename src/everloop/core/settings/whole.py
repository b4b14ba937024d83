"""The whole of ``everloop.toml``."""

from __future__ import annotations

from pydantic import Field

from everloop.core.settings.monitoring import MonitorSettings
from everloop.core.settings.operating import LoopSettings, StoreSettings, TrackingSettings
from everloop.core.settings.project import DataSettings, ProjectSettings
from everloop.core.settings.releasing import ReleaseSettings, RetrainSettings
from everloop.core.settings.section import Section
from everloop.core.settings.serving import AccessSettings, LogSettings, ServeSettings
from everloop.core.settings.training import ForecastSettings, TrainSettings, ValidateSettings
from everloop.core.settings.tuning import TuneSettings

__all__ = ["Settings"]


class Settings(Section):
    """The whole of ``everloop.toml``."""

    project: ProjectSettings
    data: DataSettings = Field(default_factory=DataSettings)
    forecast: ForecastSettings = Field(default_factory=ForecastSettings)
    train: TrainSettings = Field(default_factory=TrainSettings)
    tune: TuneSettings = Field(default_factory=TuneSettings)
    validation: ValidateSettings = Field(default_factory=ValidateSettings, alias="validate")
    release: ReleaseSettings = Field(default_factory=ReleaseSettings)
    retrain: RetrainSettings = Field(default_factory=RetrainSettings)
    monitor: MonitorSettings = Field(default_factory=MonitorSettings)
    serve: ServeSettings = Field(default_factory=ServeSettings)
    access: AccessSettings = Field(default_factory=AccessSettings)
    log: LogSettings = Field(default_factory=LogSettings)
    loop: LoopSettings = Field(default_factory=LoopSettings)
    store: StoreSettings = Field(default_factory=StoreSettings)
    tracking: TrackingSettings = Field(default_factory=TrackingSettings)
