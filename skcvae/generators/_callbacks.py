"""Options of the training of nets: early stopping, KL annealing, noise on inputs."""

from numbers import Integral, Real
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from sklearn.utils import check_consistent_length
from skorch.callbacks import Callback, EarlyStopping
from skorch.dataset import Dataset
from skorch.helper import predefined_split

from .._class_values import check_class_values


def early_stopping(
    X_val: ArrayLike, y_val: ArrayLike, *, patience: int = 15
) -> dict[str, Any]:
    """Return `net_params` that stop a training by validation samples of your own.

    For :class:`CVAE`, :class:`VAE`, :class:`FlowMatching`, and all that pass
    `net_params` to them, and for :class:`~skcvae.long_tail.LongTailClassifier`. Not for
    :class:`CGAN`: the loss of its critic does not tell how good samples are. The
    weights of the epoch with the lowest validation loss are kept, and the learning rate
    is constant. Nothing else is learned from validation samples. Set `max_epochs` of
    the estimator to more than it will need: "auto" may end the training before. Give a
    number as `hidden_dim`: "auto" tries each width for all of `max_epochs`.

    Parameters
    ----------
    X_val : array-like of shape (n_samples, n_features)
        Validation samples, in the units of the samples that the estimator itself gets.
        In a pipeline, transform them first: earlier steps do not see them.

    y_val : array-like of shape (n_samples,)
        Their labels; `fit` refuses labels that the training samples lack.

    patience : int, default=15
        Epochs without a lower validation loss after which training stops, at least 1.

    Returns
    -------
    net_params : dict
        With `train_split`, `callbacks` and `callbacks__lr_schedule`.

    Raises
    ------
    ValueError
        If `patience` is out of its range, or samples and labels differ in number. The
        `fit` of the estimator says what else is wrong with them, before any training.

    Notes
    -----
    The validation samples are a part of the parameters of the estimator. Its pickles,
    its clones and the files of a cache hold them.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skcvae.generators import CVAE, early_stopping
    >>> X, y = load_digits(return_X_y=True)
    >>> net_params = early_stopping(X[900:], y[900:], patience=2)
    >>> cvae = CVAE(max_epochs=500, net_params=net_params, device="cpu", random_state=0)
    >>> len(cvae.fit(X[:900], y[:900]).history_) < 100
    True
    """
    if not (isinstance(patience, Integral) and patience >= 1):
        raise ValueError(f"patience must be an int of at least 1, got {patience!r}.")
    check_consistent_length(X_val, y_val)
    # skorch takes a list for several inputs.
    X_val, y_val = (
        np.array(a) if isinstance(a, list | tuple) else a for a in (X_val, y_val)
    )
    stopping = ValidationStopping(patience=patience, threshold=0, load_best=True)
    return {
        "train_split": predefined_split(Dataset(X_val, y_val)),
        "callbacks": [("early_stopping", stopping)],
        # A schedule would be planned for epochs that do not come.
        "callbacks__lr_schedule": None,
    }


class ValidationStopping(EarlyStopping):
    """Early stopping for estimators whose validation loss falls as they get better."""

    def check_estimator(self, estimator, n_classes):
        """Refuse an estimator whose loss tells something else."""
        if not getattr(estimator, "_loss_tells_quality", True):
            raise ValueError(
                f"early_stopping is not for {type(estimator).__name__}: the loss of "
                "its critic does not tell how good samples are. Set max_epochs."
            )


class KLAnnealing(Callback):
    r"""Callback of a CVAE: the weight of the KL term rises from 0 to `beta`.

    It rises linearly over the first epochs, from one epoch to the next. The validation
    loss has the whole `beta`, so that its values can be compared.

    Parameters
    ----------
    share : float, default=0.3
        Share of `max_epochs` after which the weight is `beta`, in [0, 1]. Where that is
        less than one epoch, or there is one epoch only, the weight is always `beta`.

    Raises
    ------
    ValueError
        In `fit`: if `share` is out of its range, or the estimator has no KL term.

    Examples
    --------
    >>> from skcvae.generators import CVAE, KLAnnealing
    >>> cvae = CVAE(net_params={"callbacks": [("annealing", KLAnnealing())]})
    """

    def __init__(self, share: float = 0.3) -> None:
        self.share = share

    def check_estimator(self, estimator, n_classes):
        """Refuse a share out of range, and an estimator or loss without a KL term."""
        if not (isinstance(self.share, Real) and 0 <= self.share <= 1):
            raise ValueError(
                f"share of KLAnnealing must be in [0, 1], got {self.share!r}."
            )
        _check_kl_term(self, estimator)

    def on_train_begin(self, net, **kwargs):
        """Remember the weight."""
        self.check_estimator(net.criterion_, None)
        self.beta_ = net.criterion_.beta

    def on_batch_begin(self, net, batch=None, training=None, **kwargs):
        """Set the weight of this batch."""
        n_epochs = self.share * net.max_epochs
        rises = training and n_epochs >= 1 and net.max_epochs > 1
        rise = min(1.0, (len(net.history) - 1) / n_epochs) if rises else 1.0
        net.criterion_.beta = self.beta_ * rise


class InputNoise(Callback):
    r"""Callback of a CVAE: Gaussian noise on what the encoder gets.

    The samples to reconstruct stay as they are.

    Parameters
    ----------
    std : float or array-like of shape (n_classes,), default=0.1
        Standard deviation of the noise, at least 0: one number, or one for each class
        in the order of `classes_`; with several labels for each sample, one number. It
        is in scaled units: those of :math:`(x - o) / s` with the `offset_` o and the
        `scale_` s of the generator.

    Raises
    ------
    ValueError
        In `fit`: if `std` is not as above, or the estimator has no encoder.

    TypeError
        In `fit`: if `std` is a pandas object, whose order may be another one.

    Examples
    --------
    More noise for rare classes:

    >>> import numpy as np
    >>> from skcvae.generators import CVAE, InputNoise
    >>> y = np.repeat([0, 1], [90, 10])
    >>> noise = InputNoise(0.3 * (np.bincount(y) < 20))
    >>> cvae = CVAE(net_params={"callbacks": [("noise", noise)]})
    """

    def __init__(self, std: ArrayLike = 0.1) -> None:
        self.std = std

    def check_estimator(self, estimator, n_classes):
        """Return the deviation of each class, or refuse it, or the estimator."""
        _check_kl_term(self, estimator)
        std = check_class_values(
            self.std, n_classes, "std of InputNoise", positive=False
        )
        return torch.tensor(np.broadcast_to(std, n_classes), dtype=torch.float32)

    def on_train_begin(self, net, **kwargs):
        """Read the deviations, in the units of the samples of the net."""
        n_classes = getattr(net, "module__n_classes", None)
        std = self.check_estimator(net.criterion_, n_classes)
        if np.ndim(self.std) and getattr(net, "module__label_sets", None) is not None:
            raise ValueError(
                "With several labels for each sample, std of InputNoise must be one "
                f"number, got {self.std!r}."
            )
        self.std_ = std / net.unit

    def on_batch_begin(self, net, batch=None, training=None, **kwargs):
        """Add noise to the input of this batch."""
        if training:
            inputs, target = batch
            std = self.std_.to(target.device)[inputs["y"]]
            inputs["x"] = target + std[:, None] * torch.randn_like(target)


def _check_kl_term(callback, estimator):
    """Refuse other estimators, whose batches and losses mean something else."""
    if not hasattr(estimator, "beta"):
        raise ValueError(
            f"{type(callback).__name__} is for CVAE and VAE, whose loss has a KL term."
        )
