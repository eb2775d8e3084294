# %% [markdown]
# # FaDE: the ranks of all networks from one search
#
# FaDE searches a chain of rows, each of which chooses a cell out of a few candidates. After the search each row has
# probabilities, and their product ranks every network of the chain: with three candidates in two rows that is nine
# networks for the price of one search. Here they are ranked on the handwritten digits that come with scikit-learn,
# and all nine are trained from scratch to see whether the ranks are right. It takes less than two minutes on two CPU
# cores.

# %%
import logging
import warnings
from functools import partial
from pathlib import Path

import matplotlib.pyplot as plt
from pytorch_lightning import Trainer, seed_everything

from lit_nas import DagSpace, DigitsDataModule, FaDE, RetrainModule, RetrainOptim, SearchOptim, SharedDagConvs
from lit_nas.callbacks import LogAlphas
from lit_nas.networks import DagNetwork
from lit_nas.optim import DartsAdam
from lit_nas.ranks import Choices, best_networks, spearman
from lit_nas.spaces import Candidates

SEARCH_EPOCHS, RETRAIN_EPOCHS = 20, 6
FOLDER = Path("runs") / "fade_ranks_notebook"

logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
warnings.filterwarnings("ignore", module="pytorch_lightning")
QUIET = {
    "accelerator": "cpu",
    "logger": False,
    "enable_checkpointing": False,
    "enable_progress_bar": False,
    "enable_model_summary": False,
}

# %% [markdown]
# ## One search
#
# `FaDE` samples a cell in each row by hard Gumbel-softmax. The cells of a row share their convolutions here, which
# makes a short search enough. The split keeps a sixth of all images for the test, a sixth updates the architecture,
# and four sixths train the weights.

# %%
seed_everything(0)
data = DigitsDataModule(split="one-one-four", batch_size=32)
space = DagSpace(widths=(8, 16), dags=("dag1", "dag3_01_02", "dag3_01_12"))
search = FaDE(
    data.spec,
    space=space,
    edges=SharedDagConvs(),
    optim=SearchOptim(weights=partial(DartsAdam, lr=3e-3), arch=partial(DartsAdam, lr=1e-2)),
)
trainer = Trainer(max_epochs=SEARCH_EPOCHS, default_root_dir=FOLDER / "search", callbacks=[LogAlphas()], **QUIET)
trainer.fit(search, data)
print(f"validation accuracy of the search network: {trainer.callback_metrics['val/accuracy']:.3f}")

# %% [markdown]
# ## The probabilities of each row, and the ranks of all networks

# %%
choices = Choices.of([Candidates.of(search.architecture)])
figure, axes = plt.subplots(1, len(choices.cells), figsize=(9, 2.5), sharex=True)
for axis, cell, names, probabilities in zip(axes, choices.cells, choices.names, choices.probabilities, strict=True):
    axis.barh(names, probabilities)
    axis.set_title(cell)
    axis.set_xlabel("probability")
figure.tight_layout()
plt.show()
networks = best_networks(choices, choices.networks)
for network in networks:
    print(f"{network.rank:.3f}  {' then '.join(choices.candidates_of(network.choice))}")

# %% [markdown]
# ## Are they right?
#
# Each network is trained from scratch on the images that the search trained on, and tested on those that it has not
# seen.

# %%
accuracies = []
for network in networks:
    seed_everything(0)
    data = DigitsDataModule(split="one-one-four", batch_size=32)
    final = RetrainModule(
        choices.genotype(network.choice),
        data.spec,
        network=DagNetwork(space=space),
        optim=RetrainOptim(weights=partial(DartsAdam, lr=3e-3), drop_path=0.0, auxiliary_weight=0.0),
    )
    trainer = Trainer(max_epochs=RETRAIN_EPOCHS, default_root_dir=FOLDER / "retrain", **QUIET)
    trainer.fit(final, data)
    (scores,) = trainer.test(final, data, verbose=False)
    accuracies.append(scores["test/accuracy"])

found = spearman([network.log_rank for network in networks], accuracies)
figure, axis = plt.subplots(figsize=(5, 4))
axis.scatter([network.log_rank for network in networks], accuracies)
axis.set_xlabel("logarithm of the rank")
axis.set_ylabel("test accuracy")
axis.set_title(f"Spearman {found.coefficient:.2f} (p = {found.p_value:.2f})")
plt.show()
print(f"best test accuracy: {max(accuracies):.3f}, of the network that ranks first: {accuracies[0]:.3f}")

# %% [markdown]
# ## What comes next
#
# Nine networks that all do well tell little apart. The job `configs/job/fade_ranks.yaml` is the experiment of the
# paper: 625 networks, several searches, 16 trainings, and a report with the coefficient and its interval.
# `docs/dags.md` has what came out of it here, and `configs/job/fade_outer_search.yaml` walks through all graphs
# instead of five.
