"""Tests of lit_nas.data."""
