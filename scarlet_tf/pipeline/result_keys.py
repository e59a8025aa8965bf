"""Keys of retrain/result.json that are copied to other files if present."""

from __future__ import annotations

SCALING_KEYS = ("scaling", "searched_multiply_adds", "searched_params")
"""Beside the retrained network's own costs, where that network was scaled."""

STATED_KEYS = ("architecture", "folding", *SCALING_KEYS)
"""What a fine-tuned network has in common with the one that it was made from."""
