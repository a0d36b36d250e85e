"""What the environment and the command line decide. The only reader of the environment."""

from fedops.settings.client import AppSettings as AppSettings
from fedops.settings.client import ClientSettings as ClientSettings
from fedops.settings.client import app_settings as app_settings
from fedops.settings.client import client_settings as client_settings
from fedops.settings.operator import CliSettings as CliSettings
from fedops.settings.operator import cli_settings as cli_settings
from fedops.settings.server import ServerSettings as ServerSettings
from fedops.settings.server import server_settings as server_settings
