"""Retraining of recurrent cells: a language model trained from scratch, with the recipe of AWD-LSTM.

Papers: Liu, Simonyan, Yang, ICLR 2019, https://arxiv.org/abs/1806.09055, appendix A; Merity, Keskar, Socher, ICLR 2018,
https://arxiv.org/abs/1708.02182.
Differs from the authors' code (quark0/darts, rnn/train.py): a step whose loss is not finite brings back the best
weights and goes on with the next window, where the code repeats epochs from the best one on; perplexity is the exponent
of the mean over all predicted tokens (`LanguageScores`); a step of the averaged phase has the present learning rate
(`AveragedSGD`); passes over the text have equally many windows (`lit_nas.data.window_loader`).
"""

from collections.abc import Mapping
from math import isfinite
from typing import Any, ClassVar

import torch
from pytorch_lightning.core.optimizer import LightningOptimizer
from pytorch_lightning.trainer.states import TrainerFn
from pytorch_lightning.utilities import rank_zero_warn
from torch import Tensor
from torch.func import functional_call
from torch.nn import functional as F
from torch.optim import Optimizer
from torchmetrics import MeanMetric

from lit_nas.batches import by_role, check_roles
from lit_nas.internals import keep_out_of_ddp
from lit_nas.language import ActivationPenalty, LanguageDropout, Masks, StatedWindow
from lit_nas.language.scores import LanguageScores
from lit_nas.networks import RetrainNetwork
from lit_nas.networks.registry import find_retrain_network, refuse_other_kind
from lit_nas.optim import AveragedSGD, clip_gradients, make_part, non_monotone
from lit_nas.relaxations.draw import generator_of
from lit_nas.retrain.best_weights import BestWeights
from lit_nas.retrain.language_optim import LanguageRetrainOptim
from lit_nas.retrain.retraining import GenotypeSource, Retraining
from lit_nas.specs import Spec, TextSpec
from lit_nas.windows import Window

__all__ = ("LanguageRetrainModule",)


