"""The same figures on every processor: last bits, BLAS kernels, threads and jobs change nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from builders import delivery, market, small_models
from last_bit import another_processor

from pokewatch import rounding
from pokewatch.evaluation import training
from pokewatch.evaluation.predictions import predict_panel
from pokewatch.models.panel import open_panel
from pokewatch.quality.ingest import ingest
from pokewatch.settings import load_settings
from pokewatch.store.tables import Store

TESTS = Path(__file__).parent.parent

pytestmark = pytest.mark.slow

MARKET = market(30, 120, momentum=0.8)
# Listings and sales make features of their own.
RNG = np.random.default_rng(2)
MARKET["low_price"] = (MARKET["market_price"] * RNG.uniform(0.7, 1.0, len(MARKET))).round(2)
MARKET["mid_price"] = (MARKET["market_price"] * RNG.uniform(1.0, 1.3, len(MARKET))).round(2)
MARKET["volume"] = RNG.poisson(3, len(MARKET)).astype(float)


def figures() -> dict[str, Any]:
    """Collect, train and predict in a home of its own; every figure that a decision rests on."""
    with tempfile.TemporaryDirectory() as home, small_models(8):
        settings = load_settings(home=home, tracking=False, good_move=0.02, signal_lift=1.2)
        counts = ingest(Store.from_settings(settings), delivery(MARKET), settings)
        panel, version = open_panel(settings)
        trained, _ = training.fitted(settings, panel, version, (1, 7), "fair-value")
        predictions = predict_panel(settings, panel, version, trained)
    rules = {f"{side}_{horizon}": rule for (side, horizon), rule in trained.rules.items()}
    return {
        "accepted": counts.accepted,
        "signals": predictions["signal"].tolist(),
        "reasons": predictions["reason"].tolist(),
        "thresholds": {name: repr(rule) for name, rule in rules.items()},
        "trust": [fit.trust for fit in trained.model.fits.values()],
        "values": predictions[["fair_value", "lower", "upper"]].to_numpy().tolist(),
        "scores": [
            [value for value in row.values() if isinstance(value, float)] for row in trained.scores
        ],
    }


@pytest.fixture(scope="module")
def here() -> dict[str, Any]:
    return figures()


def assert_same(found: dict[str, Any], wanted: dict[str, Any]) -> None:
    for name, values in wanted.items():
        if name in ("values", "scores"):
            np.testing.assert_allclose(np.array(found[name]), values, rtol=1e-9, err_msg=name)
        else:
            assert found[name] == values, name


def test_the_last_bit_of_a_logarithm_decides_nothing(here):
    with another_processor():
        assert rounding.np.log(2.0) != np.log(2.0)
        assert_same(figures(), here)
    assert len(set(here["signals"])) > 1


def dispatched(kinds: tuple[str, ...] = ("",)) -> str:
    """Return the features of this processor that NumPy has kernels for, beyond the baseline."""
    from numpy._core._multiarray_umath import __cpu_dispatch__, __cpu_features__

    known = [name for name in __cpu_dispatch__ if __cpu_features__.get(name)]
    return " ".join(name for name in known if name.startswith(kinds))


OTHERS = {
    "the oldest": {
        "NPY_DISABLE_CPU_FEATURES": dispatched(),
        "OPENBLAS_CORETYPE": "PRESCOTT",
        "OMP_NUM_THREADS": "2",
    },
    "without AVX-512": {
        "NPY_DISABLE_CPU_FEATURES": dispatched(("AVX512", "X86_V4")),
        "OPENBLAS_CORETYPE": "HASWELL",
        "OMP_NUM_THREADS": "4",
    },
    "another maker's": {"OPENBLAS_CORETYPE": "ZEN", "OMP_NUM_THREADS": "1"},
    "with AVX-512": {"OPENBLAS_CORETYPE": "SKYLAKEX", "OMP_NUM_THREADS": "1"},
}
NEEDED = {"HASWELL": "AVX2", "ZEN": "AVX2", "SKYLAKEX": "AVX512_SKX"}  # to run OpenBLAS's kernels


@pytest.mark.parametrize("other", OTHERS, ids=lambda name: name.replace(" ", "-"))
def test_no_processor_and_no_number_of_threads_changes_a_figure(here, other):
    from numpy._core._multiarray_umath import __cpu_features__

    needed = NEEDED.get(OTHERS[other]["OPENBLAS_CORETYPE"])
    if needed and not __cpu_features__.get(needed):
        pytest.skip(f"this processor has no {needed}")
    done = subprocess.run(
        [sys.executable, __file__],
        env=os.environ | {"PYTHONPATH": str(TESTS)} | OTHERS[other],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert_same(json.loads(done.stdout), here)


if __name__ == "__main__":
    sys.stdout.write(json.dumps(figures()))
