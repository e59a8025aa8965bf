"""Searches compared with one another: hypervolume against evaluations, of several algorithms and seeds."""
