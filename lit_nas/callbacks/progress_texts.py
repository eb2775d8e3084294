"""Texts of the progress of a run."""

from statistics import fmean

from pytorch_lightning import LightningModule, Trainer
from torchmetrics import MeanMetric

from lit_nas.callbacks.health_figures import health_figures
from lit_nas.retrain import Retraining
from lit_nas.search import SearchModule

__all__ = ("LABELS", "completed", "duration", "epoch_of", "health_so_far", "losses_so_far")

LABELS = {
    "weights/loss": "weights",
    "arch/loss": "arch",
    "train/loss": "loss",
    "train/accuracy": "acc",
    "val/accuracy": "val acc",
    "val/perplexity": "val ppl",
}
"""What a line calls the metrics of an epoch, in its order."""


def duration(seconds: float) -> str:
    """Hours, minutes and seconds, as in 27:03:59."""
    minutes, second = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{second:02}"


def epoch_of(epoch: int, epochs: int | None) -> str:
    """The number of an epoch and that of the last one; epochs count from 0, as in the files."""
    if epochs is None or epochs < 1:
        return str(epoch)
    return f"{epoch:{len(str(epochs - 1))}}/{epochs - 1}"


def completed(trainer: Trainer, batches: float) -> float:
    """Completed fraction of the run after some batches of the present epoch; 0 where the run has no length."""
    fractions = [0.0]
    if trainer.max_epochs is not None and trainer.max_epochs > 0:
        fractions.append((trainer.current_epoch + batches / trainer.num_training_batches) / trainer.max_epochs)
    if trainer.max_steps > 0:
        fractions.append(trainer.global_step / trainer.max_steps)
    return max(fractions)


def losses_so_far(module: LightningModule) -> str:
    """Mean losses of the present epoch on this rank; `MeanMetric.compute` would ask the other ranks."""
    metrics: dict[str, MeanMetric] = {}
    if isinstance(module, SearchModule):
        metrics = {name: metric for name, metric in module.losses.items() if isinstance(metric, MeanMetric)}
    elif isinstance(module, Retraining):
        metrics = {"loss": module.train_loss}
    means = {name: metric.mean_value / metric.weight for name, metric in metrics.items() if metric.update_called}
    return " ".join(f"{name} {float(mean):.4f}" for name, mean in means.items())


def health_so_far(module: LightningModule) -> str:
    """Entropy, temperature and sparsity of a search, means over its cells; empty for other modules."""
    if not isinstance(module, SearchModule):
        return ""
    figures = health_figures(module)
    means = {
        kind: fmean(value for name, value in figures.items() if name.startswith(f"{kind}/"))
        for kind in ("entropy", "sparsity")
    }
    texts = [f"entropy {means['entropy']:.3f}"]
    texts += [f"temperature {figures['temperature']:.3g}"] if "temperature" in figures else []
    texts += [f"zero {means['sparsity']:.0%}"] if means["sparsity"] else []
    return "  ".join(texts)
