"""Arrangements of the networks for GPUs."""
