"""The conditional variational autoencoder as an estimator."""

import copy
from collections.abc import Callable
from numbers import Integral, Real

import numpy as np
import torch
from numpy.typing import ArrayLike
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils._param_validation import Interval, StrOptions

from .._blocks import refuse_blocks
from .._class_means import leave_one_out_residuals, smooth_residual_factor
from .._label_sets import find_label_sets, have_one_label
from .._scaling import estimate_range
from .._thin_covariance import ThinCovariance, check_size, is_wide
from .._training import TensorLoader, uncompiled
from .._warnings import warn_user
from ._block_net import prior_of_blocks
from ._conv_backbone import ImagesMixin
from ._cvae_net import (
    BACKBONES,
    OBJECTIVES,
    ConditionalVAE,
    build_net,
    set_labels,
)
from ._decoder import DecoderMixin
from ._encoder import EncoderMixin
from ._held_out import choose_epochs, choose_width
from ._label_effects import leave_one_out_of_sets
from ._label_set_generator import LabelSetMixin
from ._net_generator import NetGenerator
from ._samplers import (
    CVAESampler,
    ObservationNoise,
    ThinFactor,
    aggregate_prior,
    standard_prior,
)
from ._wide_net import SampleCoordinates

# A latent dimension counts as used when its posterior mean varies this much.
_ACTIVE_VARIANCE = 0.01
_DEFAULT_WIDTH = 512


