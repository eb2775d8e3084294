"""What the language model of a genotype costs."""

from typing import Any

import torch
from torch import nn

from lit_nas.genotype import Genotype
from lit_nas.networks import LanguageModel, RetrainNetwork, count_weights
from lit_nas.networks.registry import retrain_name
from lit_nas.specs import TextSpec

__all__ = ("describe_text",)


def describe_text(
    genotype: Genotype, name: str, network: RetrainNetwork, found: RetrainNetwork, spec: TextSpec
) -> dict[str, Any]:
    """Counts weights, and multiply-adds for a token: of the products with the weights of the cell and of the decoder.

    Args:
        genotype: Its cell.
        name: What it is called.
        network: What is built of it, with its numbers.
        found: The same as it is registered.
        spec: The vocabulary.

    Returns:
        Plain data, as `describe` has it.
    """
    with torch.device("meta"):
        model: nn.Module = network.build(genotype, spec)
    assert isinstance(model, LanguageModel)
    cell = count_weights(model.cell)
    decoder = model.embedding.weight.numel()
    return {
        "genotype": name,
        "network": retrain_name(found),
        "init_channels": model.width,
        "num_cells": 1,
        "num_classes": spec.vocabulary,
        "weights": count_weights(model),
        "weights_auxiliary": 0,
        "multiply_adds": cell + decoder,
        "stem": {"weights": decoder, "multiply_adds": 0},
        "cells": [
            {
                "index": 0,
                "type": "recurrent",
                "channels": model.width,
                "output": [model.width],
                "weights": cell,
                "multiply_adds": cell,
            }
        ],
        "classifier": {"weights": model.bias.numel(), "multiply_adds": decoder},
    }