class LanguageRetrainModule(LanguageScores, Retraining):
    """Trains the language model of a recurrent cell from scratch.

    Hidden states are carried from window to window. Masks follow from seed, step and process. Where averages of the
    weights are kept, these are validated; `validate` and `test` take the weights of the best validation, which
    checkpoints hold.

    Args:
        genotype: A `Genotype` of recurrent cells, its dict form, a published name, a genotype file, or a checkpoint of
            a search.
        spec: The vocabulary; flows in from the data on the command line.
        network: What is built of the genotype; None means that of the space.
        width: d; None means that of the paper on Penn Treebank, 850.
        optim: Optimiser, clipping and the sign to begin to average.
        dropout: What is dropped in training.
        penalty: Of the hidden states.
    """

    spec: TextSpec
    spec_class: ClassVar[type[Spec]] = TextSpec
    seed: Tensor

    def __init__(
        self,
        genotype: GenotypeSource = "DARTS_RNN_V2",
        spec: TextSpec = TextSpec(),
        network: str | RetrainNetwork | None = None,
        width: int | None = None,
        optim: LanguageRetrainOptim = LanguageRetrainOptim(),
        dropout: LanguageDropout = LanguageDropout(words=0.1),
        penalty: ActivationPenalty = ActivationPenalty(),
    ) -> None:
        super().__init__()
        self.spec, self.optim, self.dropout, self.penalty = spec, optim, dropout, penalty
        self.genotype = self.take(genotype)
        found = find_retrain_network(network, self.genotype)
        refuse_other_kind(found, spec)
        self.paper_batch_size = found.paper_batch_size
        self.network = found.with_numbers(width=width).build(self.genotype, spec)
        self.best = BestWeights(self.network)
        self.train_loss = MeanMetric(nan_strategy="disable")
        self.train_loss.persistent(True)  # so that an interruption within an epoch loses nothing
        self.register_buffer("seed", torch.tensor(torch.initial_seed() % 2**63))
        self._host_seed: int | None = None
        self._share = 1.0  # of the present window
        self._losses: list[float] = []  # of the validations before averaging

    # -- training ------------------------------------------------------------------------------------------------

    def training_step(self, batch: Mapping[str, Window] | Window, batch_idx: int) -> Tensor:
        """Negative log-likelihood with penalties, and the hidden state for the next window."""
        window = self.with_state("weights", by_role(batch)["weights"])
        loss, penalty, state = self._losses_of(window, self._masks(window, batch_idx))
        if not self._is_finite(loss + penalty):
            return self._roll_back()
        self.hidden.note(window, state)
        self.hidden.carry()
        self.train_loss.update(loss.detach().expand(window.targets.numel()))
        return loss + penalty

    def optimizer_step(
        self, epoch: int, batch_idx: int, optimizer: Optimizer | LightningOptimizer, optimizer_closure: Any = None
    ) -> None:
        """A step whose learning rate is multiplied by the share of its window."""
        rates = [group["lr"] for group in optimizer.param_groups]
        for group, rate in zip(optimizer.param_groups, rates, strict=True):
            group["lr"] = rate * self._share
        try:
            optimizer.step(closure=optimizer_closure)
        finally:
            for group, rate in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = rate

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        """Clips the gradient of the weights, which a scaler has unscaled by now."""
        clip_gradients(self.network.parameters(), self.optim.clip)

    def read(self, window: StatedWindow) -> tuple[Tensor, Tensor]:
        """See `LanguageScores`; with the averages of the weights, or the best ones outside of a fit."""
        output = functional_call(self.network, self._evaluated(), (window.tokens, window.state))
        return output.logits, output.state

    # -- hooks of Lightning --------------------------------------------------------------------------------------

    def setup(self, stage: str) -> None:
        """Checks the Trainer.

        Raises:
            ValueError: if it has a key that contradicts the recipe.
        """
        super().setup(stage)
        if stage != "fit":
            return
        trainer = self.trainer
        if trainer.max_epochs is None or trainer.max_epochs < 1:
            raise ValueError(f"Retraining needs trainer.max_epochs >= 1, not {trainer.max_epochs}.")
        if trainer.gradient_clip_val or trainer.gradient_clip_algorithm is not None:
            raise ValueError(
                f"trainer.gradient_clip_val is {trainer.gradient_clip_val}, but model.optim.clip clips already. Set "
                f"model.optim.clip (now {self.optim.clip}) and leave trainer.gradient_clip_val out."
            )
        if trainer.accumulate_grad_batches != 1:
            raise ValueError(
                "trainer.accumulate_grad_batches would add up windows that follow each other in the text: leave it at "
                "1 and choose a smaller data.batch_size."
            )
        keep_out_of_ddp(self, ("seed", *(f"best.{name}" for name, _ in self.best.named_buffers())))

    def configure_optimizers(self) -> Optimizer:
        """Gives Lightning the optimiser.

        Raises:
            ValueError: if it cannot average.
        """
        optimizer = make_part(self.optim.weights, self.network.parameters(), "model.optim.weights")
        if self.optim.non_monotone is not None and not isinstance(optimizer, AveragedSGD):
            raise ValueError(
                f"model.optim.weights made {type(optimizer).__name__}, which keeps no averages: set "
                "model.optim.non_monotone to null, or model.optim.weights to AveragedSGD."
            )
        return optimizer

    def on_train_start(self) -> None:
        """Reads the seed, which a checkpoint may have brought along."""
        super().on_train_start()
        self._host_seed = int(self.seed)

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Checks that there is a window, and remembers its share."""
        super().on_train_batch_start(batch, batch_idx)
        check_roles(batch, self.roles, type(self).__name__)
        self._share = float(getattr(by_role(batch)["weights"], "share", 1.0))

    def on_train_epoch_end(self) -> None:
        """Logs the means of the epoch."""
        if self.train_loss.update_called:
            mean = self.train_loss.compute()
            self.log_now({"train/loss": mean, "train/perplexity": mean.exp()}, prog_bar=True)
            self.train_loss.reset()

    def on_validation_epoch_end(self) -> None:
        """Logs loss and perplexity, keeps the best weights, and begins to average where the losses say so."""
        loss = self._conclude("val")
        trainer = self.trainer
        if trainer.state.fn != TrainerFn.FITTING or trainer.sanity_checking:
            return
        self.best.offer(loss, self._evaluated(), self._averager.steps if self._averages else -1)
        if self.optim.non_monotone is None or self._averages:
            return
        if non_monotone(self._losses, loss, self.optim.non_monotone):
            self._averager.start()
        self._losses.append(loss)

    def rank_state(self) -> dict[str, Tensor]:
        """The hidden states of the sequences of this process."""
        return self.hidden.state_dict()

    def load_rank_state(self, state: dict[str, Tensor]) -> None:
        """Takes the hidden states over."""
        self.hidden.load_state_dict(state)

    def record(self) -> dict[str, Any]:
        """Adds the losses of the validations, by which averaging begins."""
        return {**super().record(), "validation_losses": list(self._losses)}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Takes the losses of the validations over, too."""
        super().on_load_checkpoint(checkpoint)
        self._losses = list(checkpoint["lit_nas"].get("validation_losses", ()))

    def spans_run(self) -> str:
        """Nothing does: a run can be made longer."""
        return ""

    # -- inside --------------------------------------------------------------------------------------------------

    def _losses_of(self, window: StatedWindow, masks: Masks) -> tuple[Tensor, Tensor, Tensor]:
        """Mean negative log-likelihood, penalties, and the hidden state behind the window."""
        output = self.network(window.tokens, window.state, masks)
        loss = F.cross_entropy(output.logits.flatten(0, 1), window.targets.flatten())
        return loss, self.penalty(output.hidden, output.dropped), output.state

    def _masks(self, window: StatedWindow, batch_idx: int) -> Masks:
        loop, batches = self.trainer.fit_loop.epoch_loop, self.trainer.num_training_batches
        step = int(self.current_epoch * batches + batch_idx if isfinite(batches) else loop.total_batch_idx)
        generator = generator_of("language dropout", self._host_seed, step, self.global_rank)
        like: Tensor = self.network.embedding.weight  # type: ignore[union-attr,assignment]
        return self.dropout.draw(self.spec.vocabulary, window.batch, like, generator)

    @property
    def _averager(self) -> AveragedSGD:
        optimizer = self.trainer.optimizers[0]
        assert isinstance(optimizer, AveragedSGD)  # see `configure_optimizers`
        return optimizer

    @property
    def _averages(self) -> bool:
        """Whether averages of the weights are kept now."""
        return bool(self.trainer.optimizers) and getattr(self.trainer.optimizers[0], "averaging", False)

    def _evaluated(self) -> dict[str, Tensor]:
        """The weights that an evaluation takes."""
        own = {name: parameter.detach() for name, parameter in self.network.named_parameters()}
        if self.trainer.state.fn != TrainerFn.FITTING:
            return self.best.weights() if self.best.known else own
        if not self._averages:
            return own
        return dict(zip(own, self._averager.averages(list(self.network.parameters())), strict=True))

    def _is_finite(self, loss: Tensor) -> bool:
        """Whether the loss of a step is finite on all processes."""
        finite = loss.detach().isfinite().float()
        if self.trainer.world_size > 1:
            finite = self.trainer.strategy.reduce(finite, reduce_op="mean")
        return float(finite) == 1.0

    @torch.no_grad()
    def _roll_back(self) -> Tensor:
        """Brings the best weights back, with their averages; a step without a gradient follows.

        Raises:
            FloatingPointError: if there has been no validation yet.
        """
        where = f"epoch {self.current_epoch}, step {self.global_step}"
        if not self.best.known:
            raise FloatingPointError(
                f"The loss is not finite in {where}, before the first validation. A smaller learning rate "
                "(model.optim.weights.lr) or a smaller model.optim.clip may help."
            )
        rank_zero_warn(f"The loss was not finite in {where}: training goes on from the best weights so far.")
        parameters, weights = list(self.network.parameters()), list(self.best.weights().values())
        for parameter, weight in zip(parameters, weights, strict=True):
            parameter.copy_(weight)
        if isinstance(optimizer := self.trainer.optimizers[0], AveragedSGD):
            if int(self.best.steps) >= 0:
                optimizer.restart(parameters, weights, int(self.best.steps))
            else:
                optimizer.stop()
        self.hidden.states.pop("weights", None)
        with torch.enable_grad():
            return torch.stack([0.0 * parameter.sum() for parameter in parameters]).sum()