class CVAE(LabelSetMixin, ImagesMixin, EncoderMixin, DecoderMixin, NetGenerator):
    r"""Conditional variational autoencoder on embeddings.

    Learns :math:`p(x \mid y)` by maximising the evidence lower bound [1]_ [2]_

    .. math::
        E_{q(z \mid x, y)}
        \log N(x; m_y + f(z, y), s(z, y)^2 \operatorname{diag}(\sigma^2))
        - \beta \, \mathrm{KL}(q(z \mid x, y) \,\|\, N(0, I)),

    where :math:`m_y` is the class mean, shrunk towards the mean of all samples by an
    amount estimated from the data. The noise :math:`\sigma` of each feature and its
    factor :math:`s` for each sample are learned, so that :math:`\beta = 1` is the
    natural weight. Networks see each sample minus the mean that its class has without
    it, so that a class of few samples does not look narrower than it is. Labels enter
    as a learned bias for each class.

    With more than 2,048 features and fewer samples than features, the networks of a
    named architecture are trained on the principal components of the samples. Then
    their first and last layers are turned back to features.

    Prefer :class:`ClassGaussian` where time is short or classes differ by their means
    only; prefer this where their shapes differ.

    Parameters
    ----------
    latent_dim : int, default=32
        Dimension of z. Dimensions that the data do not need stay unused at
        ``beta=1``. With few features, choose no more than there are: the KL term of
        many unused dimensions can switch off all of them early in training.

    architecture : {"small", "large"}, ConvBackbone or callable, default="small"
        "small" has one hidden layer in encoder and decoder, "large" three residual
        blocks. A callable takes `n_features`, `n_classes` and `latent_dim` and returns
        an :class:`torch.nn.Module` with the methods `encode(x, y)`, which returns mean
        and log-variance of z, and `decode(z, y)`. :class:`ConvBackbone` is for images.

    hidden_dim : int or "auto", default=512
        Width of the networks of a named architecture, at least 2. "auto" holds out a
        fifth of the samples of each class, and doubles the width from 32 up to 128 as
        long as that makes them more likely, by more than the standard error and by more
        than half of what it does for the training samples. If fewer than 20 samples can
        be held out, it is 32. The net is then trained anew on all samples, and only
        then with the callbacks of `net_params`; all trainings together take about twice
        as long as one of the width 512. "auto" is 512 for ``objective="reference"``,
        which has no likelihood. A callable is not told the width. "module__hidden_dim"
        in `net_params` wins. With a :class:`ConvBackbone` and ``max_epochs="auto"``,
        "auto" chooses the number of epochs instead.

    beta : float, default=1.0
        Weight of the KL term.

    variance : float, dict, array-like of shape (n_classes,) or "auto", default=1.0
        Factor :math:`\sigma^2` of the variance of the latents at sampling: one number,
        one for each class in the order of `classes_`, or a dict from label to number
        (1 for the labels it lacks), or "auto", :math:`1 + 1 / (n_c + k_0)` as in
        :class:`ClassGaussian`. It does not touch training.

    prior : {"aggregate", "standard"}, default="aggregate"
        Distribution of the latents. "aggregate" is a Gaussian fitted to the latents of
        the training samples. Each class has its own mean and covariance, shrunk towards
        those of all classes. "standard" is N(0, I), as in the thesis. It does not touch
        training.

    noise : {"residual"} or None, default="residual"
        "residual" adds to each decoded sample Gaussian noise with the covariance of the
        training samples' x - x̂, estimated as :class:`ClassGaussian` does with
        ``covariance_shrinkage="factors"``, times the factor :math:`s(z, y)^2`. Without
        it, generated samples lie on a surface of `latent_dim` dimensions. It does not
        touch training. Images of a :class:`ConvBackbone` never get it.

    objective : {"elbo", "reference"}, default="elbo"
        "reference" is the loss of the thesis and of the BMVC 2024 program: samples
        scaled to [0, 1] by minimum and maximum, sigmoid output, squared error plus
        `beta` times a KL term to N(0, I/2), constant learning rate, no class means.
        Its settings are ``beta=0.01, latent_dim=100, max_epochs=500, lr=1e-3,
        batch_size=256, prior="standard", noise=None``, and its "variance" is a
        standard deviation: square it.

    max_epochs : int or "auto", default="auto"
        Passes over the samples. "auto" takes as many as make 600 steps, but at least 10
        and at most 300.

    batch_size : int, default=256
        Samples per step.

    lr : float, default=3e-3
        Learning rate: the peak of a one-cycle schedule ("reference": constant).
        ``net_params={"callbacks__lr_schedule": None}`` switches the schedule off, and
        "callbacks__gradient_clipping" the clipping of extreme gradients ("reference":
        none).

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
        `train_split` or `optimizer`. Callbacks are added to ours. The set of
        ``{"train_split": skorch.helper.predefined_split(dataset)}`` holds pairs of a
        sample and a label, in the units of `X` and with labels of `y`;
        :func:`early_stopping` returns `net_params` that stop a training by such a set.
        ``{"criterion__class_weight": weights}`` weights the reconstruction of each
        class in the training loss, in the order of `classes_`;
        ``{"module__bounded": False}`` leaves scaling and sigmoid out of "reference".
        ``{"precision": "bf16"}`` computes the products of training in bfloat16.

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

    latent_prior_ : LatentPrior
        The aggregate prior.

    noise_factor_ : ndarray of shape (n_features, n_features) or ThinCovariance
        Cholesky factor of the covariance of the residual noise of a sample of
        :math:`s = 1`, in scaled units. With more than 2,048 features, it is the
        covariance itself, without an array of that size.

    hidden_dim_ : int
        The width of the networks of a named architecture or a `ConvBackbone`.

    held_out_scores_ : dict
        Mean log-likelihood of training and of held-out samples, in nats and scaled
        units, a pair: for each width that "auto" tried, or number of epochs for images,
        the lower bound under what it draws, and for the key "gaussian" that under a
        :class:`ClassGaussian`, but for images. Empty where nothing was held out.

    history_ : skorch.history.History
        One entry per epoch: `train_loss`, `train_reconstruction`, `train_kl` (nats per
        sample), `dur` (seconds), and the same of a validation set where there is one.
        ``history_[:, "train_loss"]`` is a list.

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
    ClassGaussian : The closed-form baseline.
    skcvae.over_sampling.CVAEOverSampler : Fills up the classes of a data set.

    Notes
    -----
    Ctrl-C during training raises :class:`KeyboardInterrupt`; the estimator then has the
    weights of the last finished epoch, or is unfitted if there was none. It is unfitted
    as well as long as "auto" compares widths.

    With more than 1,024 classes, a step of the training moves the vectors only of those
    classes that are in its batch, unless `net_params` has an optimizer.

    References
    ----------
    .. [1] D. P. Kingma and M. Welling, "Auto-Encoding Variational Bayes", ICLR 2014,
       arXiv 1312.6114.
    .. [2] K. Sohn, H. Lee and X. Yan, "Learning Structured Output Representation using
       Deep Conditional Generative Models", NeurIPS 2015.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skcvae.generators import CVAE
    >>> X, y = load_digits(return_X_y=True)
    >>> generator = CVAE(max_epochs=2, device="cpu", random_state=0).fit(X, y)
    >>> X_new, y_new = generator.sample(y=[3, 3, 8])
    >>> X_new.shape, y_new.tolist()
    ((3, 64), [3, 3, 8])
    """

    _sampling_parameters: tuple[str, ...] = ("variance", "prior", "noise", "verbose")
    _reads_blocks = True
    _memory_advice = "a smaller batch_size or latent_dim, architecture='small'"
    _module = ConditionalVAE
    #: Number of epochs that held-out images chose.
    _chosen_epochs: int | None = None
    #: Principal components of wide samples, during training.
    _coordinates: SampleCoordinates | None = None

    _parameter_constraints: dict = {
        **NetGenerator._parameter_constraints,
        "latent_dim": [Interval(Integral, 1, None, closed="left")],
        "architecture": [StrOptions(set(BACKBONES)), callable],
        "hidden_dim": [
            Interval(Integral, 1, None, closed="left"),
            StrOptions({"auto"}),
        ],
        "beta": [Interval(Real, 0, None, closed="left")],
        "prior": [StrOptions({"aggregate", "standard"})],
        "noise": [StrOptions({"residual"}), None],
        "objective": [StrOptions(set(OBJECTIVES))],
    }

    def __init__(  # noqa: PLR0913  as GaussianMixture, it has many
        self,
        *,
        latent_dim: int = 32,
        architecture: str | Callable[..., torch.nn.Module] = "small",
        hidden_dim: int | str = _DEFAULT_WIDTH,
        beta: float = 1.0,
        variance: ArrayLike | dict = 1.0,
        prior: str = "aggregate",
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
        self.prior = prior
        self.noise = noise
        self.objective = objective
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.lr = lr
        self.device = device
        self.random_state = random_state
        self.verbose = verbose
        self.net_params = net_params

    def _estimate_scaling(self, X):
        if self._images is not None:
            self._check_images()
        if self.objective == "reference":
            low, width = estimate_range(X)
            if (self.net_params or {}).get("module__bounded", True):
                return low, width
            return np.where(width > 0, 0.0, low), (width > 0).astype(np.float64)
        return super()._estimate_scaling(X)

    def _fit(self, Z, codes, seed):
        if self._images is None:
            check_size(*Z.shape, type(self).__name__)
        try:
            super()._fit(Z, codes, seed)
        finally:
            # They tell of each sample, and must not outlive a training that failed.
            vars(self).pop("_coordinates", None)
        self._warn_about_unused()

    def _choose_settings(self, Z, codes, seed):
        self.hidden_dim_, scores = self._resolve_width(Z, codes, seed)
        self._chosen_epochs = None
        if self._images is not None and "auto" == self.hidden_dim == self.max_epochs:
            self._chosen_epochs, scores = choose_epochs(self, Z, codes, seed)
        self.held_out_scores_ = scores

    def _check_images(self):
        """Refuse what does not go with a `ConvBackbone`."""
        if self.objective == "reference":
            raise ValueError(
                "objective='reference' is not for a ConvBackbone, whose output has a "
                "range of its own. Use objective='elbo'."
            )

    def _learn_blocks(self, blocks):
        if self._images is not None:
            refuse_blocks("A ConvBackbone", "Load the images into memory")
        if self.objective == "reference":
            refuse_blocks("objective='reference'", "Use objective='elbo'")
        if self.hidden_dim == "auto":
            refuse_blocks("hidden_dim='auto'", "Use a number")
        if is_wide(*blocks.shape):
            refuse_blocks("a fit to more features than samples", "Use fewer features")
        self._choose_settings(None, None, None)
        super()._learn_blocks(blocks)
        self._warn_about_unused()

    def _learn_from_blocks(self, net, data):
        module, n_classes = net.module_, len(self.classes_)
        self.latent_prior_ = prior_of_blocks(module, data, n_classes, self.latent_dim)

    def _warn_about_unused(self):
        """Warn if no latent dimension is used."""
        if not self.n_active_dims_:
            warn_user(
                f"The {type(self).__name__} uses none of its latent dimensions: it "
                "draws independent noise around fixed means. Train longer or lower "
                "beta, if the features of a class are correlated.",
                ConvergenceWarning,
            )

    def _resolve_width(self, Z, codes, seed):
        """Return the width, and the scores of those that "auto" tried."""
        given = (self.net_params or {}).get("module__hidden_dim")
        if given is not None:
            return given, {}
        if self._images is not None:
            return self._images.width, {}
        if self.hidden_dim != "auto":
            return self.hidden_dim, {}
        if callable(self.architecture) or self.objective == "reference":
            return _DEFAULT_WIDTH, {}
        return choose_width(self, Z, codes, seed)

    def _to_net(self, residuals):
        named = isinstance(self.architecture, str) and self.objective == "elbo"
        if not (named and is_wide(*residuals.shape)):
            return residuals
        self._coordinates = SampleCoordinates(residuals)
        return self._coordinates.coordinates

    def _new_to_net(self, residuals):
        if self._coordinates is None:
            return residuals
        return self._coordinates.from_features(residuals)

    def _build_net(self, n_samples, device):
        sets = getattr(self, "label_sets_", None)
        # Vectors of single labels are those of classes.
        additive = None if sets is None or have_one_label(sets) else sets
        net = build_net(self, n_samples, len(self.class_count_), device, additive)
        if self._coordinates is not None:
            net.set_params(module__n_features=self._coordinates.coordinates.shape[1])
            net.unit = float(self._coordinates.scale)
        return net

    def _check_label_set_parameters(self):
        super()._check_label_set_parameters()
        if (
            self.objective == "reference"
            or callable(self.architecture)
            or self.hidden_dim == "auto"
        ):
            raise ValueError(
                "With several labels for each sample, a CVAE needs objective='elbo', "
                "architecture='small' or 'large' and a number as hidden_dim."
            )

    def _centre(self, Z, codes):
        if hasattr(self, "label_sets_"):
            means = self._fit_effects(Z, codes)
            self.mean_shrinkage_, self.class_means_ = means.k0, means.shrunk
            if not have_one_label(self.label_sets_):
                how = self.label_sets_, codes, self._effects()
                return leave_one_out_of_sets(Z, *how)
            return leave_one_out_residuals(
                Z, codes, means.raw, means.k0, dtype=np.float32
            )
        if self.objective == "reference":
            self.mean_shrinkage_ = np.inf
            self.class_means_ = np.zeros((len(self.classes_), Z.shape[1]))
            return Z
        return super()._centre(Z, codes)

    @torch.inference_mode()
    def _learn_sampling(self, net, data):
        """Fit the aggregate prior and the residual noise to the training samples."""
        module = uncompiled(net.module_).eval()
        means, variances, residuals = [], [], []
        for batch, x in TensorLoader(data, 4096):
            x_hat, mean, log_var, log_noise = module(**batch)
            means.append(mean)
            variances.append(log_var.exp())
            residuals.append(((x - x_hat) * (-log_noise).exp()).cpu())
        residuals = torch.cat(residuals)
        if not residuals.isfinite().all():
            raise FloatingPointError(
                "The weights diverged in the last step: decoded samples are not "
                "finite. The estimator is left unfitted. Use a smaller lr."
            )
        mean = torch.cat(means).cpu().double().numpy()
        variance = torch.cat(variances).cpu().double().numpy()
        self.latent_prior_ = self._fit_prior(mean, variance, data.y.cpu().numpy())
        self.n_active_dims_ = int((mean.var(axis=0) > _ACTIVE_VARIANCE).sum())
        if self._images is not None:
            return
        feature_std = module.feature_std().cpu().double().numpy()
        residuals = residuals.numpy()
        if self._coordinates is not None:
            residuals = self._coordinates.to_features(residuals * feature_std)
            self._coordinates.widen(module)
            net.module__n_features = residuals.shape[1]
            feature_std = np.ones(residuals.shape[1])
        self.noise_factor_ = smooth_residual_factor(residuals, feature_std)

    def _fit_prior(self, mean, variance, codes):
        """Return the distribution of the latents of each class."""
        if not hasattr(self, "label_sets_"):
            return aggregate_prior(mean, variance, codes, len(self.classes_))
        # Any set may be asked for: where sets have several labels, all share a prior.
        self._shared_prior = aggregate_prior(mean, variance, np.zeros_like(codes), 1)
        n_sets = len(self.label_sets_)
        if have_one_label(self.label_sets_):
            return aggregate_prior(mean, variance, codes, n_sets)
        return self._shared_prior.take(np.zeros(n_sets, dtype=int))

    def _for_label_sets(self, sets):
        view = super()._for_label_sets(sets)
        known = find_label_sets(sets, self.label_sets_)
        view.latent_prior_ = self.latent_prior_.take(known, self._shared_prior)
        view._module_of_sets = set_labels(self.net_.module_, sets, self.label_sets_)
        return view

    def _module_to_draw(self):
        """Return the trained module, or that of a view."""
        return getattr(self, "_module_of_sets", None) or self.net_.module_

    def _prior_to_draw(self):
        if self.prior == "standard":
            return standard_prior(len(self.class_count_), self.latent_dim)
        return self.latent_prior_

    def _make_sampler(self):
        module = self._module_to_draw()
        noise, factor = None, getattr(self, "noise_factor_", None)
        if self.noise is not None and factor is not None:
            if isinstance(factor, ThinCovariance):
                factor = ThinFactor(factor)
            else:
                factor = torch.tensor(factor, dtype=torch.float32)
            noise = ObservationNoise(factor, copy.deepcopy(module.noise_scale))
        decoder = copy.deepcopy(module.decoder())
        return CVAESampler(decoder, *self._prior_to_draw().to("cpu"), noise)
