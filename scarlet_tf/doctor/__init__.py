"""Checks of a run's requirements, from Python to a tiny network in a .tflite file: `scarlet doctor`."""

from scarlet_tf.doctor.examination import examine
from scarlet_tf.doctor.finding import OK, PROBLEM, WARNING, Finding

__all__ = ["OK", "PROBLEM", "WARNING", "Finding", "examine"]
