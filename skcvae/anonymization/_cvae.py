"""Anonymization with a conditional variational autoencoder."""

from collections.abc import Callable
from numbers import Real

import numpy as np
import torch
from joblib import Memory
from numpy.typing import ArrayLike
from sklearn.utils._param_validation import Interval

from .._generation import check_memory_seed
from .._warnings import warn_user
from ..generators import CVAE, DPCVAE
from ._base import MIN_CLASS_SIZE, SMALL_CLASS_CONSTRAINTS
from ._base_generative import BaseGenerativeAnonymizer

# Parameters of the anonymizer; all others are passed to the CVAE.
_OWN_PARAMETERS = (
    "min_distance",
    *SMALL_CLASS_CONSTRAINTS,
    "max_mean_leakage",
    "memory",
    "epsilon",
    "delta",
    "dp_params",
)
# Parameters of the CVAE that the DPCVAE does not have.
_NOT_PRIVATE = ("architecture", "prior", "objective", "net_params")


class CVAEAnonymizer(BaseGenerativeAnonymizer):
    r"""Replace samples by draws from a conditional variational autoencoder.

    `fit_transform` returns a synthetic embedding of the same class for each sample
    [1]_; `transform` returns its input unchanged, so that a pipeline is trained on
    synthetic samples and tested on real ones. `sample` draws any number of samples,
    `batches` draws them without end, `release` writes the decoder to a file to share.

    Synthetic is not private: a model can memorize samples, above all those of small
    classes. Attack the result with :func:`skcvae.privacy.privacy_audit`, or set
    `epsilon` for a guarantee.

    Narrow networks and a large `beta` disclose less. With ``hidden_dim="auto"``, a
    UserWarning says so where held-out samples are more likely under a
    :class:`~skcvae.generators.ClassGaussian`; :class:`GenerativeAnonymizer` takes it.

    .. note::
        ``fit_transform(X, y)`` is not ``fit(X, y).transform(X)``: :meth:`transform`
        anonymizes nothing. Publish only what :meth:`fit_transform`, :meth:`sample` or
        :meth:`release` return.

    Parameters
    ----------
    variance : float, dict, array-like of shape (n_classes,) or "auto", default=1.0
        Factor :math:`\sigma^2` of the variance of the latents at sampling.

    latent_dim : int, default=32
        Dimension of the latent vectors.

    architecture : {"small", "large"}, ConvBackbone or callable, default="small"
        Networks of the :class:`~skcvae.generators.CVAE`.

    hidden_dim : int or "auto", default="auto"
        Width of the networks. "auto" is chosen by held-out samples: no wider than they
        pay for, because wide networks memorise the training samples. See
        :class:`~skcvae.generators.CVAE`, whose own default is 512.

    beta : float, default=2.0
        Weight of the KL term. The default of :class:`~skcvae.generators.CVAE` is 1; a
        larger weight lets less of each sample through the latent vector.

    prior : {"aggregate", "standard"}, default="aggregate"
        Where latent vectors are drawn from.

    noise : {"residual"} or None, default="residual"
        Whether generated samples get the observation noise.

    objective : {"elbo", "reference"}, default="elbo"
        "reference" trains with the loss and the scaling of the thesis's program.

    max_epochs : int or "auto", default="auto"
        Passes over the samples.

    batch_size : int, default=256
        Samples per step.

    lr : float, default=3e-3
        Learning rate, the peak of a one-cycle schedule.

    device : str or torch.device, default="auto"
        "auto" is the GPU that torch reports, else the CPU.

    min_distance : float, tuple or None, default=None
        Smallest Euclidean distance of a generated sample to any training sample, in the
        units of `X`, or ``("quantile", q)``; see :class:`GenerativeAnonymizer`. This
        filter discloses information, and keeps the training samples in memory.

    small_classes : {"error", "merge", "suppress", "allow"}, default="error"
        What happens to classes with fewer than `min_class_size` distinct samples.
        Not with `epsilon`: such a count would tell of a sample.

        - "error" raises a ValueError.
        - "merge" learns them as a part of the class with the nearest mean.
        - "suppress" leaves them out: drop the samples marked in `suppressed_`.
        - "allow" draws from them.

        :class:`GenerativeAnonymizer` has the details, also for label sets. Those need a
        number as `hidden_dim`.

    min_class_size : int, default=10
        Least number of distinct samples of a class. Near copies count as distinct.

    max_mean_leakage : float, default=0.9
        Largest expected AUC, for any class, with which class means may tell members to
        an attacker who knows the true ones. :meth:`release`, :meth:`batches` and the
        commands refuse more; 1 allows all. Not used with `epsilon`.

    epsilon : float or None, default=None
        With a number, the CVAE is a :class:`~skcvae.generators.DPCVAE`, trained with
        (`epsilon`, `delta`)-differential privacy, which a `random_state` voids.
        Parameters above at their default then take the defaults of that class;
        `architecture`, `prior`, `objective`, `net_params` and `min_distance` must be at
        their default.

    delta : float or None, default=None
        Required with `epsilon`: the probability with which the guarantee may fail, well
        below one over the number of samples.

    dp_params : dict, default=None
        Further parameters of :class:`~skcvae.generators.DPCVAE`, for example
        ``{"classes": [...], "data_norm": 20.0}``.

    memory : str or joblib.Memory, default=None
        Cache of fitted generators. A grid search over `variance`, `prior`, `noise` or
        `min_distance` then trains once per fold. Needs an integer `random_state`.
        It is as sensitive as the samples.

    random_state : int, RandomState instance or None, default=None
        Seed of training and sampling. Keep it secret: with it, anybody can draw the
        same noise. With `epsilon`, it voids the guarantee.

    verbose : int, default=0
        1 shows a progress bar, 2 also skorch's table of epochs.

    net_params : dict, default=None
        Further arguments of :class:`skorch.NeuralNet`.

    Attributes
    ----------
    generator_ : CVAE
        The fitted generator; its `history_` records the training.

    classes_ : ndarray of shape (n_classes,)
        Labels that the generator learned, sorted: those of :meth:`fit` without small
        classes that are merged or suppressed.

    merged_classes_ : dict
        For the label of each merged class, the label of the class that is drawn in its
        place. Not with `epsilon`.

    suppressed_ : ndarray of shape (n_samples,)
        True for suppressed samples. Not with `epsilon`.

    suppressed_classes_ : ndarray
        Labels of suppressed classes. Not with `epsilon`.

    label_sets_, published_label_sets_ : ndarray
        Only with label sets, see :class:`GenerativeAnonymizer`.

    mean_leakage_ : MeanLeakage
        What class means tell about members, as in :class:`GenerativeAnonymizer`. Not
        with `epsilon`.

    n_redrawn_ : int
        With `min_distance`: number of samples of the last draw that were too close.

    n_features_in_ : int
        Number of features seen in :meth:`fit`.

    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the features, where `X` has names that are all strings.

    See Also
    --------
    GenerativeAnonymizer : The same with any generator.
    KSameAnonymizer : Replaces samples by means of k samples.
    load : Reads what :meth:`release` wrote.
    skcvae.privacy.privacy_audit : Attacks the synthetic samples.

    References
    ----------
    .. [1] F. Di Salvo, D. Tafler, S. Doerrich and C. Ledig, "Privacy-preserving
       datasets by capturing feature distributions with Conditional VAEs",
       BMVC 2024, arXiv 2408.00639.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skcvae.anonymization import CVAEAnonymizer
    >>> X, y = load_digits(return_X_y=True)
    >>> anonymizer = CVAEAnonymizer(max_epochs=2, device="cpu", random_state=0)
    >>> X_synthetic = anonymizer.fit_transform(X, y)
    >>> X_synthetic.shape
    (1797, 64)
    >>> X_new, y_new = anonymizer.sample(y=[3, 3, 8])
    >>> y_new.tolist()
    [3, 3, 8]
    """

    _parameter_constraints: dict = {
        **CVAE._parameter_constraints,
        "min_distance": [Interval(Real, 0, None, closed="left"), tuple, None],
        **SMALL_CLASS_CONSTRAINTS,
        "max_mean_leakage": [Interval(Real, 0.5, 1, closed="both")],
        "epsilon": [Interval(Real, 0, None, closed="neither"), None],
        "delta": [Interval(Real, 0, 1, closed="neither"), None],
        "dp_params": [dict, None],
        "memory": [str, Memory, None],
    }

    def __init__(  # noqa: PLR0913  the headline class exposes what the CVAE has
        self,
        *,
        variance: ArrayLike | dict = 1.0,
        latent_dim: int = 32,
        architecture: str | Callable = "small",
        hidden_dim: int | str = "auto",
        beta: float = 2.0,
        prior: str = "aggregate",
        noise: str | None = "residual",
        objective: str = "elbo",
        max_epochs: int | str = "auto",
        batch_size: int = 256,
        lr: float = 3e-3,
        device: str | torch.device = "auto",
        min_distance: float | tuple[str, float] | None = None,
        small_classes: str = "error",
        min_class_size: int = MIN_CLASS_SIZE,
        max_mean_leakage: float = 0.9,
        epsilon: float | None = None,
        delta: float | None = None,
        dp_params: dict | None = None,
        memory: str | Memory | None = None,
        random_state: int | np.random.RandomState | None = None,
        verbose: int = 0,
        net_params: dict | None = None,
    ) -> None:
        self.variance = variance
        self.latent_dim = latent_dim
        self.architecture = architecture
        self.hidden_dim = hidden_dim
        self.beta = beta
        self.prior = prior
        self.noise = noise
        self.objective = objective
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.lr = lr
        self.device = device
        self.min_distance = min_distance
        self.small_classes = small_classes
        self.min_class_size = min_class_size
        self.max_mean_leakage = max_mean_leakage
        self.epsilon = epsilon
        self.delta = delta
        self.dp_params = dp_params
        self.memory = memory
        self.random_state = random_state
        self.verbose = verbose
        self.net_params = net_params

    def _make_generator(self):
        check_memory_seed(self.memory, self.random_state)
        params = self.get_params(deep=False)
        for name in _OWN_PARAMETERS:
            del params[name]
        if self.epsilon is not None:
            return self._make_private(params)
        if self.delta is not None or self.dp_params is not None:
            raise ValueError("delta and dp_params need epsilon.")
        return CVAE(**params)

    def _check_and_fit(self, X, y):
        checked = super()._check_and_fit(X, y)
        scores = getattr(self.generator_, "held_out_scores_", {})
        if scores:
            _compare(scores["gaussian"][1], scores[self.generator_.hidden_dim_][1])
        return checked

    def _make_private(self, params):
        """Return a DPCVAE with the parameters that are not at their default."""
        if self.delta is None:
            raise ValueError(
                "epsilon needs delta, well below one over the number of samples, for "
                "example 1e-5."
            )
        defaults = type(self)().get_params(deep=False)
        changed = {n: v for n, v in params.items() if _differs(v, defaults[n])}
        contradicting = sorted(set(_NOT_PRIVATE) & set(changed))
        if contradicting:
            raise ValueError(
                f"Training with differential privacy cannot have {contradicting}: "
                "leave them at their default."
            )
        further = self.dp_params or {}
        twice = sorted(set(further) & {*changed, "epsilon", "delta"})
        if twice:
            raise ValueError(f"Set {twice} on the anonymizer, not in dp_params.")
        return DPCVAE(epsilon=self.epsilon, delta=self.delta, **changed, **further)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = self.epsilon is not None
        return tags


def _compare(gaussian, cvae):
    """Warn if held-out samples are less likely under the CVAE than under a Gaussian."""
    if gaussian > cvae:
        warn_user(
            "A CVAE does not pay for these samples: those that were held out are more "
            f"likely under a ClassGaussian ({gaussian:.1f} nats a sample) than under "
            f"the CVAE ({cvae:.1f}). GenerativeAnonymizer() takes the ClassGaussian."
        )


def _differs(value, default):
    """Tell whether a parameter was changed; always true for arrays and objects."""
    return not (value is None or np.isscalar(value)) or value != default
