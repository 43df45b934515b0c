"""Boosted regression trees: scikit-learn grows them, plain arrays keep them.

Reading arrays executes nothing and takes a moment; a library that rebuilds scikit-learn's own
objects first imports all of scikit-learn, seconds in every process that reads a model.
"""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from sklearn.ensemble import HistGradientBoostingRegressor

# Of a node what a prediction needs, under scikit-learn's names.
NODE = np.dtype(
    [
        *[("value", "f8"), ("num_threshold", "f8"), ("feature_idx", "i8")],
        *[("left", "u4"), ("right", "u4"), ("missing_go_to_left", "u1"), ("is_leaf", "u1")],
    ]
)
LARGEST = 64 * 2**20  # bytes that a model's trees may unfold to; a whole one has 2 MB
NO_CATEGORIES = np.zeros((0, 8), dtype=np.uint32)  # every feature is a number


class Trees:
    """What a boosted regression has learnt: a usual value, and what each tree adds to it."""

    def __init__(self, usual: float, nodes: list[np.ndarray], features: int):
        """Hold the nodes of each tree, dtype ``NODE``; features: how many cases have.

        Raises ValueError for nodes that are no tree over so many features.
        """
        self.usual, self.nodes, self.features = float(usual), nodes, int(features)
        for tree in nodes:
            number, split = np.arange(len(tree)), tree["is_leaf"] == 0
            for side in ("left", "right"):  # below the node itself, so that every way has an end
                after = tree[side][split]
                if (after <= number[split]).any() or (after >= len(tree)).any():
                    raise ValueError("a branch leads nowhere")
            asked = tree["feature_idx"][split]
            if not len(tree) or (asked < 0).any() or (asked >= features).any():
                raise ValueError("a tree asks for a feature that there is not")
            if not np.isfinite(tree["value"]).all() or np.isnan(tree["num_threshold"]).any():
                raise ValueError("a tree holds what is no number")
        if not np.isfinite(self.usual):
            raise ValueError("the usual value is no number")

    @classmethod
    def grown(cls, boosting: HistGradientBoostingRegressor) -> Trees:
        """Return what a fitted estimator has learnt."""
        nodes = [_as(NODE, tree.nodes) for (tree,) in boosting._predictors]
        return cls(boosting._baseline_prediction.item(), nodes, boosting.n_features_in_)

    def predict(self, x: np.ndarray) -> np.ndarray:
        """Return the estimates of cases with features ``x``, shape (cases, features)."""
        from sklearn.ensemble._hist_gradient_boosting.common import PREDICTOR_RECORD_DTYPE
        from sklearn.ensemble._hist_gradient_boosting.predictor import TreePredictor
        from sklearn.utils._openmp_helpers import _openmp_effective_n_threads

        if x.shape[1] != self.features:
            raise ValueError(f"{x.shape[1]} features are given, {self.features} were learnt from")
        x = np.ascontiguousarray(x, dtype=np.float64)
        index, threads = np.zeros(self.features, dtype=np.uint32), _openmp_effective_n_threads()
        out = np.full(len(x), self.usual)
        for nodes in self.nodes:
            whole = _as(PREDICTOR_RECORD_DTYPE, nodes)
            tree = TreePredictor(whole, NO_CATEGORIES, NO_CATEGORIES)
            out += tree.predict(x, NO_CATEGORIES, index, threads)
        return out


def _as(kind: np.dtype, nodes: np.ndarray) -> np.ndarray:
    """Return nodes with other fields, 0 where there was none."""
    out = np.zeros(len(nodes), dtype=kind)
    for name in NODE.names or ():
        out[name] = nodes[name]
    return out


def save(trees: dict[str, Trees], path: Path) -> None:
    """Write trees by name as NumPy's arrays."""
    arrays: dict[str, Any] = {}
    for name, one in trees.items():
        all_nodes = np.concatenate(one.nodes)
        arrays |= {f"{name}/{column}": all_nodes[column] for column in NODE.names or ()}
        arrays[f"{name}/sizes"] = np.array([len(tree) for tree in one.nodes])
        arrays[f"{name}/usual"] = np.array([one.usual])
        arrays[f"{name}/features"] = np.array([one.features])
    np.savez_compressed(path, **arrays)


def load(path: Path) -> dict[str, Trees]:
    """Read what ``save`` wrote; nothing is executed. ValueError or KeyError where it is damaged."""
    with zipfile.ZipFile(path) as packed:
        if sum(one.file_size for one in packed.infolist()) > LARGEST:
            raise ValueError(f"it holds more than {LARGEST:,} bytes")
    with np.load(path, allow_pickle=False) as file:
        arrays = {key: file[key] for key in file.files}
    found: dict[str, Trees] = {}
    for name in dict.fromkeys(key.partition("/")[0] for key in arrays):
        sizes = arrays[f"{name}/sizes"]
        columns = {column: arrays[f"{name}/{column}"] for column in NODE.names or ()}
        if {one.shape for one in columns.values()} != {(int(sizes.sum()),)}:
            raise ValueError("its columns differ in length")
        nodes = np.zeros(int(sizes.sum()), dtype=NODE)
        for column, values in columns.items():
            nodes[column] = values
        parts = np.split(nodes, np.cumsum(sizes)[:-1])
        usual, features = (arrays[f"{name}/{what}"].item() for what in ("usual", "features"))
        found[name] = Trees(usual, parts, features)
    return found


class SharedBins:
    """Features that several boosted regressions learn from, put into bins once for all of them.

    scikit-learn sorts every feature anew in each ``fit``: with few and small trees that is half the
    time.
    """

    def __init__(self, x: np.ndarray):
        """Hold features, shape (cases, features)."""
        self.x = x
        self._mapper: Any = None

    def fit(
        self,
        boosting: HistGradientBoostingRegressor,
        y: np.ndarray,
        rows: np.ndarray | slice = slice(None),
    ) -> Trees:
        """Return what an estimator learns; rows: the cases whose targets are ``y``, bins of all."""

        def binned(*_: Any, **__: Any) -> np.ndarray:
            if self._mapper is None:
                self._mapper = boosting._bin_mapper
                self._binned = self._mapper.fit_transform(self.x)
            boosting._bin_mapper = self._mapper
            return np.asfortranarray(self._binned[rows])

        boosting._bin_data = binned
        return Trees.grown(boosting.fit(self.x[rows], y))
