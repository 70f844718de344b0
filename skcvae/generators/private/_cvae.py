"""The variational autoencoder with differentially private training."""

import copy
from numbers import Integral, Real

import numpy as np
import torch
from numpy.typing import ArrayLike
from sklearn.utils._param_validation import Interval, StrOptions

from ..._devices import (
    drawing_device,
    fork_torch_rng,
    place_samples,
    resolve_device,
)
from ..._thin_covariance import check_size
from ..._training import LabelledTensors
from ..._warnings import warn_user
from .._cvae_net import constant_noise_scale
from .._samplers import CVAESampler, ObservationNoise, standard_prior
from ._accounting import find_noise_multiplier, renyi_budget, renyi_epsilon
from ._base import BasePrivateGenerator
from ._net import PrivateVAE, build_private_net, import_opacus, steps_per_epoch
from ._noise import SystemNoise
from ._statistics import clip_to_norm, shrink_noisy_means

# Share of the budget for the statistics; training gets the rest. Most of it goes to
# the class means, because they decide how well classes are told apart.
_STATISTICS_SHARE = 0.7
_SHARES = {
    "counts": 0.05,
    "raw_norm": 0.025,
    "center": 0.025,
    "data_norm": 0.025,
    "sums": 0.85,
    "residual_norm": 0.025,
}
# Inputs are clipped to this multiple of the bound of the residuals.
_INPUT_BOUND = 2.0
# Above this ratio of noise to gradients, nothing was learned on long-tailed CIFAR-10.
_MAX_NOISE_RATIO = 0.1
_N_MODEL_SAMPLES = 8192


