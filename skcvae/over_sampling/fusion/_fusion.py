"""Rows whose code is that of a tail row in some units, and of a head row in others."""

from dataclasses import dataclass

import numpy as np
import torch
from sklearn.utils import gen_batches

from ..._class_means import fit_class_means
from ._activation_maps import all_activations, draw_partners, mean_code, specific_units
from ._positions import chunks

_RENDERED_ROWS = 64


@dataclass
class FusedRows:
    """New rows, and what they are made of.

    Attributes
    ----------
    rows : ndarray of shape (n_new, ...)
        In the units and the layout of the training rows.

    parents : ndarray of shape (n_new, 2)
        Index of the tail row and of the head row.

    masks : ndarray of shape (n_new, n_units)
        True where a unit comes from the tail row.
    """

    rows: np.ndarray
    parents: np.ndarray
    masks: np.ndarray


class Fusion:
    """Fuses training rows by the class-specific units of their codes.

    Parameters
    ----------
    module : SimplicialAutoencoder
        Trained.

    scaler : PositionScaler
        Of the training rows.

    Z : ndarray of shape (n_samples, n_positions, n_features)
        Scaled training rows.

    codes : ndarray of shape (n_samples,)
        Their class codes.

    quantile, n_neighbors, noise
        Parameters of the sampler.
    """

    def __init__(self, module, scaler, Z, codes, *, quantile, n_neighbors, noise):
        self.module, self.scaler = module, scaler
        self.Z, self.codes = Z, codes
        self.n_neighbors, self.noise = n_neighbors, noise
        self.maps = all_activations(module, Z, codes, mean_code(module, Z))
        self.specific = specific_units(self.maps, quantile)
        self.has_positions = Z.shape[1] > 1
        if noise is not None and not self.has_positions:
            self._learn_residuals()

    def draw(self, wanted, rng):
        """Return `FusedRows` of the class codes `wanted`."""
        parents = self._draw_parents(wanted, rng)
        # Evidence for the class of the head row must not come along.
        masks = self.specific[parents].any(axis=1)
        row_shape, dtype = self.scaler.row_shape, self.scaler.dtype
        rows = np.empty((len(parents), *row_shape), dtype=dtype)
        for part in chunks(len(rows), self.Z.shape[1]):
            rows[part] = self.scaler.to_rows(self._fuse(parents[part], masks[part]))
        return FusedRows(rows, parents, masks)

    def _draw_parents(self, wanted, rng):
        """Return a tail row of each class and a head row, shape (n_new, 2)."""
        counts = np.bincount(self.codes)
        by_class = np.argsort(self.codes, kind="stable")
        first = np.cumsum(counts) - counts
        tails = by_class[first[wanted] + rng.randint(counts[wanted])]
        heads = draw_partners(self.maps, self.codes, tails, self.n_neighbors, rng)
        return np.column_stack([tails, heads])

    @torch.no_grad()
    def _fuse(self, parents, masks):
        """Return scaled positions of new rows, (n, n_positions, n_features)."""
        tails, heads = parents.T
        if self.has_positions and self.noise is not None:
            # A position is decoded by itself: with what the decoder leaves out, it is
            # that of the training row again.
            return np.where(masks[..., None], self.Z[tails], self.Z[heads])
        # Units are positions, or the groups of a single position.
        axes = (2, 3) if self.has_positions else (1, 3)
        mixed = torch.where(
            torch.from_numpy(np.expand_dims(masks, axes)),
            self.module.encode(torch.from_numpy(self.Z[tails])),
            self.module.encode(torch.from_numpy(self.Z[heads])),
        )
        fused = self.module.decode(mixed).numpy()
        if self.noise is not None:
            centres = self._residual_means[self.codes[tails]]
            fused += (self._residuals[heads] + centres)[:, None]
        return fused

    @torch.no_grad()
    def _learn_residuals(self):
        """Split what the decoder leaves out into shrunk class means and the rest."""
        residuals = np.empty_like(self.Z[:, 0])
        for rows in chunks(*self.Z.shape[:2]):
            Z = self.Z[rows]
            decoded = self.module.decode(self.module.encode(torch.from_numpy(Z)))
            residuals[rows] = (Z - decoded.numpy())[:, 0]
        means = fit_class_means(residuals, self.codes, self.codes.max() + 1).shrunk
        self._residual_means = means.astype(np.float32)
        self._residuals = residuals - self._residual_means[self.codes]


def render(decoder, rows):
    """Return what a function makes of new rows, in parts."""
    images = [
        np.asarray(decoder(rows[part]))
        for part in gen_batches(len(rows), _RENDERED_ROWS)
    ]
    n_images = sum(len(part) for part in images)
    if n_images != len(rows):
        raise ValueError(
            f"decoder must return an image for each row, got {n_images} images for "
            f"{len(rows)} rows."
        )
    return np.concatenate(images) if images else np.empty(0)
