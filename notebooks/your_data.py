# %% [markdown]
# # Your own images
#
# A folder with one subfolder of images for each class is all that a search needs. This notebook makes such a folder
# (four kinds of shapes, drawn at random), searches a cell for it, retrains the cell, and classifies new images. Put
# your own folder in its place. It takes less than two minutes on two CPU cores.

# %%
import logging
import warnings
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from PIL import Image, ImageDraw
from pytorch_lightning import Trainer, seed_everything

from lit_nas import (
    PCDARTS,
    DartsSpace,
    ImageFolderDataModule,
    PartialChannels,
    RetrainModule,
    SearchOptim,
    draw_genotype,
)

SEARCH_EPOCHS, RETRAIN_EPOCHS = 6, 12
FOLDER = Path("runs") / "your_data"
IMAGES = FOLDER / "images"

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
# ## The folder
#
# `train/CLASS/*` and `test/CLASS/*`, in any format that Pillow reads. Images may differ in size.

# %%
CLASSES = ("circle", "cross", "square", "triangle")


def draw(kind: str, chance: np.random.Generator) -> Image.Image:
    """A shape of any colour, size and place, on noise."""
    image = Image.fromarray(chance.integers(0, 120, (20, 20, 3), dtype=np.uint8))
    pen, colour = ImageDraw.Draw(image), tuple(int(value) for value in chance.integers(130, 255, 3))
    x, y, r = (*chance.integers(6, 14, 2).tolist(), int(chance.integers(4, 7)))
    if kind == "circle":
        pen.ellipse((x - r, y - r, x + r, y + r), outline=colour, width=2)
    elif kind == "square":
        pen.rectangle((x - r, y - r, x + r, y + r), outline=colour, width=2)
    elif kind == "triangle":
        pen.polygon([(x, y - r), (x - r, y + r), (x + r, y + r)], outline=colour, width=2)
    else:
        pen.line((x - r, y, x + r, y), fill=colour, width=2)
        pen.line((x, y - r, x, y + r), fill=colour, width=2)
    return image


chance = np.random.default_rng(0)
for part, count in (("train", 200), ("test", 50), ("new", 2)):
    for kind in CLASSES:
        folder = IMAGES / part / kind
        folder.mkdir(parents=True, exist_ok=True)
        for number in range(count):
            draw(kind, chance).save(folder / f"{number:03d}.png")

figure, axes = plt.subplots(1, len(CLASSES), figsize=(8, 2))
for axis, kind in zip(axes, CLASSES, strict=True):
    axis.imshow(Image.open(IMAGES / "train" / kind / "000.png"))
    axis.set_title(kind)
    axis.axis("off")
plt.show()

# %% [markdown]
# ## Search
#
# The data module resizes the images to 16x16 and divides those of `train`: half of them train the weights, half the
# architecture. Classes, channels and size flow into the model by `data.spec`. PC-DARTS needs a quarter of the memory
# of DARTS.

# %%
seed_everything(0)
data = ImageFolderDataModule(root=IMAGES, size=16, split="half", split_seed=0, batch_size=32, num_workers=0)
search = PCDARTS(
    data.spec,
    space=DartsSpace(init_channels=8, num_cells=3),
    edges=PartialChannels(k=2),
    optim=SearchOptim(arch_from_epoch=1),  # 15 in the paper, out of 50
)
trainer = Trainer(max_epochs=SEARCH_EPOCHS, default_root_dir=FOLDER / "search", **QUIET)
trainer.fit(search, data)
genotype = search.derive()
draw_genotype(genotype, FOLDER / "cell.png")
figure, axis = plt.subplots(figsize=(8, 6))
axis.imshow(plt.imread(FOLDER / "cell.png"))
axis.axis("off")
plt.show()

# %% [markdown]
# ## Retrain and test
#
# All of `train` trains the final network; `test` was not looked at before.

# %%
data = ImageFolderDataModule(
    root=IMAGES, size=16, split="all", batch_size=32, predict_root=IMAGES / "new", num_workers=0
)
final = RetrainModule(genotype, data.spec, init_channels=16, num_cells=4)
trainer = Trainer(max_epochs=RETRAIN_EPOCHS, default_root_dir=FOLDER / "retrain", **QUIET)
trainer.fit(final, data)
(scores,) = trainer.test(final, data, verbose=False)
print(f"test accuracy: {scores['test/accuracy']:.3f}")

# %% [markdown]
# ## New images
#
# `trainer.predict` yields the class and its probability for each image of `predict_root`.

# %%
predictions = trainer.predict(final, data)
classes = [number for batch in predictions for number in batch.classes.tolist()]
for path, number in zip(sorted((IMAGES / "new").rglob("*.png")), classes, strict=True):
    print(f"{path.parent.name}/{path.name}: {CLASSES[number]}")

# %% [markdown]
# ## What comes next
#
# The same from the command line, which resumes exactly when it is killed, writes curves, pictures and predictions:
# `lit-nas run -c configs/job/image_folder.yaml --data.root my_images`. `docs/data.md` has other splits, loaders of
# your own and grey images.
