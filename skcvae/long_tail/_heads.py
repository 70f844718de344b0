"""The heads: small networks from embeddings to logits."""

import copy

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import gen_batches
from sklearn.utils.validation import check_is_fitted
from torch import nn
from torch.nn import functional

from .._scaling import inverse_scale, scale_rows
from .._validation import check_samples_alone

# Logits that are held at a time: 32 MiB in float64.
_BLOCK_NUMBERS = 2**22


class LinearHead(nn.Linear):
    """Linear layer that starts at zero: no class has a lead that training must undo.

    **Shape**

    - Input: ``(n, n_features)``
    - Output: ``(n, n_classes)``
    """

    def reset_parameters(self):
        """Set weights and biases to zero."""
        nn.init.zeros_(self.weight)
        nn.init.zeros_(self.bias)


class MLPHead(nn.Sequential):
    """One hidden layer, with dropout of one half.

    **Shape**

    - Input: ``(n, n_features)``
    - Output: ``(n, n_classes)``

    Parameters
    ----------
    n_features, n_classes : int
        Dimensions.

    hidden_dim : int, default=512
        Width of the hidden layer.

    Examples
    --------
    >>> import torch
    >>> from skcvae.long_tail import MLPHead
    >>> MLPHead(8, 3, hidden_dim=16)(torch.zeros(5, 8)).shape
    torch.Size([5, 3])
    """

    def __init__(self, n_features: int, n_classes: int, hidden_dim: int = 512):
        super().__init__(
            nn.Linear(n_features, hidden_dim),
            nn.ReLU(),
            nn.Dropout(0.5),
            nn.Linear(hidden_dim, n_classes),
        )


class Cosines(nn.Module):
    """Cosine between a sample and a vector for each class."""

    def __init__(self, n_features, n_classes):
        super().__init__()
        # Short vectors turn fast: of long ones a step changes little.
        self.weight = nn.Parameter(0.1 * torch.randn(n_classes, n_features))

    def forward(self, x):
        """Return the cosines, of shape (n, n_classes)."""
        unit_x = functional.normalize(x, dim=1)
        return unit_x @ functional.normalize(self.weight, dim=1).T


class CosineHead(Cosines):
    """Cosine between a sample and a vector for each class, times a learned scale.

    **Shape**

    - Input: ``(n, n_features)``
    - Output: ``(n, n_classes)``, between minus and plus the scale

    Parameters
    ----------
    n_features, n_classes : int
        Dimensions.

    scale : float, default=16.0
        Where the scale starts. Weight decay pulls it back to there.

    Examples
    --------
    >>> import torch
    >>> from skcvae.long_tail import CosineHead
    >>> head = CosineHead(8, 3, scale=4.0)
    >>> bool(head(torch.ones(5, 8)).abs().max() <= 4)
    True
    """

    def __init__(self, n_features: int, n_classes: int, scale: float = 16.0):
        super().__init__(n_features, n_classes)
        self.start_scale = scale
        self.log_scale = nn.Parameter(torch.zeros(()))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the scaled cosines."""
        return self.start_scale * self.log_scale.exp() * super().forward(x)


class ScaledHead(nn.Module):
    """A trained head, with the scaling before it and the correction after it.

    It takes samples in the units of the training samples; features of the scale 0 are
    taken for 0. Logits are multiplied by `logit_scale`, and `logit_correction`, of
    shape (n_classes,), is added.
    """

    def __init__(self, head, offset, scale, logit_scale, logit_correction):
        super().__init__()
        self.head = head
        self.logit_scale = logit_scale
        for name, values in {
            "offset": offset,
            "inverse_scale": inverse_scale(scale),
            "logit_correction": logit_correction,
        }.items():
            self.register_buffer(name, torch.tensor(values, dtype=torch.float32))

    def forward(self, x):
        """Return the corrected logits."""
        logits = self.head((x - self.offset) * self.inverse_scale)
        return self.logit_scale * logits + self.logit_correction


HEADS = {"linear": LinearHead, "mlp": MLPHead, "cosine": CosineHead}


class HeadPredictionsMixin:
    """Predictions of a trained head: `head_`, its scaling and its correction."""

    classes_: NDArray
    head_: nn.Module
    offset_: NDArray
    scale_: NDArray
    logit_scale_: float
    logit_correction_: NDArray

    def predict_proba(self, X: ArrayLike) -> NDArray[np.float64]:
        """Return the probability of each class, for `target_prior`.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Embeddings.

        Returns
        -------
        probability : ndarray of shape (n_samples, n_classes)
            In the order of `classes_`; each row sums to 1.
        """
        X = self._check_to_predict(X)
        proba = np.empty((len(X), len(self.classes_)))
        for block in self._blocks(X):
            logits = torch.from_numpy(self._corrected_logits(X[block]))
            torch.softmax(logits, dim=1, out=torch.from_numpy(proba[block]))
        return proba

    def predict(self, X: ArrayLike) -> NDArray:
        """Return the most probable class, for `target_prior`.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Embeddings.

        Returns
        -------
        y : ndarray of shape (n_samples,)
            Labels.
        """
        X = self._check_to_predict(X)
        codes = [self._corrected_logits(X[b]).argmax(axis=1) for b in self._blocks(X)]
        return self.classes_[np.concatenate(codes)]

    def make_logits(self, device: str | torch.device = "cpu") -> nn.Module:
        """Return the classifier as a differentiable function of samples.

        :class:`skcvae.over_sampling.HardOverSampler` looks with it for samples that
        are hard to classify.

        Parameters
        ----------
        device : str or torch.device, default="cpu"
            Where it computes.

        Returns
        -------
        torch.nn.Module
            Takes samples of shape (n, n_features), in the units of the training
            samples and in float32, and returns logits of shape (n, n_classes) in the
            order of `classes_`. Their softmax is :meth:`predict_proba`.
        """
        check_is_fitted(self, "head_")
        logits = ScaledHead(
            copy.deepcopy(self.head_),
            self.offset_,
            self.scale_,
            self.logit_scale_,
            self.logit_correction_,
        )
        return logits.requires_grad_(False).to(device).eval()

    def _check_to_predict(self, X) -> NDArray:
        check_is_fitted(self, "head_")
        return check_samples_alone(self, X)

    def _blocks(self, X):
        """Return slices of samples whose logits are held at a time."""
        return gen_batches(len(X), max(1, _BLOCK_NUMBERS // len(self.classes_)))

    def _corrected_logits(self, X):
        x = torch.from_numpy(scale_rows(X, self.offset_, self.scale_))
        with torch.inference_mode():
            logits = self.head_(x).double().numpy()
        return self.logit_scale_ * logits + self.logit_correction_
