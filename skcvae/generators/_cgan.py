"""The conditional generative adversarial network as an estimator."""

import copy
from numbers import Integral, Real

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy.linalg import solve_triangular
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils._param_validation import Interval, StrOptions

from .._class_means import residual_factor
from .._thin_covariance import check_size
from .._warnings import warn_user
from ._cgan_net import build_net
from ._conv_backbone import ConvBackbone, ImagesMixin
from ._decoder import DecoderMixin
from ._net_generator import NetGenerator
from ._samplers import CGANSampler, CVAESampler, standard_prior

# Generated samples must have at least this share of the variance of real ones.
_MIN_VARIANCE = 0.5
_N_MODEL_SAMPLES = 8192
_TINY = np.finfo(float).tiny


class CGAN(ImagesMixin, DecoderMixin, NetGenerator):
    r"""Conditional Wasserstein GAN with gradient penalty, around class means.

    Do not use it to over-sample embeddings: its samples are as useful there as those of
    :class:`ClassGaussian`, and take far longer. Use it for its critic, or for shapes of
    few features, with an `lr` of about 0.01.

    The critic :math:`D` learns to score real samples above generated ones. The
    generator :math:`G` learns to have its samples scored high [1]_ [2]_:

    .. math::
        \min_G \max_D \; E\, D(x, y) - E\, D(G(\varepsilon, y), y)
        - \lambda \, E \left(\lVert \nabla_{\hat x} D(\hat x, y) \rVert - 1\right)^2,

    where :math:`\hat x` lies anywhere between a real and a generated sample. Both see
    samples minus the shrunk mean that their class has without them, as in
    :class:`CVAE`. The generator network is that of the CVAE,

    .. math::
        G(\varepsilon, y) = f(z, y) + s(z, y) \, L e,
        \quad \varepsilon = (z, e) \sim N(0, I),

    with :math:`L L^\top` the covariance of the residuals. At first :math:`f = 0` and
    :math:`s = 1`: training starts from the samples of :class:`ClassGaussian`. Sampling
    takes the running average of the weights. An affine map after it gives the samples
    of all classes together the mean and covariance of the residuals, so that training
    decides about their shape only. Labels enter as a learned bias for each class.

    The critic is kept: :meth:`score_samples` rates samples.

    Parameters
    ----------
    latent_dim : int, default=32
        Dimension of z. The noise e has one dimension for each feature.

    architecture : "small" or ConvBackbone, default="small"
        "small" has one hidden layer in the generator and two in the critic. With a
        :class:`ConvBackbone`, both are convolutional, without class means, the noise e
        and the affine map: :math:`G(z, y) = f(z, y)`. Take an `lr` of about 0.01 then:
        with the default, a training of default length ends before images have formed.

    penalty : float, default=10.0
        Weight :math:`\lambda` of the gradient penalty.

    variance : float, dict, array-like of shape (n_classes,) or "auto", default=1.0
        Factor of the variance of z and e at sampling: one number, one for each class in
        the order of `classes_`, or a dict from label to number (1 for the labels it
        lacks), or "auto" as in :class:`ClassGaussian`. It does not touch training.

    max_epochs : int or "auto", default="auto"
        Passes over the samples. "auto" takes as many as make 1500 steps, but at least
        10 and at most 300.

    batch_size : int, default=256
        Samples per step.

    lr : float, default=3e-4
        Learning rate of the critic at first; the generator has 0.3 of it. Both fall
        to 0 along a cosine. ``net_params={"callbacks__lr_schedule": None}`` keeps them.

    device : str or torch.device, default="auto"
        "auto" is the GPU that torch reports, else the CPU.

    random_state : int, RandomState instance or None, default=None
        Seed of initialisation, training and sampling. The same integer gives the same
        bits on the same device and number of threads. NumPy's and torch's global
        random states are neither read nor changed.

    verbose : int, default=0
        1 shows a progress bar, 2 also skorch's table of epochs.

    net_params : dict, default=None
        Further arguments of :class:`skorch.NeuralNet`, for example `callbacks`,
        `train_split`, `optimizer`, or `module__hidden_dim` and `module__critic_dim`,
        the widths of generator and critic, 256. Callbacks are added to ours.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Labels seen in :meth:`fit`, sorted.

    class_count_ : ndarray of shape (n_classes,)
        Number of training samples of each class.

    class_means_ : ndarray of shape (n_classes, n_features)
        Shrunk class means, in scaled units: (x - `offset_`) / `scale_`.

    mean_shrinkage_ : float
        Number of pseudo-samples at the overall mean, k0, by which they are shrunk.

    covariance_factor_ : ndarray of shape (n_features, n_features)
        Cholesky factor L of the covariance of the residuals, in scaled units.

    output_factor_, output_shift_ : ndarray
        The affine map after the generator network, shapes (n_features, n_features) and
        (n_features,), in scaled units.

    variance_ratio_ : float
        Total variance of what the generator network returns over that of the
        residuals, before that map. Far below 1, the generator has collapsed.

    history_ : skorch.history.History
        One entry per epoch: `train_loss`, which is the critic's with its penalty,
        `train_critic_loss` without it (minus the estimated distance),
        `train_generator_loss`, `train_gradient_penalty`, `dur` (seconds), and the same
        of a validation set where there is one.

    net_ : skorch.NeuralNet
        The trained net with generator and critic, trimmed for prediction, on the CPU.

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
    CVAE : The same model of a sample, trained by likelihood.
    ClassGaussian : The distribution that training starts from.

    Notes
    -----
    Ctrl-C during training raises :class:`KeyboardInterrupt`; the estimator then has the
    weights of the last finished epoch, or is unfitted if there was none.

    References
    ----------
    .. [1] M. Arjovsky, S. Chintala and L. Bottou, "Wasserstein GAN", ICML 2017, arXiv
       1701.07875.
    .. [2] I. Gulrajani, F. Ahmed, M. Arjovsky, V. Dumoulin and A. Courville, "Improved
       Training of Wasserstein GANs", NeurIPS 2017, arXiv 1704.00028.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skcvae.generators import CGAN
    >>> X, y = load_digits(return_X_y=True)
    >>> generator = CGAN(max_epochs=2, device="cpu", random_state=0).fit(X, y)
    >>> X_new, y_new = generator.sample(y=[3, 3, 8])
    >>> X_new.shape, y_new.tolist()
    ((3, 64), [3, 3, 8])
    >>> scores = generator.score_samples(X_new, y_new)
    """

    _sampling_parameters: tuple[str, ...] = ("variance", "verbose")

    _parameter_constraints: dict = {
        **NetGenerator._parameter_constraints,
        "latent_dim": [Interval(Integral, 1, None, closed="left")],
        "architecture": [StrOptions({"small"}), ConvBackbone],
        "penalty": [Interval(Real, 0, None, closed="left")],
    }

    def __init__(
        self,
        *,
        latent_dim: int = 32,
        architecture: str | ConvBackbone = "small",
        penalty: float = 10.0,
        variance: ArrayLike | dict = 1.0,
        max_epochs: int | str = "auto",
        batch_size: int = 256,
        lr: float = 3e-4,
        device: str | torch.device = "auto",
        random_state: int | np.random.RandomState | None = None,
        verbose: int = 0,
        net_params: dict | None = None,
    ) -> None:
        self.latent_dim = latent_dim
        self.architecture = architecture
        self.penalty = penalty
        self.variance = variance
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.lr = lr
        self.device = device
        self.random_state = random_state
        self.verbose = verbose
        self.net_params = net_params

    def score_samples(self, X: ArrayLike, y: ArrayLike) -> NDArray:
        """Return the critic's score of each sample; higher means more like a real one.

        Scores have no unit: compare those of one class with each other, for example to
        drop the generated samples of the lowest scores. The critic has learned from
        samples between real and generated ones: samples far from both may get any
        score.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Samples.

        y : array-like of shape (n_samples,)
            Their labels; each must be in `classes_`.

        Returns
        -------
        scores : ndarray of shape (n_samples,)
            Score of each sample.
        """
        x, codes = self._to_tensors(X, y)
        with torch.inference_mode():
            return self.net_.module_.critic(x, codes).numpy()

    _plain_forward = False
    _loss_tells_quality = False

    def _centre(self, Z, codes):
        residuals = super()._centre(Z, codes)
        if self._images is not None:
            return residuals
        check_size(*2 * Z.shape[1:], "CGAN")
        self.covariance_factor_ = residual_factor(residuals)
        return residuals

    def _build_net(self, n_samples, device):
        return build_net(self, n_samples, len(self.classes_), device)

    @torch.inference_mode()
    def _learn_sampling(self, net, data):
        """Give generated samples the mean and covariance of the training samples."""
        order = torch.randperm(len(data), device=data.y.device)
        y = data.y[order.repeat(-(-_N_MODEL_SAMPLES // len(data)))]
        noise = torch.randn(len(y), net.module_.generator.n_noise, device=y.device)
        generated = net.module_.eval().average(noise, y).cpu().double().numpy()
        if not np.isfinite(generated).all():
            raise FloatingPointError(
                "The weights diverged in the last step: generated samples are not "
                "finite. The estimator is left unfitted. Use a smaller lr."
            )
        real = data.x.cpu().double().numpy()
        if self._images is None:
            self._match_moments(generated, real)
        else:
            self.variance_ratio_ = float(generated.var(axis=0).sum())
            self.variance_ratio_ /= max(real.var(axis=0).sum(), _TINY)
        if not _MIN_VARIANCE <= self.variance_ratio_ <= 1 / _MIN_VARIANCE:
            sort = "collapsed" if self.variance_ratio_ < 1 else "drifted away"
            ratio = f"{self.variance_ratio_:.2g}"
            warn_user(
                f"The generator has {sort}: its samples have {ratio} times the "
                "variance of the training samples around their class means. Use a "
                "smaller lr, fewer epochs or a larger penalty, or ClassGaussian.",
                ConvergenceWarning,
            )

    def _match_moments(self, generated, samples):
        """Learn the affine map that gives generated samples the moments of others."""
        mean = generated.mean(axis=0)
        spread = residual_factor(generated - mean)
        real = self.covariance_factor_
        self.output_factor_ = solve_triangular(spread.T, real.T, lower=False).T
        self.output_shift_ = samples.mean(axis=0) - self.output_factor_ @ mean
        self.variance_ratio_ = float(np.sum(spread**2) / np.sum(real**2))

    def _make_sampler(self):
        network = copy.deepcopy(self.net_.module_.average.module)
        if not hasattr(self, "output_factor_"):
            prior = standard_prior(len(self.classes_), self.latent_dim)
            return CVAESampler(network.decoder, *prior.to("cpu"))
        factor, shift = (
            torch.tensor(array, dtype=torch.float32)
            for array in (self.output_factor_, self.output_shift_)
        )
        return CGANSampler(network, self.latent_dim + len(shift), factor, shift)
