"""Discrete cells: what a search finds and a retraining trains, in memory and as JSON."""

from lit_nas.genotype.cells import CellGenotype, Edge
from lit_nas.genotype.genotype import NAS_BENCH_201, Genotype
from lit_nas.genotype.load import load_genotype, published_genotypes, read_genotype

__all__ = (
    "NAS_BENCH_201",
    "CellGenotype",
    "Edge",
    "Genotype",
    "load_genotype",
    "published_genotypes",
    "read_genotype",
)
