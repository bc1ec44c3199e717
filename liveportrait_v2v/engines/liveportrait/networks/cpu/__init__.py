"""Arithmetic of convolutions on CPUs."""
