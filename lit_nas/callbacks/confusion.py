"""Gradient confusion of a module in training: on random mini-batches, without a trace in the run."""

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import torch
from pytorch_lightning import Trainer
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset

from lit_nas.batches import Batch, by_role
from lit_nas.data.order import generator, mix
from lit_nas.data.role_loader import RoleLoader
from lit_nas.internals import data_of
from lit_nas.optim import Confusion, GradientConfusion, accumulate, frozen, frozen_statistics
from lit_nas.record.recorded_module import RecordedModule
from lit_nas.retrain import RetrainModule
from lit_nas.search import SearchModule

__all__ = ("confusion_of",)


def confusion_of(
    trainer: Trainer, module: RecordedModule, loaders: Any, estimator: GradientConfusion, number: int
) -> Confusion:
    """Estimates the gradient confusion of the weights; leaves all tensors and generators of the run as they are.

    The loss is that of training, with the batch statistics of BatchNorm, augmented images, the auxiliary head of a
    retraining that has one, and the draw of the last step of a search that samples. Nothing is dropped from a
    retraining's paths, and no precision is lowered. On several processes a mini-batch is that of all of them together.

    Args:
        trainer: Of the module, with its data if they are in a data module.
        module: A search, or a retraining.
        loaders: Of the training data: one, or one for each role.
        estimator: How many mini-batches there are.
        number: Of the estimate, an epoch for example; another number draws other mini-batches.

    Raises:
        ValueError: if the module has no loss of a batch, or no random mini-batches can be drawn.
    """
    if not isinstance(module, (SearchModule, RetrainModule)) or not hasattr(module, "loss"):
        raise ValueError(
            f"Gradient confusion is that of a search or a retraining with a `loss` of a batch, but "
            f"{type(module).__name__} has none."
        )
    weights = [weight for weight in module.network.parameters() if weight.requires_grad]
    training = module.training
    devices = [module.device] if module.device.type == "cuda" else []
    with ExitStack() as stack:
        stack.enter_context(torch.random.fork_rng(devices))
        stack.enter_context(torch.enable_grad())
        stack.enter_context(torch.autocast(module.device.type, enabled=False))
        stack.enter_context(frozen_statistics(module.network.modules()))
        if isinstance(module, SearchModule):
            stack.enter_context(frozen(module.architecture.parameters()))
            stack.enter_context(module.architecture.drawing("weights"))
        module.train()
        try:
            batches = _random_batches(trainer, module, loaders, estimator, number)
            return estimator.estimate(_gradient(trainer, module, weights, batch) for batch in batches)
        finally:
            module.train(training)


def _gradient(
    trainer: Trainer, module: SearchModule | RetrainModule, weights: list[torch.nn.Parameter], batch: Batch
) -> Tensor:
    """[M], the mean over processes."""
    parts = module.gradients.parts(batch) if isinstance(module, SearchModule) else [(batch, 1.0)]
    loss: Any = module.loss  # of a batch, whatever that is to the module
    gradient, _ = accumulate((share * loss(part) for part, share in parts), weights)
    flat = torch.cat([value.reshape(-1) for value in gradient])
    if trainer.world_size > 1:
        flat = trainer.strategy.reduce(flat, reduce_op="mean")
    return flat


def _random_batches(
    trainer: Trainer, module: RecordedModule, loaders: Any, estimator: GradientConfusion, number: int
) -> Iterator[Batch]:
    """Mini-batches of the weights on the device of the module, as training would get them."""
    hooks = data_of(trainer) or module
    seed = mix(estimator.seed, "confusion", number)
    for raw in _drawn(by_role(loaders)["weights"], seed, (trainer.global_rank, trainer.world_size)):
        batch = hooks.on_before_batch_transfer(raw, 0)
        batch = hooks.on_after_batch_transfer(hooks.transfer_batch_to_device(batch, module.device, 0), 0)
        yield by_role(batch)["weights"]


def _drawn(loader: Any, seed: int, ranks: tuple[int, int]) -> Iterator[Any]:
    """Without an end: pass after pass over the data, each in an order of its own."""
    rank, world = ranks
    known = isinstance(loader, DataLoader) and not isinstance(loader.dataset, IterableDataset)
    if not (isinstance(loader, RoleLoader) or known) or not len(loader):
        raise ValueError(
            "Gradient confusion draws random mini-batches, which needs data of lit-nas or a DataLoader over a data set "
            f"with a length, not {type(loader).__name__}."
        )
    cycle = 0
    while True:
        if isinstance(loader, RoleLoader):
            yield from loader.load(mix(seed, cycle), 0)  # an epoch that no training reaches
        else:
            order = torch.randperm(len(loader.dataset), generator=generator(mix(seed, cycle)))
            mine, size = order[rank::world].tolist(), loader.batch_size
            if size is None:  # the data set holds batches
                yield from (loader.collate_fn(loader.dataset[index]) for index in mine)
            else:
                last = max(len(mine) - size, 0) + 1
                for start in range(0, last, size):
                    yield loader.collate_fn([loader.dataset[index] for index in mine[start : start + size]])
        cycle += 1
