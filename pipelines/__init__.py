"""The nightly pipeline in ZenML; importing it sets ZenML's environment first."""

from pokewatch.operations import zenml_env
from pokewatch.settings import get_settings

zenml_env.prepare(get_settings())
