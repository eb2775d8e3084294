"""The resolved configuration of a run, as a file in its folder."""

from typing import Any

import yaml
from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.cli import SaveConfigCallback

from lit_nas.atomic_write import write_text
from lit_nas.record.plain import default_arguments, differences
from lit_nas.record.replaced import with_present_classes
from lit_nas.record.run_folder import run_folder, writes

__all__ = ("SaveRunConfig",)


class SaveRunConfig(SaveConfigCallback):
    """Writes the resolved configuration to `config.yaml` in the run folder when the first step begins.

    Not before: what is refused until then must neither make its folder one that holds a run, nor replace the
    configuration of the run that it was to continue. If a run continues with keys that may change, its configuration
    until then is kept as `config-0001.yaml`, `config-0002.yaml` and so on.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{**kwargs, "save_to_log_dir": False})
        self._written = False

    def save_config(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Leaves it to `on_train_batch_start`."""

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Writes the file, once."""
        if writes(trainer) and not self._written:
            config = self.config.clone()
            if "ckpt_path" in config:
                config.ckpt_path = None  # where it continued from is no part of what it is
            path, text = run_folder(trainer) / "config.yaml", self.parser.dump(config, skip_none=False)
            if path.exists() and _differ(path.read_text(encoding="utf-8"), text):
                count = len(list(path.parent.glob("config-[0-9]*.yaml")))
                path.replace(path.with_name(f"config-{count + 1:04d}.yaml"))
            write_text(path, text)
        self._written = True


def _differ(old: str, new: str) -> bool:
    before, now = ({**with_present_classes(yaml.safe_load(text)), "ckpt_path": None} for text in (old, new))
    return bool(differences(before, now, {"trainer": default_arguments(Trainer)}))
