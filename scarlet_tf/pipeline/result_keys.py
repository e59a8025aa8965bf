"""Keys of retrain/result.json that are copied to other files if present."""

from __future__ import annotations

SCALING_KEYS = ("scaling", "searched_multiply_adds", "searched_params")
"""Keys beside the retrained network's own costs, if that network was scaled."""

STATED_KEYS = ("architecture", "folding", *SCALING_KEYS)
"""Keys that a fine-tuned network shares with its source network."""
