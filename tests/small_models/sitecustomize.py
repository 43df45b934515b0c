"""With this folder on PYTHONPATH a process grows three trees a model, as most tests do.

Short histories prove them as well.
"""

from importlib.machinery import SourceFileLoader

load = SourceFileLoader.exec_module


def exec_module(self, module):
    load(self, module)
    if module.__name__ == "pokewatch.models.fair_value":
        for options in (module.BOOSTING, module.SMALL):
            options["max_iter"] = 3
    if module.__name__ == "pokewatch.evaluation.gate":
        module.MIN_WINDOWS = 5


SourceFileLoader.exec_module = exec_module
