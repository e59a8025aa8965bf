"""Constrained and weighted NSGA-II over a trained supernet, hosted by KerasTuner."""
