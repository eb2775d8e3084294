"""Tiny texts and language models, of the kinds that lit-nas has."""

import random
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from lit_nas.data.window_loader import EvaluationLoader
from lit_nas.language import ActivationPenalty, LanguageDropout
from lit_nas.methods import RecurrentDARTS
from lit_nas.methods.recurrent_darts import PAPER
from lit_nas.search import SearchModule
from lit_nas.spaces import RecurrentSpace
from lit_nas.specs import TextSpec

WORDS = 12
"""Different words of `write_texts`, `<eos>` and `<unk>` included."""
SPEC = TextSpec(WORDS)
SPACE = RecurrentSpace(width=6, nodes=3)
DROPOUT = LanguageDropout(words=0.1, inputs=0.1, tokens=0.3, states=0.2, outputs=0.3)


def search(**arguments) -> RecurrentDARTS:
    """A search that drops and penalises everything that may be."""
    given = {"spec": SPEC, "space": SPACE, "dropout": DROPOUT, "penalty": ActivationPenalty(0.1, 0.1), "optim": PAPER}
    return RecurrentDARTS(**{**given, **arguments})


TEXT_METHODS: dict[str, Callable[[], SearchModule]] = {
    "RecurrentDARTS-first-order": search,
    "RecurrentDARTS-second-order": lambda: search(order=2),
}
"""For the tests that walk over methods and kinds of data."""


def random_table(seed: int, length: int, columns: int = 4) -> Tensor:
    """Random tokens, int64 [L, B]."""
    return torch.randint(WORDS, (length, columns), generator=torch.Generator().manual_seed(seed))


def windows(steps: int) -> dict[str, EvaluationLoader]:
    """As many windows of both streams."""
    return {
        role: EvaluationLoader(random_table(seed, 5 * steps + 1), 5) for seed, role in enumerate(("weights", "arch"))
    }


def write_texts(folder: Path, lines: int = 60) -> Path:
    """Texts of a small grammar in a folder, with `<unk>` in the training text."""
    folder.mkdir(parents=True, exist_ok=True)
    for seed, part in enumerate(("train", "valid", "test")):
        draw = random.Random(seed)
        subjects, verbs = ("cat", "dog", "ogre", "toad"), ("hears", "sees", "goads")
        text = [
            f"the {draw.choice(subjects)} {draw.choice(verbs)} a {draw.choice((*subjects, '<unk>'))} ."
            for _ in range(lines if part == "train" else lines // 2)
        ]
        (folder / f"{part}.txt").write_text(" \n".join(text) + "\n", encoding="utf-8")
    return folder
