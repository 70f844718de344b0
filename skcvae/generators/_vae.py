"""The variational autoencoder whose networks see no labels."""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.utils.validation import _num_samples, check_is_fitted

from .._several_labels import SEVERAL_LABELS
from ._cvae import CVAE
from ._cvae_net import UnconditionalVAE
from ._samplers import labelled_prior


class VAE(CVAE):
    r"""Variational autoencoder whose networks see no labels.

    Do not use it to generate samples: what the latents do not keep of a class is lost,
    and :class:`CVAE` draws better ones. Use it to look at a latent space in which
    classes lie apart, and to measure what :class:`CVAE` gains by its labels.

    The networks model all samples together, around the mean of all, by the evidence
    lower bound [1]_

    .. math::
        E_{q(z \mid x)} \log N(x; f(z), s(z)^2 \operatorname{diag}(\sigma^2))
        - \beta \, \mathrm{KL}(q(z \mid x) \,\|\, N(0, I)).

    After that, a Gaussian :math:`N(\mu_c, \Sigma_c)` is fitted to the latents of the
    training samples of each class. A sample of class c is decoded from a latent vector
    of that Gaussian. The means :math:`\mu_c` are shrunk towards that of all samples by
    an amount estimated from the data, the covariances towards that of all samples
    around their means.

    Parameters
    ----------
    latent_dim : int, default=32
        Dimension of z.

    architecture : {"small", "large"}, ConvBackbone or callable, default="small"
        As in :class:`CVAE`. A callable gets ``n_classes=1``, and its module the class
        code 0 for all samples.

    hidden_dim : int or "auto", default=512
        Width of the networks of a named architecture, see :class:`CVAE`.

    beta : float, default=1.0
        Weight of the KL term.

    variance : float, dict, array-like of shape (n_classes,) or "auto", default=1.0
        Factor of the covariance of the latents of a class at sampling: one number, one
        for each class in the order of `classes_`, or a dict from label to number (1
        for the labels it lacks), or "auto" as in :class:`ClassGaussian`. It does not
        touch training.

    noise : {"residual"} or None, default="residual"
        "residual" adds Gaussian noise with the covariance of the training samples'
        x - x̂ to each decoded sample. It does not touch training.

    objective : {"elbo", "reference"}, default="elbo"
        "reference" is the loss of the thesis, see :class:`CVAE`.

    max_epochs : int or "auto", default="auto"
        Passes over the samples. "auto" takes as many as make 600 steps, but at least 10
        and at most 300.

    batch_size : int, default=256
        Samples per step.

    lr : float, default=3e-3
        Learning rate: the peak of a one-cycle schedule ("reference": constant).

    device : str or torch.device, default="auto"
        "auto" is the GPU that torch reports, else the CPU.

    random_state : int, RandomState instance or None, default=None
        Seed of initialisation, training and sampling.

    verbose : int, default=0
        1 shows a progress bar, 2 also skorch's table of epochs.

    net_params : dict, default=None
        Further arguments of :class:`skorch.NeuralNet`, see :class:`CVAE`.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Labels seen in :meth:`fit`, sorted.

    class_count_ : ndarray of shape (n_classes,)
        Number of training samples of each class.

    class_means_ : ndarray of shape (n_classes, n_features)
        Zeros: samples are modelled around the mean of all.

    latent_prior_ : LatentPrior
        Mean and Cholesky factor of the covariance of the latents of each class.

    mean_shrinkage_ : float
        Number of pseudo-samples by which the means of the latents are shrunk.

    noise_factor_ : ndarray of shape (n_features, n_features) or ThinCovariance
        Cholesky factor of the covariance of the residual noise, in scaled units.

    hidden_dim_ : int
        The width of the networks of a named architecture.

    held_out_scores_ : dict
        Scores of the widths that "auto" tried, see :class:`CVAE`.

    history_ : skorch.history.History
        One entry per epoch, see :class:`CVAE`.

    net_ : skorch.NeuralNet
        The trained net, trimmed for prediction, on the CPU.

    n_active_dims_ : int
        Number of latent dimensions that the encoder uses.

    device_ : torch.device
        Where it was trained.

    offset_, scale_ : ndarray of shape (n_features,)
        Mean of the features, and the scale they share (0 for constant features).

    n_features_in_ : int
        Number of features seen in :meth:`fit`.

    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the features, where `X` has names that are all strings.

    See Also
    --------
    CVAE : Its networks are told the labels.

    References
    ----------
    .. [1] D. P. Kingma and M. Welling, "Auto-Encoding Variational Bayes", ICLR 2014,
       arXiv 1312.6114.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skcvae.generators import VAE
    >>> X, y = load_digits(return_X_y=True)
    >>> generator = VAE(max_epochs=2, device="cpu", random_state=0).fit(X, y)
    >>> generator.encode(X[:5]).shape
    (5, 32)
    >>> X_new, y_new = generator.sample(y=[3, 3, 8])
    >>> X_new.shape, y_new.tolist()
    ((3, 64), [3, 3, 8])
    """

    # There is no `prior`: one that all classes share would draw samples of no class.
    _sampling_parameters: tuple[str, ...] = ("variance", "noise", "verbose")
    _module = UnconditionalVAE
    _reads_blocks = False

    _parameter_constraints: dict = {
        name: allowed
        for name, allowed in CVAE._parameter_constraints.items()
        if name != "prior"
    }

    def __init__(  # noqa: PLR0913  as CVAE, it has many
        self,
        *,
        latent_dim: int = 32,
        architecture: str | Callable[..., torch.nn.Module] = "small",
        hidden_dim: int | str = 512,
        beta: float = 1.0,
        variance: ArrayLike | dict = 1.0,
        noise: str | None = "residual",
        objective: str = "elbo",
        max_epochs: int | str = "auto",
        batch_size: int = 256,
        lr: float = 3e-3,
        device: str | torch.device = "auto",
        random_state: int | np.random.RandomState | None = None,
        verbose: int = 0,
        net_params: dict | None = None,
    ) -> None:
        self.latent_dim = latent_dim
        self.architecture = architecture
        self.hidden_dim = hidden_dim
        self.beta = beta
        self.variance = variance
        self.noise = noise
        self.objective = objective
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.lr = lr
        self.device = device
        self.random_state = random_state
        self.verbose = verbose
        self.net_params = net_params

    def encode(
        self, X: ArrayLike, y: ArrayLike | None = None, *, return_std: bool = False
    ) -> NDArray | tuple[NDArray, NDArray]:
        """Return the latent mean of each sample.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Samples.

        y : Ignored
            Present because :meth:`CVAE.encode` needs it.

        Returns
        -------
        Z : ndarray of shape (n_samples, latent_dim)
            Mean of q(z | x).
        """
        return super().encode(X, self._any_labels(X), return_std=return_std)

    def reconstruct(self, X: ArrayLike, y: ArrayLike | None = None) -> NDArray:
        """Encode each sample and decode its latent mean, without noise.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Samples.

        y : Ignored
            Present because :meth:`CVAE.reconstruct` needs it.

        Returns
        -------
        X_hat : ndarray of shape (n_samples, n_features)
            Reconstructed samples, in the units of `X`.
        """
        return super().reconstruct(X, self._any_labels(X))

    def interpolate(
        self,
        X1: ArrayLike,
        X2: ArrayLike,
        y: ArrayLike | None = None,
        *,
        n_steps: int = 8,
    ) -> NDArray:
        """Decode the points on the way between the latent means of two samples.

        The two samples of a pair may be of different classes.

        Parameters
        ----------
        X1 : array-like of shape (n_pairs, n_features)
            Samples where the ways begin.

        X2 : array-like of shape (n_pairs, n_features)
            Samples where they end.

        y : Ignored
            Present because :meth:`CVAE.interpolate` needs it.

        n_steps : int, default=8
            Number of steps, at least 2, the ends included.

        Returns
        -------
        X_between : ndarray of shape (n_pairs, n_steps, n_features)
            The steps of each pair, in the units of `X1`.
        """
        return super().interpolate(X1, X2, self._any_labels(X1), n_steps=n_steps)

    def _any_labels(self, X):
        """Return labels for what needs some, and does not look at them."""
        check_is_fitted(self)
        return np.full(_num_samples(X), self.classes_[0])

    def _check_label_set_parameters(self):
        raise ValueError(SEVERAL_LABELS)

    def _centre(self, Z, codes):
        if self._images is not None:
            return super()._centre(Z, codes)
        self.class_means_ = np.zeros((len(self.classes_), Z.shape[1]))
        return Z

    def _fit_prior(self, mean, variance, codes):
        prior, self.mean_shrinkage_ = labelled_prior(
            mean, variance, codes, len(self.classes_)
        )
        return prior

    def _prior_to_draw(self):
        return self.latent_prior_
