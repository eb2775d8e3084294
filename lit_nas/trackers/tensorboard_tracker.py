"""TensorBoard."""

import re
from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha1
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers import TensorBoardLogger

from lit_nas.trackers.held_points import HeldPoints
from lit_nas.trackers.identity import RunIdentity
from lit_nas.trackers.shown import Chart, Kept, Picture
from lit_nas.trackers.tracker import Tracker

__all__ = ("ResumableTensorBoardLogger", "TensorBoardTracker")


class ResumableTensorBoardLogger(HeldPoints, TensorBoardLogger):
    """Lightning's logger for TensorBoard, which logs no step twice when a run was killed and continues.

    It reads the event files that earlier processes have left in its folder.
    """

    def points(self) -> Iterable[tuple[int, str]]:
        """What the event files hold."""
        from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

        return {
            (event.step, value.tag)
            for path in sorted(Path(self.log_dir).glob("events.out.tfevents.*"))
            for event in EventFileLoader(str(path)).Load()
            for value in event.summary.value
        }


class TensorBoardTracker(Tracker):
    """Custom scalars, images and texts of TensorBoard."""

    @staticmethod
    def serves() -> type[TensorBoardLogger]:
        """Lightning's logger."""
        return TensorBoardLogger

    @staticmethod
    def arguments(given: Mapping[str, Any], run: RunIdentity) -> dict[str, Any]:
        """A folder of its own, the same in every process that continues the run."""
        if given.get("version") is not None:
            return {}
        inside = Path(str(given.get("save_dir", "."))).absolute()
        folder = run.folder.absolute()
        if folder.is_relative_to(inside) and folder != inside:
            return {"version": folder.relative_to(inside).as_posix()}
        return {"version": f"{run.name}-{sha1(str(folder).encode(), usedforsecurity=False).hexdigest()[:6]}"}

    def begin(self, folder: Path, by_epoch: Sequence[str], together: Mapping[str, Mapping[str, Sequence[str]]]) -> None:
        """Lays out one chart for each panel on the page "Custom scalars", of the scalars that are logged anyway."""
        if together:
            layout = {
                chart: {
                    panel: ["Multiline", [f"^{re.escape(name)}$" for name in names]] for panel, names in panels.items()
                }
                for chart, panels in together.items()
            }
            self.logger.experiment.add_custom_scalars(layout)

    def show_chart(self, chart: Chart, epoch: int, step: int) -> None:
        """Nothing: TensorBoard draws it of the scalars, see `begin`."""

    def show_picture(self, picture: Picture, epoch: int, step: int) -> None:
        """An image with a slider over the epochs."""
        from matplotlib.image import imread

        if not self.holds(picture.name, epoch):
            pixels = imread(picture.path)[..., :3]
            self.logger.experiment.add_image(picture.name, pixels, epoch, dataformats="HWC")

    def keep(self, kept: Kept) -> None:
        """The text of a genotype; of a checkpoint its path, because event files hold no files.

        The last versions have a tag of their own: a run that is extended has further ones at the same step.
        """
        text = str(kept.path)
        if kept.path.suffix == ".json":
            text = f"{text}\n\n```json\n{kept.path.read_text(encoding='utf-8')}\n```"
        epoch = kept.metadata.get("epoch", 0)
        step = epoch if isinstance(epoch, int) else 0
        last = [alias for alias in kept.aliases if alias in ("final", "last")]
        tag = "/".join([kept.name, *last])
        if not self.holds(f"{tag}/text_summary", step):
            self.logger.experiment.add_text(tag, text, step)

    def summarise(self, values: Mapping[str, Any]) -> None:
        """A table."""
        rows = [f"| {name} | {value} |" for name, value in values.items()]
        self.logger.experiment.add_text("summary", "\n".join(["| | |", "|---|---|", *rows]))
        self.logger.save()
