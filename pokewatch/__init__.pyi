# The public names and where they live; lazy_loader reads this file, type checkers too.
from . import browse as browse
from . import plot as plot
from . import report as report
from .analysis import benchmark as benchmark
from .analysis import narrative as narrative
from .analysis import tables as tables
from .analysis.collection import Portfolio as Portfolio
from .analysis.collection import portfolio as portfolio
from .analysis.collection import set_completion as set_completion
from .analysis.market import Card as Card
from .analysis.market import Market as Market
from .analysis.market import market as market
from .analysis.patterns import momentum as momentum
from .analysis.patterns import seasons as seasons
from .analysis.permutation_importance import permutation_importance as permutation_importance
from .api import backtest as backtest
from .api import equity_curve as equity_curve
from .api import fair_value as fair_value
from .api import score as score
from .api import signals as signals
from .api import status as status
from .api import track_record as track_record
from .api import trade_log as trade_log
from .api import train as train
from .evaluation.training import Experiment as Experiment
from .operations.experiment import experiment as experiment

__version__: str
