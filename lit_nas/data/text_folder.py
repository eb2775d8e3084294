"""Texts in a folder: training, validation and test text, for language models."""

import hashlib
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning import LightningDataModule
from pytorch_lightning.utilities import rank_zero_info
from torch import Tensor

from lit_nas.data.role_loader import RoleLoader
from lit_nas.data.vocabulary import END, UNKNOWN, Vocabulary, words_of
from lit_nas.data.window_loader import EvaluationLoader, FollowingLoader, RandomWindows, TrainingLoader, batchify
from lit_nas.internals import overfits, record_arguments
from lit_nas.record.plain import plain
from lit_nas.specs import TextSpec
from lit_nas.windows import Window

__all__ = ("TextFolderDataModule",)

NAMES = ("{}.txt", "ptb.{}.txt", "wiki.{}.tokens")
"""Names of the file of a part: plain ones, those of Penn Treebank and those of WikiText."""


class TextFolderDataModule(LightningDataModule):
    """Reads `root/train.txt`, `root/valid.txt` and `root/test.txt`; names of Penn Treebank and WikiText-2 serve, too.

    Words stand between white space, each line ends in `<eos>`. The vocabulary is that of the training text, with
    `<unk>` for all other words. A search trains the weights on the training text and the architecture on the validation
    text, by which it validates as well; a retraining trains on the training text alone. The test text trains nothing.

    Texts are cut into as many stretches as a batch has sequences, which are read from left to right. A training epoch
    is one pass in windows of random length; the windows of the architecture begin where those of the weights do, and
    its text starts again at its end. On several processes each has its own stretches, so more of them cut the text
    into shorter ones.

    Args:
        root: The folder.
        batch_size: Sequences side by side in training, of each process.
        eval_batch_size: The same in validation.
        test_batch_size: The same in the test; with 1 the whole text is one sequence.
        window: Usual number of tokens of a window (BPTT).
        half_windows: Chance of a window of half that length.
        jitter: Standard deviation of the lengths, in tokens; they are then at least 5 (`shortest`) and at most
            `longest` tokens longer than usual.
        shortest: Least length of a window with `jitter`.
        longest: Tokens by which a window with `jitter` may be longer than usual.
        vocabulary: How many words there may be, `<eos>` and `<unk>` included: the most frequent ones of the training
            text; None keeps all.
        seed: Of the lengths of windows.

    Raises:
        ValueError: for numbers that are out of range.
    """

    def __init__(
        self,
        root: str,
        batch_size: int = 64,
        eval_batch_size: int = 10,
        test_batch_size: int = 1,
        window: int = 35,
        half_windows: float = 0.05,
        jitter: float = 0.0,
        shortest: int = 5,
        longest: int = 20,
        vocabulary: int | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.save_hyperparameters(logger=False)
        record_arguments(self, plain({k: v for k, v in self.hparams.items() if not k.startswith("_")}))
        for name, least in (("batch_size", 1), ("eval_batch_size", 1), ("test_batch_size", 1), ("window", 1)):
            if (value := self.hparams[name]) < least:
                raise ValueError(f"data.{name} must be at least {least}, not {value}.")
        if not 0 <= half_windows <= 1:
            raise ValueError(f"data.half_windows is a chance between 0 and 1, not {half_windows}.")
        if not jitter >= 0 or shortest < 1 or longest < 0:
            raise ValueError(
                "data.jitter and data.longest must not be negative and data.shortest must be at least 1, not "
                f"{jitter}, {longest} and {shortest}."
            )
        if jitter and shortest > window + longest:
            raise ValueError(
                f"data.shortest is {shortest}, but no window is longer than data.window + data.longest, which is "
                f"{window + longest}: make it smaller."
            )
        if vocabulary is not None and vocabulary < 3:
            raise ValueError(f"data.vocabulary must be at least 3 ({END}, {UNKNOWN} and a word), not {vocabulary}.")
        self.root, self.batch_size = Path(root), batch_size
        self.eval_batch_size, self.test_batch_size = eval_batch_size, test_batch_size
        self.windows = RandomWindows(window, half_windows, jitter, longest, shortest)
        self.most, self.seed = vocabulary, seed
        self._tokens: dict[str, Tensor] = {}

    # -- what models and callbacks ask ---------------------------------------------------------------------------

    roles = frozenset({"weights", "arch", "val", "test"})
    """A search takes the streams that it needs."""

    @property
    def spec(self) -> TextSpec:
        """Size of the vocabulary, for which the training text is read."""
        return TextSpec(len(self.vocabulary))

    @cached_property
    def vocabulary(self) -> Vocabulary:
        """Words of the training text."""
        return Vocabulary.of(self._read("train"), self.most)

    def tokens(self, part: str) -> Tensor:
        """A text as numbers of words, int64 [N].

        Args:
            part: `train`, `valid` or `test`.

        Raises:
            FileNotFoundError: if folder or file are not there.
            ValueError: if the file is empty or not UTF-8, or there are two of them.
        """
        if part not in self._tokens:
            words = self._read(part)
            found = self.vocabulary.encode(words)
            known = self.vocabulary.numbers
            if (unknown := sum(word not in known for word in words)) and part != "train":
                rank_zero_info(
                    f"{unknown} of {len(words)} words of the {part} text ({unknown / len(words):.1%}) are not in the "
                    f"vocabulary of {len(known)} words and count as {UNKNOWN}."
                )
            self._tokens[part] = found
        return self._tokens[part]

    # -- hooks of Lightning --------------------------------------------------------------------------------------

    def setup(self, stage: str) -> None:
        """Reads the texts that a stage needs, and checks that they fill the batches.

        Raises:
            ValueError: if a text is too short.
        """
        if stage == "fit" and self.trainer is not None and overfits(self.trainer):
            raise ValueError(
                "trainer.overfit_batches does not work with these data, whose windows follow each other. Leave it out "
                "and set trainer.limit_train_batches."
            )
        for part in {"fit": ("train", "valid"), "validate": ("valid",), "test": ("test",)}.get(stage, ()):
            self.tokens(part)

    def train_dataloader(self) -> dict[str, RoleLoader[Window]]:
        """A loader for each role that the model trains, all of as many windows as the training text has."""
        weights = TrainingLoader(self._table("train", self.batch_size, "batch_size"), self.windows, self.seed)
        loaders: dict[str, RoleLoader[Window]] = {"weights": weights}
        if "arch" in self._wanted():
            loaders["arch"] = FollowingLoader(self._table("valid", self.batch_size, "batch_size"), weights)
        return loaders

    def val_dataloader(self) -> EvaluationLoader:
        """The validation text."""
        return EvaluationLoader(self._table("valid", self.eval_batch_size, "eval_batch_size"), self.windows.usual)

    def test_dataloader(self) -> EvaluationLoader:
        """The test text."""
        return EvaluationLoader(self._table("test", self.test_batch_size, "test_batch_size"), self.windows.usual)

    def state_dict(self) -> dict[str, Any]:
        """What identifies the texts, so that a run does not continue with other ones."""
        digests = {part: _digest(tokens) for part, tokens in sorted(self._tokens.items())}
        return {"vocabulary": self.vocabulary.digest, "texts": digests}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Checks that the checkpoint was made with the present texts.

        Raises:
            ValueError: if it was not.
        """
        if state_dict["vocabulary"] != self.vocabulary.digest:
            raise ValueError(
                f"The checkpoint was made with another vocabulary than that of the training text in '{self.root}', so "
                "that numbers of words would change their meaning. Use the text that it was made with."
            )
        present = {part: _digest(tokens) for part, tokens in self._tokens.items()}
        if changed := sorted(
            part for part, digest in state_dict["texts"].items() if present.get(part, digest) != digest
        ):
            raise ValueError(
                f"The {' and the '.join(changed)} text in '{self.root}' is not the one that the checkpoint was made "
                "with. Use that one, or start a new run."
            )

    # -- inside --------------------------------------------------------------------------------------------------

    def _wanted(self) -> frozenset[str]:
        """Roles that the model trains; both without a model."""
        module = None if self.trainer is None else self.trainer.lightning_module
        wanted: frozenset[str] = getattr(module, "roles", self.roles)
        return wanted

    def _table(self, part: str, columns: int, key: str) -> Tensor:
        trainer, tokens = self.trainer, self.tokens(part)
        ranks = (0, 1) if trainer is None else (trainer.global_rank, trainer.world_size)
        table = batchify(tokens, columns, ranks)
        if len(table) < 3:
            raise ValueError(
                f"data.{key} is {columns}, but the {part} text has {len(tokens)} tokens, which is {len(table)} for "
                f"each of {columns * ranks[1]} sequences. Use a smaller {key}, or more text."
            )
        device = torch.device("cpu") if trainer is None else trainer.strategy.root_device
        return table.to(device) if device.type == "cuda" else table

    def _read(self, part: str) -> list[str]:
        if not self.root.is_dir():
            raise FileNotFoundError(f"data.root '{self.root}' is no folder ('{self.root.absolute()}' was looked for).")
        names = [name.format(part) for name in NAMES]
        found = [self.root / name for name in names if (self.root / name).is_file()]
        if not found:
            raise FileNotFoundError(f"There is no file '{self.root / names[0]}' (nor {' or '.join(names[1:])}).")
        if len(found) > 1:
            raise ValueError(
                f"'{self.root}' has {' and '.join(path.name for path in found)}: keep one of them for the {part} text."
            )
        try:
            text = found[0].read_text(encoding="utf-8-sig")  # without a byte order mark, which is no word
        except UnicodeDecodeError as error:
            raise ValueError(f"'{found[0]}' is not a text file in UTF-8: {error}.") from error
        if not text.strip():
            raise ValueError(f"'{found[0]}' is empty, but the {part} text needs words.")
        return words_of(text)


def _digest(tokens: Tensor) -> str:
    return hashlib.sha256(tokens.numpy().astype("<i8").tobytes()).hexdigest()
