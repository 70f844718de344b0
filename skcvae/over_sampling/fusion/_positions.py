"""Vectors, patch tokens and feature maps as one: scaled rows of positions."""

from dataclasses import dataclass

import numpy as np

from ..._scaling import estimate_scale, scale_rows

# Positions that are worked on at a time, about.
_CHUNK_POSITIONS = 4096
# Positions of maps from which the scale of their features is estimated, about.
_SCALE_POSITIONS = 100_000


def chunks(n_rows, n_positions):
    """Yield slices of rows that hold a bounded number of positions."""
    step = max(1, _CHUNK_POSITIONS // n_positions)
    for start in range(0, n_rows, step):
        yield slice(start, min(start + step, n_rows))


def pool_positions(X):
    """Return the average of rows of any layout over positions, (n, n_features)."""
    return X if X.ndim == 2 else X.mean(axis=1 if X.ndim == 3 else (2, 3))


@dataclass
class PositionScaler:
    """The layout of rows, and the scale of their features.

    Attributes
    ----------
    row_shape : tuple of int
        (n_features,), (n_tokens, n_features) or (n_channels, height, width).

    dtype : dtype
        Floating point type of rows.

    offset, scale : ndarray of shape (n_features,)
        Of the features at all positions.
    """

    row_shape: tuple
    dtype: np.dtype
    offset: np.ndarray
    scale: np.ndarray

    @classmethod
    def fit(cls, X):
        """Return the scaler of rows, shape (n, ...)."""
        step = 1
        if X.ndim > 2:
            n_features = X.shape[1 if X.ndim == 4 else 2]
            step += X.size // n_features // _SCALE_POSITIONS
        # Sums depend on the order in memory.
        sample = np.ascontiguousarray(_features_last(X[::step]))
        offset, scale = estimate_scale(sample.reshape(-1, sample.shape[-1]))
        return cls(X.shape[1:], sample.dtype, offset, scale)

    @property
    def grid(self):
        """Shape of the positions: (), (n_tokens,) or (height, width)."""
        shape = self.row_shape
        return {1: (), 2: shape[:1], 3: shape[1:]}[len(shape)]

    def to_positions(self, X):
        """Return scaled positions, float32 of shape (n, n_positions, n_features)."""
        n_features = len(self.offset)
        Z = np.empty((len(X), int(np.prod(self.grid)), n_features), dtype=np.float32)
        for rows in chunks(*Z.shape[:2]):
            positions = _features_last(X[rows]).reshape(-1, n_features)
            Z[rows] = scale_rows(positions, self.offset, self.scale).reshape(
                Z[rows].shape
            )
        return Z

    def to_rows(self, Z):
        """Return rows of scaled positions, of shape (n, ...)."""
        X = (self.offset + Z * self.scale).astype(self.dtype)
        X = X.reshape(len(Z), *self.grid, len(self.offset))
        return np.moveaxis(X, -1, 1) if len(self.row_shape) == 3 else X


def _features_last(X):
    """Return rows in a float type, with features on the last axis."""
    X = np.moveaxis(X, 1, -1) if X.ndim == 4 else X
    return X.astype(np.result_type(X.dtype, np.float32), copy=False)
