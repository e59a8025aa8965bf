"""The schema of the YAML files; only the command line and runs read it, library code takes plain arguments."""

from scarlet_tf.config.reading import (
    DATA_KEYS,
    MAY_DIFFER,
    check_run_dir,
    claim_run_dir,
    differing_keys,
    finetune_config,
    load_config,
    parse_config,
)
from scarlet_tf.config.schema import FORMATS, Config, ExportConfig, json_schema, known_keys

__all__ = [
    "DATA_KEYS",
    "FORMATS",
    "MAY_DIFFER",
    "Config",
    "ExportConfig",
    "check_run_dir",
    "claim_run_dir",
    "differing_keys",
    "finetune_config",
    "json_schema",
    "known_keys",
    "load_config",
    "parse_config",
]