class DPCVAE(BasePrivateGenerator):
    r"""Variational autoencoder around class means, with differential privacy.

    Each training sample has (`epsilon`, `delta`)-differential privacy, as in
    :class:`DPClassGaussian`; a `random_state` voids the guarantee. Counts, norms and
    means of the classes are noisy statistics. Then a variational autoencoder of the
    residuals,

    .. math:: x \mid y \sim N(m_y + f(z), \operatorname{diag}(\sigma^2)), \quad
              z \sim N(0, I),

    is trained by DP-SGD [1]_: each step takes each sample with the same small
    probability, clips the gradient of each sample to `clip_norm` and adds noise to
    their sum. Latents are drawn from N(0, I), because to learn their distribution over
    the training samples would cost more. Labels enter through the class means only.

    Prefer :class:`DPClassGaussian`: it is faster and, where classes differ by their
    means and share a covariance, better. This class is for distributions that are not
    Gaussian, and needs ten thousand samples or more. It needs Opacus: ``pip install
    "skcvae[dp]"``.

    Parameters
    ----------
    epsilon : float, default=8.0
        Bound of the privacy loss, above 0.

    delta : float, default=1e-5
        Probability in (0, 1) with which the bound may fail. Choose it well below one
        over the number of samples.

    classes : array-like of shape (n_classes,), default=None
        All labels that may occur, from public knowledge; a class may have no sample,
        and samples of other labels are left out, without a message. None takes the
        labels of `y`, and warns: the guarantee then does not cover the set of labels.

    data_norm : float, default=None
        Euclidean norm to which centred samples are clipped, in the units of `X`, from
        public knowledge: an upper bound if there is one. None takes a noisy estimate of
        the 90 % quantile of their norms.

    center : float or array-like of shape (n_features,), default=None
        Vector that is subtracted from all samples, from public knowledge. None takes
        their noisy mean.

    latent_dim : int, default=16
        Dimension of z.

    hidden_dim : int, default=64
        Width of the hidden layers. Each weight gets noise: narrow nets learn more.

    beta : float, default=1.0
        Weight of the KL term.

    variance : float, dict or array-like of shape (n_classes,), default=1.0
        Factor of the variance of the latents at sampling: one number, one for each
        class in the order of `classes_`, or a dict from label to number (1 for the
        labels it lacks). It does not affect training.

    noise : {"residual"} or None, default="residual"
        "residual" adds the learned observation noise to each decoded sample. It does
        not affect training.

    max_epochs : int, default=25
        Number of times that each sample is seen, on average. More epochs mean more
        noise in each step.

    batch_size : int, default=1024
        Number of samples per step, on average. The probability of each sample is this
        number over the noisy number of samples.

    lr : float, default=5e-3
        Learning rate of Adam.

    clip_norm : float, default=1.0
        Norm to which the gradient of each sample is clipped.

    device : str or torch.device, default="auto"
        "auto" is the GPU that torch reports, else the CPU.

    random_state : int, RandomState instance or None, default=None
        Seed of the noise, of training and of :meth:`sample`. Whoever knows or guesses a
        seed can subtract the noise, so that a seed voids the guarantee. With None, the
        noise of :meth:`fit` comes from the operating system.

    verbose : int, default=0
        1 shows a progress bar. Losses are not shown: they would disclose information
        about the samples.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Labels, sorted.

    class_count_ : ndarray of shape (n_classes,)
        Noisy number of samples of each class, rounded.

    class_means_ : ndarray of shape (n_classes, n_features)
        Shrunk class means, in scaled units: (x - `offset_`) / `scale_`.

    mean_shrinkage_ : float
        Number of pseudo-samples at the overall mean.

    data_norm_ : float
        Norm to which centred samples were clipped.

    module_ : torch.nn.Module
        Encoder and decoder, on the CPU. Of the training, it has the weights only.

    device_ : torch.device
        Where it was trained.

    offset_, scale_ : ndarray of shape (n_features,)
        Centre, and the scale that all features share.

    privacy_ : dict
        `guarantee`; `epsilon` and `delta`; `noise_multiplier`, `sample_rate` and
        `steps` of training; `statistics_noise_multiplier` of the statistics together;
        `accountant` and its `order`; `unit` and `adjacency`; `mechanisms`; and in
        `outside` a sentence for each thing that is not covered.

    n_features_in_ : int
        Number of features seen in :meth:`fit`.

    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the features, where `X` has names that are all strings.

    See Also
    --------
    DPClassGaussian : Private, without a training loop.
    CVAE : Without a guarantee.

    Notes
    -----
    Ctrl-C during training raises :class:`KeyboardInterrupt`. The estimator then has the
    weights of the last finished epoch and the epsilon that was spent until then; before
    the end of the first epoch it is left unfitted.

    The accountant adds Rényi divergences of one order, which is fixed before any data
    is read [2]_. Other accountants give a smaller epsilon for the same noise, but do
    not allow a sampling rate that depends on a noisy count.

    References
    ----------
    .. [1] M. Abadi et al., "Deep Learning with Differential Privacy", CCS 2016, arXiv
       1607.00133.
    .. [2] I. Mironov, "Rényi Differential Privacy", CSF 2017, arXiv 1702.07476.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skcvae.generators import DPCVAE
    >>> X, y = load_digits(return_X_y=True)
    >>> generator = DPCVAE(classes=range(10), hidden_dim=8, max_epochs=2, device="cpu")
    >>> X_new, y_new = generator.fit(X, y).sample(y=[3, 3, 8])
    >>> X_new.shape, generator.privacy_["epsilon"] <= 8
    ((3, 64), True)
    """

    _sampling_parameters = ("variance", "noise", "verbose")

    _parameter_constraints: dict = {
        **BasePrivateGenerator._parameter_constraints,
        "latent_dim": [Interval(Integral, 1, None, closed="left")],
        "hidden_dim": [Interval(Integral, 1, None, closed="left")],
        "beta": [Interval(Real, 0, None, closed="left")],
        "noise": [StrOptions({"residual"}), None],
        "max_epochs": [Interval(Integral, 1, None, closed="left")],
        "batch_size": [Interval(Integral, 1, None, closed="left")],
        "lr": [Interval(Real, 0, None, closed="neither")],
        "clip_norm": [Interval(Real, 0, None, closed="neither")],
        "device": [str, torch.device],
        "verbose": ["verbose"],
    }

    def __init__(  # noqa: PLR0913  as CVAE, it has many
        self,
        *,
        epsilon: float = 8.0,
        delta: float = 1e-5,
        classes: ArrayLike | None = None,
        data_norm: float | None = None,
        center: ArrayLike | None = None,
        latent_dim: int = 16,
        hidden_dim: int = 64,
        beta: float = 1.0,
        variance: ArrayLike | dict = 1.0,
        noise: str | None = "residual",
        max_epochs: int = 25,
        batch_size: int = 1024,
        lr: float = 5e-3,
        clip_norm: float = 1.0,
        device: str | torch.device = "auto",
        random_state: int | np.random.RandomState | None = None,
        verbose: int = 0,
    ) -> None:
        self.epsilon = epsilon
        self.delta = delta
        self.classes = classes
        self.data_norm = data_norm
        self.center = center
        self.latent_dim = latent_dim
        self.hidden_dim = hidden_dim
        self.beta = beta
        self.variance = variance
        self.noise = noise
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.lr = lr
        self.clip_norm = clip_norm
        self.device = device
        self.random_state = random_state
        self.verbose = verbose

    def _fit(self, X, codes, seed):
        import_opacus("optimizers")
        check_size(*2 * X.shape[1:], "DPCVAE")
        device = resolve_device(self.device)
        order, budget = renyi_budget(self.epsilon, self.delta)
        mu = np.sqrt(2 * _STATISTICS_SHARE * budget / order)
        noise_seed, *torch_seeds = seed.spawn(3)
        ledger, private, residuals, bound = self._read_class_means(
            X, codes, mu, _SHARES, noise_seed
        )
        scale = bound / np.sqrt(X.shape[1])
        inputs = clip_to_norm(residuals, _INPUT_BOUND * bound) / scale
        net = self._train(
            place_samples(torch.from_numpy(inputs.astype(np.float32)), device),
            torch.from_numpy(codes).to(device),
            min(1.0, self.batch_size / private.n_samples),
            (order, budget - order * ledger.mu**2 / 2),
            _to_torch_seed(torch_seeds[0]),
        )
        self.device_ = device
        module = self._copy_weights(net)
        shift, covariance = self._model_moments(module, _to_torch_seed(torch_seeds[1]))
        means, self.mean_shrinkage_ = shrink_noisy_means(private, covariance * scale**2)
        # The mean of the net's output is the same for all classes, and mostly noise.
        self._remember(private, means - shift * scale, scale)
        self.privacy_ = self._account(net, ledger, order)
        self.module_ = module
        if net.interrupted_:
            raise KeyboardInterrupt

    def _train(self, x, codes, sample_rate, remaining, seed):
        """Return the trained net."""
        order, budget = remaining
        n_steps = steps_per_epoch(sample_rate) * self.max_epochs
        noise_multiplier = find_noise_multiplier(
            lambda noise: _renyi_cost(noise, sample_rate, n_steps, order), budget
        )
        noise = SystemNoise() if self.random_state is None else None
        net = build_private_net(
            self, len(self.classes_), codes.device, noise_multiplier, sample_rate, noise
        )
        samples = LabelledTensors(x, codes)
        try:
            with fork_torch_rng(seed, codes.device):
                net.initialize()
                self._warn_about_noise(net, n_steps)
                net.partial_fit(samples, samples.y)
        except torch.OutOfMemoryError as error:
            raise MemoryError(
                "The GPU is out of memory. Use a smaller batch_size or hidden_dim, or "
                "device='cpu'."
            ) from error
        if not net.n_finished_epochs_:
            raise KeyboardInterrupt
        return net

    def _copy_weights(self, net):
        """Return a new module that has the weights of a net, and nothing else.

        Opacus leaves exact sums of gradients on the parameters of the net.
        """
        sizes = self.n_features_in_, len(self.classes_), self.latent_dim
        trained = net.module_.state_dict()
        weights = {name: tensor.cpu().numpy() for name, tensor in trained.items()}
        return _module_of(weights, *sizes, self.hidden_dim)

    def __getstate__(self):
        """Return the state; the weights of the module are arrays."""
        state = super().__getstate__()
        if "module_" in state:
            weights = state["module_"].state_dict()
            state["module_"] = {name: v.numpy() for name, v in weights.items()}
        return state

    def __setstate__(self, state):
        """Set a state of `__getstate__`."""
        if "module_" in state:
            weights = state["module_"]
            hidden_dim, n_features = weights["backbone.encoder_in.linear.weight"].shape
            latent_dim = weights["backbone.decoder.hidden.linear.weight"].shape[1]
            sizes = n_features, len(state["classes_"]), latent_dim, hidden_dim
            state = {**state, "module_": _module_of(weights, *sizes)}
        super().__setstate__(state)

    def _warn_about_noise(self, net, n_steps):
        """Warn if the noise exceeds by far what clipped gradients can add up to."""
        parameters = [p for p in net.module_.parameters() if p.requires_grad]
        n_weights = sum(p.numel() for p in parameters)
        ratio = net.noise_multiplier / self.batch_size * np.sqrt(n_weights / n_steps)
        if ratio > _MAX_NOISE_RATIO:
            warn_user(
                f"epsilon={self.epsilon:g} needs a noise multiplier of "
                f"{net.noise_multiplier:.1f} for {n_steps} steps of {self.batch_size} "
                f"samples. The noise is {ratio:.2f} of the gradients, and above "
                f"{_MAX_NOISE_RATIO} the net learns little. Use DPClassGaussian, a "
                "larger epsilon, more samples or a smaller hidden_dim.",
            )

    @torch.inference_mode()
    def _model_moments(self, module, seed):
        """Return mean and covariance of the draws of a module around class means."""
        generator = torch.Generator().manual_seed(seed)
        z = torch.randn(_N_MODEL_SAMPLES, self.latent_dim, generator=generator)
        decoded = module.backbone.decode(z, torch.zeros(len(z), dtype=torch.int64))
        decoded = decoded.double().numpy()
        noise = np.diag(module.noise_std().double().numpy() ** 2)
        return decoded.mean(axis=0), np.cov(decoded.T).reshape(noise.shape) + noise

    def _account(self, net, ledger, order):
        """Return the privacy cost of the steps whose weights are kept."""
        rate = net.iterator_train__sample_rate
        training = _renyi_cost(net.noise_multiplier, rate, net.n_steps_, order)
        spent = training + order * ledger.mu**2 / 2
        described = self._describe_privacy(
            epsilon=renyi_epsilon(spent, order, self.delta),
            noise_multiplier=net.noise_multiplier,
            sample_rate=rate,
            steps=net.n_steps_,
            statistics_noise_multiplier=1 / ledger.mu,
            accountant="Rényi differential privacy of one order",
            order=order,
            mechanisms=ledger.describe(),
        )
        if net.interrupted_:
            described["outside"].append(
                "The moment of the interruption: it must not have depended on X."
            )
        return described

    def _make_sampler(self):
        module = copy.deepcopy(self.module_)
        prior = standard_prior(len(self.classes_), self.latent_dim)
        noise = None
        if self.noise is not None:
            std = module.noise_std()
            scale = constant_noise_scale(len(self.classes_), self.latent_dim)
            noise = ObservationNoise(torch.diag(std), scale)
        return CVAESampler(module.backbone.decoder, *prior.to("cpu"), noise)

    def _sampling_device(self):
        return drawing_device(self.device_, self._output_dtype)


def _module_of(weights, n_features, n_classes, latent_dim, hidden_dim):
    """Return a module that has copies of the weights, and nothing else."""
    with torch.device("meta"):
        module = PrivateVAE(n_features, n_classes, latent_dim, hidden_dim)
    copies = {name: torch.tensor(array) for name, array in weights.items()}
    module.load_state_dict(copies, assign=True)
    return module.eval().requires_grad_(False)


def _renyi_cost(noise_multiplier, sample_rate, n_steps, order):
    """Return the Rényi divergence of the steps of a training."""
    rdp = import_opacus("accountants.analysis.rdp")
    cost = rdp.compute_rdp(
        q=sample_rate, noise_multiplier=noise_multiplier, steps=n_steps, orders=order
    )
    return float(cost)


def _to_torch_seed(sequence):
    """Return 63 bits of a seed sequence."""
    return int(sequence.generate_state(1, np.uint64)[0] >> np.uint64(1))
