"""What a search leaves to a search by groups: which of its operations are alike."""

import sys
from collections.abc import Iterator

from pytorch_lightning import Callback, LightningModule, Trainer
from torch import Tensor

from lit_nas.callbacks.expect import search_of
from lit_nas.callbacks.group_operators import group_operators
from lit_nas.correlation import Clustering, OperatorCorrelation
from lit_nas.internals import data_of, is_trial
from lit_nas.record.run_folder import run_folder, writes
from lit_nas.search import SearchModule

__all__ = ("CorrelateOperators",)


class CorrelateOperators(Callback):
    """Groups the operations of the supernet when its search ends, and leaves `groups.json` in the run folder.

    `correlation.csv` and a heat map lie beside it. In a job, `FileOf` or a `HandOver` gives the file to the next stage;
    it is written before `genotype.json`, so that a finished stage has it. The search itself is not changed.

    Args:
        images: How many training images are looked at, without augmentation.
        correlation: What is correlated, and how.
        clustering: How groups follow.
        picture: `svg`, `png`, or None for no picture.

    Raises:
        ValueError: for fewer than two images, or another kind of picture.
    """

    def __init__(
        self,
        images: int = 10_000,
        correlation: OperatorCorrelation = OperatorCorrelation(),
        clustering: Clustering = Clustering(),
        picture: str | None = "svg",
    ) -> None:
        if images < 2:
            raise ValueError(f"CorrelateOperators.images must be at least 2, not {images}.")
        if picture not in ("svg", "png", None):
            raise ValueError(f"CorrelateOperators.picture must be svg, png or null, not {picture!r}.")
        self.images, self.correlation, self.clustering, self.picture = images, correlation, clustering, picture
        self._done = False

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Refuses a search whose candidates cannot be correlated, before its first step.

        Raises:
            ValueError: if candidates share a kernel or do not make as many groups, or the data have no images or too
                few.
        """
        search = search_of(pl_module, self)
        self.clustering.check(self.correlation.check(search.network, search.architecture))
        self.check_images(trainer, search)
        self._done = False

    def check_images(self, trainer: Trainer, search: SearchModule) -> None:
        """Refuses data that have no images or too few, which must have been set up.

        Args:
            trainer: With the data.
            search: The search.

        Raises:
            ValueError: naming both numbers.
        """
        self._images(trainer, search)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Runs the supernet over the images, and writes and prints what is alike.

        Here and not later, so that the files are there before `genotype.json`, which tells that a stage is finished.
        """
        self._correlate(trainer, search_of(pl_module, self))

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Does the same, if the run was finished but for this."""
        self._correlate(trainer, search_of(pl_module, self))

    def _correlate(self, trainer: Trainer, search: SearchModule) -> None:
        """What all processes compute, because layers may wait for each other, and the first one writes."""
        if self._done or is_trial(trainer):
            return
        text = group_operators(
            search,
            self._images(trainer, search),
            self.images,
            self.correlation,
            self.clustering,
            run_folder(trainer) if writes(trainer) else None,
            self.picture,
        )
        if writes(trainer):
            sys.stdout.write(text)
        trainer.strategy.barrier()  # what follows on any rank finds the file
        self._done = True

    def _images(self, trainer: Trainer, search: SearchModule) -> Iterator[Tensor]:
        data = data_of(trainer)
        if (ask := getattr(data, "training_images", None)) is None:
            raise ValueError(
                "CorrelateOperators looks at `training_images` of the data module, which data for images have and "
                f"{type(data).__name__} does not: take it out of trainer.callbacks."
            )
        images: Iterator[Tensor] = ask(self.images, search.device)
        return images
