"""Writing what a network says of images."""

import csv
import sys
from io import StringIO
from typing import Any

from pytorch_lightning import Callback, LightningModule, Trainer

from lit_nas.atomic_write import write_text
from lit_nas.internals import data_of
from lit_nas.record.run_folder import run_folder, writes
from lit_nas.tasks.classification import Prediction

__all__ = ("WritePredictions",)


class WritePredictions(Callback):
    """Writes `predictions.csv` into the run folder: file, name and number of the predicted class, its probability.

    It is for models that classify images. For images that have no files, `file` is the index of the image in the data
    set, counted as in `split.json`.
    """

    def __init__(self) -> None:
        self._found: list[tuple[int, float]] = []

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Forgets what an earlier prediction found."""
        self._found = []

    def on_predict_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Collects a batch.

        Raises:
            ValueError: over several processes, whose shares of the images are interleaved, or if the model predicts
                something else than classes.
        """
        if not isinstance(outputs, Prediction):
            raise ValueError(
                f"lit-nas predict writes the classes of images, but {type(pl_module).__name__} predicts "
                f"{type(outputs).__name__}. Call `predict_step` or `forward` of the model in Python."
            )
        if trainer.world_size > 1:
            raise ValueError("lit-nas predict runs in one process: set trainer.devices to 1.")
        self._found += zip(outputs.classes.tolist(), outputs.probabilities.tolist(), strict=True)

    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Writes the file and says where it is."""
        if not writes(trainer):
            return
        data = data_of(trainer)  # one of the user's own need not know either
        names = getattr(data, "class_names", None)
        files = list(getattr(data, "predicted_names", None) or range(len(self._found)))
        # `limit_predict_batches` leaves the last ones out
        files = files[: len(self._found)]
        text = StringIO()
        rows = csv.writer(text, lineterminator="\n")
        rows.writerow(["file", "class", "class_index", "probability"])
        for file, (label, probability) in zip(files, self._found, strict=True):
            rows.writerow([file, label if names is None else names[label], label, f"{probability:.6f}"])
        path = run_folder(trainer) / "predictions.csv"
        write_text(path, text.getvalue())
        sys.stdout.write(f"{path}\n")
