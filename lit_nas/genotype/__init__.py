"""Discrete cells: what a search finds and a retraining trains, in memory and as JSON."""

from lit_nas.genotype.genotype import (
    NAS_BENCH_201,
    CellGenotype,
    Edge,
    Genotype,
    load_genotype,
    published_genotypes,
    read_genotype,
)

__all__ = (
    "NAS_BENCH_201",
    "CellGenotype",
    "Edge",
    "Genotype",
    "load_genotype",
    "published_genotypes",
    "read_genotype",
)
