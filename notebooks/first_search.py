# %% [markdown]
# # A first search
#
# DARTS looks for a cell on the handwritten digits that come with scikit-learn. We watch the mixing weights of its
# operations change, draw the cell that it derives, and train a network of these cells from scratch. Nothing is
# downloaded, and all of it takes less than two minutes on two CPU cores.

# %%
import csv
import logging
import warnings
from collections import defaultdict
from functools import partial
from pathlib import Path

import matplotlib.pyplot as plt
from pytorch_lightning import Trainer, seed_everything

from lit_nas import DARTS, DartsSpace, DigitsDataModule, RetrainModule, SearchOptim, draw_genotype
from lit_nas.callbacks import LogAlphas, WriteGenotype
from lit_nas.optim import DartsAdam
from lit_nas.resume import RunLogger

SEARCH_EPOCHS, RETRAIN_EPOCHS = 8, 16
FOLDER = Path("runs") / "first_search"

logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
warnings.filterwarnings("ignore", module="pytorch_lightning")
seed_everything(0)

# %% [markdown]
# ## Search
#
# A method is a LightningModule. Half of the training images updates the weights of its network, the other half updates
# the architecture: which operation each edge of a cell should have. The learning rate of the architecture is ten times
# that of the paper, because this search is short.

# %%
data = DigitsDataModule(split="half", batch_size=64)
search = DARTS(
    data.spec,
    space=DartsSpace(init_channels=8, num_cells=3),
    optim=SearchOptim(arch=partial(DartsAdam, lr=3e-3)),
)
trainer = Trainer(
    accelerator="cpu",
    max_epochs=SEARCH_EPOCHS,
    default_root_dir=FOLDER / "search",
    callbacks=[LogAlphas(), WriteGenotype()],
    logger=RunLogger(FOLDER / "search"),
    enable_checkpointing=False,
    enable_progress_bar=False,
    enable_model_summary=False,
)
trainer.fit(search, data)
print(f"validation accuracy of the search network: {trainer.callback_metrics['val/accuracy']:.3f}")

# %% [markdown]
# ## What the architecture prefers
#
# `LogAlphas` writes the mixing weight of every operation on every edge after each epoch. All start near one eighth.
# Here are the two edges into the first node of the normal cell.

# %%
trajectories = defaultdict(lambda: defaultdict(list))
with (FOLDER / "search" / "alphas.csv").open() as file:
    for row in csv.DictReader(file):
        if (row["cell"], row["target"]) == ("normal", "2"):
            edge = f"{row['source']} to {row['target']}"
            trajectories[edge][row["operation"]].append(float(row["probability"]))

figure, axes = plt.subplots(1, len(trajectories), figsize=(10, 3.5), sharey=True)
for axis, (edge, operations) in zip(axes, trajectories.items(), strict=True):
    for operation, probabilities in operations.items():
        axis.plot(range(1, len(probabilities) + 1), probabilities, label=operation)
    axis.set_title(f"edge {edge}")
    axis.set_xlabel("epoch")
axes[0].set_ylabel("mixing weight")
axes[-1].legend(bbox_to_anchor=(1.02, 1), loc="upper left", frameon=False)
figure.tight_layout()
plt.show()

# %% [markdown]
# ## What a dashboard shows
#
# Every logger of Lightning gets the same curves; `RunLogger` writes them into `metrics.csv`. Entropy is high while
# nothing is decided, the margin is the lead of the strongest operation over the second one, and `skips` counts the
# skip connections of the derived cell: a search whose skip connections rise to the end is collapsing. Weights &
# Biases, TensorBoard and MLflow show charts and pictures of cells beside them (`docs/dashboards.md`), and `lit-nas
# report runs/first_search/search` makes one page of a run without an account.

# %%
figure, axes = plt.subplots(1, 3, figsize=(11, 3))
with (FOLDER / "search" / "metrics.csv").open() as file:
    rows = list(csv.DictReader(file))
for axis, name in zip(axes, ("entropy/normal", "margin/normal", "skips/normal"), strict=True):
    points = [(int(row["epoch"]), float(row[name])) for row in rows if row[name]]
    axis.plot(*zip(*points, strict=True))
    axis.set_title(name)
    axis.set_xlabel("epoch")
figure.tight_layout()
plt.show()

# %% [markdown]
# ## The derived cell
#
# Every node keeps its two strongest edges, and every edge its strongest operation. 0 and 1 are the outputs of the two
# cells before; the cell returns its nodes 2 to 5 side by side.

# %%
genotype = search.derive()
draw_genotype(genotype, FOLDER / "cell.png")
figure, axis = plt.subplots(figsize=(10, 8))
axis.imshow(plt.imread(FOLDER / "cell.png"))
axis.axis("off")
plt.show()

# %% [markdown]
# ## Retraining
#
# The weights of the search are thrown away. A network of derived cells is trained on all training images and tested on
# images that the search has never seen.

# %%
data = DigitsDataModule(split="all", batch_size=64)
final = RetrainModule(genotype, data.spec, init_channels=16, num_cells=4)
trainer = Trainer(
    accelerator="cpu",
    max_epochs=RETRAIN_EPOCHS,
    default_root_dir=FOLDER / "retrain",
    logger=False,
    enable_checkpointing=False,
    enable_progress_bar=False,
    enable_model_summary=False,
)
trainer.fit(final, data)
(results,) = trainer.test(final, data, verbose=False)
print(f"test accuracy: {results['test/accuracy']:.3f}")

# %% [markdown]
# ## What comes next
#
# `lit-nas run -c configs/quickstart.yaml` does the same from one YAML file, and can be interrupted and continued at any
# time. `configs/search` holds each method with the numbers of its paper.
