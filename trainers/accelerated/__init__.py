"""Kernels of our own, where the library's cost more than the work they do: compiled once per machine, then kept."""
