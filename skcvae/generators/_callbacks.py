"""Options of the training of nets: early stopping, KL annealing, noise on inputs."""

from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from sklearn.utils import check_consistent_length
from skorch.callbacks import Callback, EarlyStopping
from skorch.dataset import Dataset
from skorch.helper import predefined_split


def early_stopping(
    X_val: ArrayLike, y_val: ArrayLike, *, patience: int = 15
) -> dict[str, Any]:
    """Return `net_params` that stop a training by validation samples of your own.

    For :class:`CVAE`, :class:`VAE`, :class:`FlowMatching`, and all that pass
    `net_params` to them, and for :class:`~skcvae.long_tail.LongTailClassifier`. The
    weights of the epoch with the lowest validation loss are kept, and the learning rate
    is constant. Nothing else is learned from validation samples. Set `max_epochs` of
    the estimator to more than it will need: "auto" may end the training before.

    Parameters
    ----------
    X_val : array-like of shape (n_samples, n_features)
        Validation samples, in the units of the samples that the estimator itself gets.
        In a pipeline, transform them first: earlier steps do not see them.

    y_val : array-like of shape (n_samples,)
        Their labels; `fit` refuses labels that the training samples lack.

    patience : int, default=15
        Epochs without a lower validation loss after which training stops.

    Returns
    -------
    net_params : dict
        With `train_split`, `callbacks` and `callbacks__lr_schedule`.

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
    check_consistent_length(X_val, y_val)
    # skorch takes a list for several inputs.
    X_val, y_val = (np.array(a) if isinstance(a, list) else a for a in (X_val, y_val))
    stopping = EarlyStopping(patience=patience, threshold=0, load_best=True)
    return {
        "train_split": predefined_split(Dataset(X_val, y_val)),
        "callbacks": [("early_stopping", stopping)],
        # A schedule would be planned for epochs that do not come.
        "callbacks__lr_schedule": None,
    }


class KLAnnealing(Callback):
    r"""Callback of a CVAE: the weight of the KL term rises from 0 to `beta`.

    It rises linearly over the first epochs. The validation loss has the whole `beta`,
    so that its values can be compared.

    Parameters
    ----------
    share : float, default=0.3
        Share of `max_epochs` after which the weight is `beta`, in [0, 1].

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

    def on_train_begin(self, net, **kwargs):
        """Remember the weight."""
        if not 0 <= self.share <= 1:
            raise ValueError(
                f"share of KLAnnealing must be in [0, 1], got {self.share!r}."
            )
        _check_net(self, net)
        self.beta_ = net.criterion_.beta

    def on_batch_begin(self, net, batch=None, training=None, **kwargs):
        """Set the weight of this batch."""
        done = len(net.history) - 1
        rise = min(1.0, done / max(self.share * net.max_epochs, 1))
        net.criterion_.beta = self.beta_ * (rise if training else 1.0)


class InputNoise(Callback):
    r"""Callback of a CVAE: Gaussian noise on what the encoder gets.

    The samples to reconstruct stay as they are.

    Parameters
    ----------
    std : float or array-like of shape (n_classes,), default=0.1
        Standard deviation of the noise, at least 0: one number, or one for each class
        in the order of `classes_`. It is in scaled units: those of :math:`(x - o) / s`
        with the `offset_` o and the `scale_` s of the generator.

    Raises
    ------
    ValueError
        In `fit`: if `std` is not as above, or the estimator has no encoder.

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

    def on_train_begin(self, net, **kwargs):
        """Check the deviations."""
        _check_net(self, net)
        n_classes = net.module__n_classes
        std = np.asarray(self.std, dtype=np.float32)
        if std.shape not in ((), (n_classes,)) or not (
            np.isfinite(std).all() and (std >= 0).all()
        ):
            raise ValueError(
                "std of InputNoise must be a finite number of at least 0, or "
                f"{n_classes} of them, one for each class, got {self.std!r}."
            )
        self.std_ = torch.from_numpy(np.broadcast_to(std, n_classes).copy())

    def on_batch_begin(self, net, batch=None, training=None, **kwargs):
        """Add noise to the input of this batch."""
        if training:
            inputs, target = batch
            std = self.std_.to(target.device)[inputs["y"]]
            inputs["x"] = target + std[:, None] * torch.randn_like(target)


def _check_net(callback, net):
    """Refuse other estimators, whose batches and losses mean something else."""
    if not hasattr(net.criterion_, "beta"):
        raise ValueError(
            f"{type(callback).__name__} is for CVAE and VAE, whose loss has a KL term."
        )
