"""Searches and retrains a recurrent cell on a text, and compares it with a model that knows how frequent words are.

The unigram model predicts each word of the test text with its relative frequency in the training text, with one added
to each count so that no word is impossible; both models have the same vocabulary.

    python benchmarks/language_model.py --root my_text --folder runs/language_model
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from math import exp
from pathlib import Path

import torch

from lit_nas.data import TextFolderDataModule

JOB = Path(__file__).parents[1] / "configs" / "job" / "language_model.yaml"


def unigram_perplexity(data: TextFolderDataModule) -> float:
    """Of the test text, by the frequencies of the training text."""
    counts = data.tokens("train").bincount(minlength=data.spec.vocabulary).double() + 1
    losses = -(counts / counts.sum()).log()
    return exp(float(losses[data.tokens("test")[1:]].mean()))  # the first word is predicted by neither


def main() -> int:
    """Runs the job, and prints perplexities and seconds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", required=True, help="folder with train.txt, valid.txt and test.txt")
    parser.add_argument("--folder", default="runs/language_model", help="of the job")
    options, more = parser.parse_known_args()
    command = [sys.executable, "-m", "lit_nas", "run", "-c", str(JOB), "--folder", options.folder]
    status = subprocess.run([*command, "--data.root", options.root, *more], check=False).returncode
    if status:
        return status
    results = json.loads((Path(options.folder) / "results.json").read_text(encoding="utf-8"))
    config = Path(options.folder) / "retrain" / "checkpoints" / "last.ckpt"
    words = torch.load(config, weights_only=True)["lit_nas"]["run"]["data"]["init_args"]["vocabulary"]
    data = TextFolderDataModule(options.root, vocabulary=words)
    search, retrain = results["search_seconds"], results["retrain_seconds"]
    print(f"unigram test perplexity {unigram_perplexity(data):.2f}")
    print(f"found cell test perplexity {results['test_perplexity']:.2f}")
    print(f"seconds: search {search:.0f}, retraining {retrain:.0f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
