"""The resolved `config` of a job as values. Its schema is `user_config_schema` in `pipeline.yaml`."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from reconciler.service.sensors.reader import Reader, complete_config, read_reader


@dataclass(frozen=True, slots=True)
class Settings:
    """All that a job can ask for. `batch_size` is in windows."""

    model_type: str
    batch_size: int
    reader: Reader
    epochs: int
    learning_rate: float

    def leaves_checkpoint(self, epoch: int) -> bool:
        """Whether an epoch, counted from 1, ends with a checkpoint: ten of them at most, the last one always."""
        return (self.epochs - epoch) % max(1, -(-self.epochs // 10)) == 0


def read_settings(config: Mapping[str, Any]) -> Settings:
    """Reads the resolved config, defaults included. Raises `WorkFailed`: see `sensors.reader`."""
    with complete_config():
        return Settings(
            model_type=config["model_type"],
            batch_size=config["batch_size"],
            reader=read_reader(config),
            epochs=config["train_config"]["epochs"],
            learning_rate=config["train_config"]["learning_rate"],
        )
