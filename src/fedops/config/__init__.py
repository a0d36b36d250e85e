"""An app's config: its sections, how files and tables become them, single settings over them."""

from fedops.config.loading import load_config as load_config
from fedops.config.loading import parse_config as parse_config
from fedops.config.loading import read_toml as read_toml
from fedops.config.loading import to_plain as to_plain
from fedops.config.overrides import apply_overrides as apply_overrides
from fedops.config.schema import Config as Config
from fedops.config.schema import Dataset as Dataset
