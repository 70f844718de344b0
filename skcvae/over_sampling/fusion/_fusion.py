"""Samples with units of a tail and of a head sample, and the labels of them."""

from dataclasses import dataclass

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from ..._class_means import fit_class_means
from .._wrapping import fit_classifier
from ._activation_maps import (
    all_activations,
    chunks,
    draw_partners,
    encoded,
    mean_code,
    pool_positions,
    specific_units,
)

# How often a sample is drawn before it repeats its tail sample.
_MAX_DRAWS = 10


@dataclass
class FusedSamples:
    """New samples, and what they are made of.

    `samples` has the units and the layout of the training samples. `parents`, of shape
    (n_new, 2), has the indices of tail and head sample, and `masks`, of shape (n_new,
    n_units), is true where a unit comes from the tail sample.
    """

    samples: np.ndarray
    parents: np.ndarray
    masks: np.ndarray


class Fusion:
    """Fuses training samples by the class-specific units of their codes.

    `module` and `scaler` are trained. `Z`, of shape (n_samples, n_positions,
    n_features), are the scaled training samples. The last three are parameters of the
    sampler.
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
        """Return `FusedSamples` of the class codes `wanted`."""
        parents = self._draw_parents(wanted, rng)
        # Units that speak for the class of the head sample must not come along.
        masks = self.specific[parents].any(axis=1)
        shape = len(parents), *self.scaler.sample_shape
        samples = np.empty(shape, dtype=self.scaler.dtype)
        for part in chunks(len(samples), self.Z.shape[1]):
            fused = self._fuse(parents[part], masks[part])
            samples[part] = self.scaler.to_samples(fused)
        return FusedSamples(samples, parents, masks)

    def _draw_parents(self, wanted, rng):
        """Return a tail sample of each class and a head sample, shape (n_new, 2)."""
        counts = np.bincount(self.codes)
        by_class = np.argsort(self.codes, kind="stable")
        first = np.cumsum(counts) - counts
        tails = by_class[first[wanted] + rng.randint(counts[wanted])]
        heads = draw_partners(self.maps, self.codes, tails, self.n_neighbors, rng)
        return np.column_stack([tails, heads])

    @torch.no_grad()
    def _fuse(self, parents, masks):
        """Return scaled positions of new samples, (n, n_positions, n_features)."""
        tails, heads = parents.T
        if self.has_positions and self.noise is not None:
            # A position is decoded by itself: with what the decoder leaves out, it is
            # that of the training sample again.
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
        for part, codes in encoded(self.module, self.Z):
            decoded = self.module.decode(codes).numpy()
            residuals[part] = (self.Z[part] - decoded)[:, 0]
        means = fit_class_means(residuals, self.codes, self.codes.max() + 1).shrunk
        self._residual_means = means.astype(np.float32)
        self._residuals = residuals - self._residual_means[self.codes]


def share_labels(codes, fused):
    """Return the share of each class in the labels of training samples, then new ones.

    The tail has the share of the label that it has of the units.
    """
    of_tail = fused.masks.mean(axis=1)
    shares = np.zeros((len(codes) + len(of_tail), codes.max() + 1), dtype=np.float32)
    shares[np.arange(len(codes)), codes] = 1
    new = np.arange(len(codes), len(shares))
    tails, heads = codes[fused.parents].T
    shares[new, tails] = of_tail
    shares[new, heads] = 1 - of_tail
    return shares


def fit_agreement(policy, X, y, seed):
    """Return the classifier that must agree, fitted on averages over positions."""
    if policy == "agreement":
        head = LogisticRegression(C=0.1, class_weight="balanced", max_iter=500)
        policy = make_pipeline(StandardScaler(), head)
    return fit_classifier(policy, pool_positions(X), y, seed)


def redraw_refused(fusion, fused, X, labels, classifier, rng):
    """Draw `fused` samples again, in place, where a classifier does not say `labels`.

    Samples that it refuses each time become their tail sample; return how many.
    """
    left = _refused(classifier, fused.samples, labels, np.arange(len(labels)))
    for _ in range(_MAX_DRAWS - 1):
        if not len(left):
            break
        again = fusion.draw(fusion.codes[fused.parents[left, 0]], rng)
        fused.samples[left] = again.samples
        fused.parents[left], fused.masks[left] = again.parents, again.masks
        left = _refused(classifier, fused.samples, labels, left)
    fused.masks[left] = True
    fused.samples[left] = X[fused.parents[left, 0]]
    return len(left)


def _refused(classifier, samples, labels, among):
    """Return which of some samples the classifier takes for another class."""
    if not len(among):
        return among
    predicted = classifier.predict(pool_positions(samples[among]))
    return among[predicted != labels[among]]
