# %% [markdown]
# # Methods on the table of NAS-Bench-201
#
# The space of NAS-Bench-201 has 15,625 cells, and a table knows the test accuracy of each after 200 epochs. So a
# search is judged by looking its cell up, epoch by epoch, without any retraining. Here three methods search with the
# same images, channels and epochs; all of it takes less than two minutes on two CPU cores.
#
# `docs/nas_bench_201.md` says how to make the table, `nas_bench_201.csv`. Without it, this notebook makes a stand-in
# whose "accuracies" grow with the number of convolutions on a path: good enough to run everything, and to say nothing
# about methods.

# %%
import csv
import logging
import warnings
from functools import partial
from itertools import product
from pathlib import Path

import matplotlib.pyplot as plt
from pytorch_lightning import Trainer, seed_everything

from lit_nas import DARTS, GDAS, PCDARTS, DigitsDataModule, NasBench201Space, SearchOptim
from lit_nas.callbacks import LogAlphas, QueryTable
from lit_nas.tabular import Table, read_table, run_baseline

EPOCHS = 8
FOLDER = Path("runs") / "methods_on_a_table"
TABLE = Path("data") / "nas_bench_201.csv"

logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
warnings.filterwarnings("ignore", module="pytorch_lightning")

# %%
WORTH = {"nor_conv_3x3": 3.0, "nor_conv_1x1": 2.0, "skip_connect": 1.0, "avg_pool_3x3": 0.5, "none": 0.0}


def stand_in() -> Table:
    """A table of all cells, in which a cell is worth the best of its paths."""
    accuracies = {}
    for a, b, c, d, e, f in product(WORTH, repeat=6):
        string = f"|{a}~0|+|{b}~0|{c}~1|+|{d}~0|{e}~1|{f}~2|"
        paths = [(a, c, f), (a, e), (b, f), (d,)]
        worth = max(sum(WORTH[o] for o in path) if "none" not in path else 0.0 for path in paths)
        accuracies[string] = 10.0 + 9.0 * worth
    names = ("cifar10", "cifar100", "imagenet16_120")
    whole = dict.fromkeys(names, accuracies)
    return Table(test=whole, validation=whole)


FOLDER.mkdir(parents=True, exist_ok=True)
if TABLE.exists():
    path, table = TABLE, read_table(TABLE)
else:
    path, table = FOLDER / "stand_in.csv", stand_in()
    table.save(path)
print(f"{len(table.architectures)} cells from {path.name}, the best has {table.best('cifar10'):.2f}")

# %% [markdown]
# ## Three searches
#
# A method is a LightningModule, and all take the same space. `QueryTable` looks the derived cell of each epoch up.

# %%
METHODS = {
    "DARTS": DARTS,
    "PC-DARTS": partial(PCDARTS, optim=SearchOptim(arch_from_epoch=2)),  # epoch 15 in the paper, out of 50
    "GDAS": GDAS,
}
for name, method in METHODS.items():
    seed_everything(0)
    data = DigitsDataModule(split="half", batch_size=64)
    search = method(data.spec, space=NasBench201Space(init_channels=8, cells_per_stage=1))
    trainer = Trainer(
        accelerator="cpu",
        max_epochs=EPOCHS,
        default_root_dir=FOLDER / name,
        callbacks=[LogAlphas(), QueryTable(path)],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(search, data)

# %% [markdown]
# ## What they found
#
# `table.csv` in the folder of a run has accuracy, rank and regret of each epoch's cell. Random search over the table
# is what a method should beat: it keeps the cell with the best validation accuracy of as many as there were epochs.

# %%
figure, axis = plt.subplots(figsize=(8, 4))
for name in METHODS:
    with (FOLDER / name / "table.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["dataset"] == "cifar10"]
    accuracies = [float(row["test_accuracy"]) for row in rows]
    axis.plot(range(1, len(accuracies) + 1), accuracies, marker="o", label=name)
    print(f"{name}: {rows[-1]['architecture']} has {accuracies[-1]:.2f}, rank {rows[-1]['rank']}")
chance = run_baseline(table, "random_search", "cifar10", budget=EPOCHS, seeds=20)
axis.axhline(
    chance["cifar10"]["test_accuracy"]["mean"], color="grey", linestyle="--", label=f"random search, {EPOCHS} cells"
)
axis.set_xlabel("epoch")
axis.set_ylabel("CIFAR-10 test accuracy in the table, %")
axis.legend(frameon=False)
plt.show()

# %% [markdown]
# ## What comes next
#
# Eight epochs on digits say nothing about these methods; the job `configs/job/nas_bench_201_comparison.yaml` compares
# all of them on CIFAR-10 under one protocol, with several seeds, and continues when it is stopped.
