"""Tabular benchmarks: the true accuracies of all cells of NAS-Bench-201, and what finds good ones without training."""

from lit_nas.tabular.baselines import BASELINES, run_baseline
from lit_nas.tabular.csv_table import read_csv, read_nats_bench, read_table
from lit_nas.tabular.table import DATASETS, Standing, Table

__all__ = ("BASELINES", "DATASETS", "Standing", "Table", "read_csv", "read_nats_bench", "read_table", "run_baseline")
