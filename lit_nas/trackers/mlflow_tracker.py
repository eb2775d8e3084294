"""MLflow."""

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from pytorch_lightning.loggers import MLFlowLogger
from pytorch_lightning.utilities import rank_zero_only

from lit_nas.atomic_write import write_text
from lit_nas.report.draw_alphas import draw_panels
from lit_nas.trackers.held_points import HeldPoints
from lit_nas.trackers.identity import RunIdentity
from lit_nas.trackers.shown import Chart, Kept, Picture
from lit_nas.trackers.tracker import Tracker

__all__ = ("MLFlowTracker", "ResumableMLFlowLogger")

RUN_ID = "mlflow_run_id"
"""The file in the run folder that names the run which is continued."""
_IMAGE = re.compile(r"images/(.+)[+%]step[+%](\d+)[+%]timestamp[+%]")
"""How `log_image` calls its files, with `~` or `#` for `/`; older releases have `%` for `+`."""


class ResumableMLFlowLogger(HeldPoints, MLFlowLogger):
    """Lightning's logger for MLflow, which logs no step twice when a run was killed and continues.

    It asks the server for what it holds. Parameters of an MLflow run cannot change, so it logs those alone that the
    server has not got; what a run continues with stands in its `config.yaml`.
    """

    def points(self) -> Iterable[tuple[int, str]]:
        """What the server holds, metrics and images."""
        client, run = self.experiment, str(self.run_id)
        images = [found for file in client.list_artifacts(run, "images") if (found := _IMAGE.match(file.path))]
        return {(int(found[2]), re.sub("[~#]", "/", found[1])) for found in images} | {
            (point.step, name)
            for name in client.get_run(run).data.metrics
            for point in client.get_metric_history(run, name)
        }

    @rank_zero_only
    def log_hyperparams(self, params: Any) -> None:
        """Logs those that are new."""
        known = self.experiment.get_run(str(self.run_id)).data.params
        flat = _flat(vars(params) if not isinstance(params, Mapping) else params)
        super().log_hyperparams({name: value for name, value in flat.items() if name not in known})


def _flat(values: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping) and value:
            found |= _flat(value, f"{before}{name}/")
        else:
            found[f"{before}{name}"] = value
    return found


class MLFlowTracker(Tracker):
    """Images, artifacts and tags of MLflow."""

    @staticmethod
    def serves() -> type[MLFlowLogger]:
        """Lightning's logger."""
        return MLFlowLogger

    @staticmethod
    def arguments(given: Mapping[str, Any], run: RunIdentity) -> dict[str, Any]:
        """Name and tags, and the run to continue."""
        path = run.folder / RUN_ID
        tags = {"group": run.group or "", "job_type": run.job_type, "tags": ", ".join(run.tags)}
        wanted: dict[str, Any] = {"run_name": run.name, "tags": {key: value for key, value in tags.items() if value}}
        if path.exists():
            wanted["run_id"] = path.read_text(encoding="utf-8").strip()
        return {key: value for key, value in wanted.items() if given.get(key) is None}

    def begin(self, folder: Path, by_epoch: Sequence[str], together: Mapping[str, Mapping[str, Sequence[str]]]) -> None:
        """Notes the run in its folder."""
        write_text(folder / RUN_ID, str(self.logger.run_id))

    def show_chart(self, chart: Chart, epoch: int, step: int) -> None:
        """A picture of all panels among the artifacts; each replaces the one before it."""
        with TemporaryDirectory() as folder:
            path = Path(folder) / f"{chart.name.replace('/', '_')}.png"
            shown = chart.readable()
            draw_panels(shown.panels, shown.xs, shown.x_name, shown.title, path)
            self.logger.experiment.log_artifact(self.logger.run_id, str(path), "charts")

    def show_picture(self, picture: Picture, epoch: int, step: int) -> None:
        """An image with a slider over the epochs."""
        from matplotlib.image import imread

        if self.holds(picture.name, epoch):
            return
        pixels = (imread(picture.path)[..., :3] * 255).round().astype("uint8")
        self.logger.experiment.log_image(self.logger.run_id, pixels, key=picture.name, step=epoch, synchronous=True)

    def keep(self, kept: Kept) -> None:
        """An artifact in a folder that is named after the version."""
        version = kept.aliases[0] if kept.aliases else "latest"
        self.logger.experiment.log_artifact(self.logger.run_id, str(kept.path), f"{kept.name}/{version}")

    def summarise(self, values: Mapping[str, Any]) -> None:
        """Tags, which the table of runs shows."""
        for name, value in values.items():
            self.logger.experiment.set_tag(self.logger.run_id, name, value)
