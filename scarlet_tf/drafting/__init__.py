"""Draft of a configuration for a dataset and a budget: `scarlet init`."""

from scarlet_tf.drafting.draft import Draft, draft
from scarlet_tf.drafting.source import data_config
from scarlet_tf.drafting.timing import parse_time

__all__ = ["Draft", "data_config", "draft", "parse_time"]
