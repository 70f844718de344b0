"""Over-sampling with samples that a classifier finds hard."""

import copy
from numbers import Integral, Real

import numpy as np
import torch
from joblib import Memory
from scipy.stats import chi
from sklearn.linear_model import LogisticRegression
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import HasMethods, Interval
from torch import nn
from torch.nn import functional

from .._generation import clone_generator, draw, fill_by_class, unfrozen
from .._seeds import draw_seeds
from .._validation import encode_labels
from .._warnings import warn_user
from ..generators import ClassGaussian
from ._base import BaseGenerativeOverSampler
from ._wrapping import fit_classifier

# Rounding in float32 must not lift a vector on the floor over it.
_ROUNDING = 1e-6


class HardOverSampler(BaseGenerativeOverSampler):
    r"""Over-sample with samples near or beyond the boundary of a classifier.

    The standard normal vector :math:`e` of each generated sample is moved, step by
    step, in the direction in which the classifier's loss of its class rises fastest,

    .. math::
        e \leftarrow \Pi\left(e + \eta \frac{g}{\|g\|}\right), \qquad
        g = \nabla_e \log \frac{1 - p(y \mid x(e))}{p(y \mid x(e))},

    which is projected gradient ascent [1]_ in the latent space. :math:`\Pi` projects
    onto the ball :math:`\|e\| \le r`, so that the density of :math:`e` given the class
    never falls below a floor: the density that a share `density_quantile` of plain
    draws exceeds.

    .. note::
        A sample beyond the boundary keeps its label. Where classes overlap, that label
        may be wrong: look at `loss_after_`, and prefer few steps.

    Parameters
    ----------
    generator : estimator, default=None
        Generator with the methods `fit(X, y)` and `sample(y=...)`. It is cloned; a
        fitted one in scikit-learn's FrozenEstimator is used as it is. None is
        :class:`~skcvae.generators.ClassGaussian`. Only samples of a
        :class:`~skcvae.generators.DecoderMixin` can be moved. Of any other generator,
        each new sample is the hardest of `n_steps` + 1 draws, and `step_size` and
        `density_quantile` have no effect: see Notes.

    classifier : estimator or torch.nn.Module, default=None
        What finds samples hard:

        - a linear model of scikit-learn with `coef_` and `intercept_`, such as
          :class:`~sklearn.linear_model.LogisticRegression`;
        - a :class:`~skcvae.long_tail.LongTailClassifier`, or any classifier whose
          method `make_logits()` returns a module as the following one;
        - a module that takes samples of shape (n, n_features), in the units of `X`,
          and returns logits of shape (n, n_classes) for the sorted classes.

        An estimator is cloned and fitted on the training samples; a fitted one in
        scikit-learn's FrozenEstimator and any module are used as they are. None is
        ``LogisticRegression(class_weight="balanced", max_iter=1000)``.

    n_steps : int, default=5
        Number of steps; with 0, samples are plain draws, projected onto the ball.

    step_size : float, default=0.2
        Length :math:`\eta` of a step, in standard deviations of the latent vectors.

    stop_margin : float or None, default=0.0
        A sample moves no further once the logit of its class exceeds all others by no
        more than this: 0 is the boundary, a negative number lies beyond it. None
        makes all steps.

    density_quantile : float, default=0.9
        Share in (0, 1] of plain draws that are denser than the floor. The radius r is
        this quantile of the chi distribution with `latent_dim` degrees of freedom,
        times the square root of the generator's `variance`. 1 sets no floor.

    sampling_strategy : float, str, dict or callable, default="auto"
        Which classes to fill up, as in :class:`CVAEOverSampler`.

    memory : str or joblib.Memory, default=None
        Cache of fitted generators, not of classifiers. Needs an integer
        `random_state`.

    random_state : int, RandomState instance or None, default=None
        Seed of `generator` and `classifier`, unless they have an integer of their own:
        see :ref:`seeds-and-fitted-parts`.

    Attributes
    ----------
    generator_ : estimator
        The fitted generator.

    classifier_ : estimator or torch.nn.Module
        The fitted classifier.

    loss_before_, loss_after_ : ndarray of shape (n_new,)
        Cross-entropy, in nats, of each new sample before the first and after the last
        step, in the order of the new samples. Only after :meth:`fit_resample`, as the
        following three. Of a generator without a decoder, that of the first and of the
        chosen draw.

    latent_norm_ : ndarray of shape (n_new,)
        Length of the latent vector of each new sample, in standard deviations. It does
        not exceed `max_norm_`. Only with a decoder, as the following two.

    max_norm_ : float
        Radius of the ball, in standard deviations.

    share_at_floor_ : float
        Share of the new samples that ended on the density floor.

    sampling_strategy_ : dict
        Number of samples to generate for each class.

    n_features_in_ : int
        Number of features seen in :meth:`fit` or :meth:`fit_resample`.

    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the features, where `X` has names that are all strings.

    See Also
    --------
    GenerativeOverSampler : Plain draws.
    LatentVariationOverSampler : Variations of training samples.
    imblearn.over_sampling.BorderlineSMOTE : Interpolates near the boundary.

    Notes
    -----
    The observation noise of a sample, where its generator has one, is drawn before the
    first step and kept, so that the losses are those of the samples that are returned.

    A generator without a decoder has no latent vectors to move. :meth:`fit_resample`
    warns, draws `n_steps` + 1 samples for each new one, and keeps the one of the
    largest loss. `stop_margin` holds here too: a first draw beyond it is kept, and a
    later draw beyond it is never chosen.

    References
    ----------
    .. [1] A. Madry et al., "Towards Deep Learning Models Resistant to Adversarial
       Attacks", ICLR 2018, arXiv 1706.06083.

    Examples
    --------
    >>> from sklearn.datasets import make_classification
    >>> from skcvae.over_sampling import HardOverSampler
    >>> X, y = make_classification(weights=[0.9], random_state=0)
    >>> sampler = HardOverSampler(random_state=0)
    >>> X_res, y_res = sampler.fit_resample(X, y)
    >>> X_res.shape
    (182, 20)
    >>> bool(sampler.loss_after_.mean() > sampler.loss_before_.mean())
    True
    """

    _parameter_constraints: dict = {
        **BaseGenerativeOverSampler._parameter_constraints,
        "generator": [HasMethods(["fit", "sample"]), None],
        "classifier": [HasMethods(["fit", "predict"]), nn.Module, None],
        "n_steps": [Interval(Integral, 0, None, closed="left")],
        "step_size": [Interval(Real, 0, None, closed="neither")],
        "stop_margin": [Interval(Real, None, None, closed="neither"), None],
        "density_quantile": [Interval(Real, 0, 1, closed="right")],
        "memory": [str, Memory, None],
    }

    def __init__(
        self,
        generator=None,
        classifier=None,
        *,
        n_steps=5,
        step_size=0.2,
        stop_margin=0.0,
        density_quantile=0.9,
        sampling_strategy="auto",
        memory=None,
        random_state=None,
    ):
        super().__init__(sampling_strategy=sampling_strategy)
        self.generator = generator
        self.classifier = classifier
        self.n_steps = n_steps
        self.step_size = step_size
        self.stop_margin = stop_margin
        self.density_quantile = density_quantile
        self.memory = memory
        self.random_state = random_state

    def _make_generator(self):
        generator = ClassGaussian() if self.generator is None else self.generator
        return clone_generator(generator, self.random_state, self.memory)

    def _train(self, X, y):
        classifier = self.classifier
        if classifier is None:
            classifier = LogisticRegression(class_weight="balanced", max_iter=1000)
        seed = draw_seeds(check_random_state(self.random_state), 1)[0]
        seed = None if self.random_state is None else seed
        self.classifier_ = fit_classifier(classifier, X, y, seed)
        # A classifier that does not fit is refused before the generator is trained.
        make_logits(self.classifier_, X, y, torch.device("cpu"))
        super()._train(X, y)

    def _draw_fitted(self, X, y, labels, random_state):
        seeds = check_random_state(random_state)
        self.loss_before_, self.loss_after_ = np.empty((2, len(labels)), np.float32)
        if not hasattr(self.generator_, "make_decoder"):
            return self._choose(X, y, labels, seeds), labels
        seed = draw_seeds(seeds, 3)[2]
        decoder = self.generator_.make_decoder()
        device = decoder.scale.device
        logits = make_logits(self.classifier_, X, y, device)
        self.max_norm_ = float(chi.ppf(self.density_quantile, decoder.latent_dim))
        self.latent_norm_ = np.empty(len(labels), dtype=np.float32)
        dtype = np.float32 if X.dtype == np.float32 else np.float64
        draw_chunk = self._make_moves(decoder, logits, dtype)
        codes = encode_labels(labels, decoder.classes)
        drawn = fill_by_class(codes, X.shape[1], dtype, seed, device, draw_chunk)
        at_floor = self.latent_norm_ >= self.max_norm_ * (1 - 3 * _ROUNDING)
        self.share_at_floor_ = float(at_floor.mean()) if len(labels) else 0.0
        return drawn, labels

    def _choose(self, X, y, labels, seeds):
        """Return the hardest of plain draws, for a generator without a decoder."""
        warn_user(
            f"{type(unfrozen(self.generator_)).__name__} has no decoder: each sample "
            f"is the hardest of {self.n_steps + 1} plain draws, and there is no "
            "density floor."
        )
        logits = make_logits(self.classifier_, X, y, torch.device("cpu"))
        codes = torch.from_numpy(encode_labels(labels, np.unique(y)))
        stop = -np.inf if self.stop_margin is None else self.stop_margin
        hardest = None
        for seed in draw_seeds(seeds, self.n_steps + 1):
            drawn, _ = draw(self.generator_, labels, random_state=seed)
            with torch.no_grad():
                x = torch.tensor(drawn, dtype=torch.float32)
                odds, margin = odds_against(logits(x), codes)
            if hardest is None:
                hardest, odds_so_far, may_change = drawn.copy(), odds, margin > stop
                self._record(slice(None), odds, self.loss_before_)
            better = may_change & (odds > odds_so_far) & (margin >= stop)
            hardest[better.numpy()] = drawn[better.numpy()]
            odds_so_far = torch.where(better, odds, odds_so_far)
        self._record(slice(None), odds_so_far, self.loss_after_)
        return hardest

    def _make_moves(self, decoder, logits, dtype):
        """Return a function that draws samples, as `fill_by_class` asks for."""
        sampler = decoder.sampler
        to_units = decoder.make_units(torch.from_numpy(np.empty(0, dtype)).dtype)

        @torch.inference_mode(False)
        def draw_chunk(places, codes, torch_generator):
            # What comes out of inference mode cannot take part in a gradient.
            codes = codes.clone()
            spread = decoder.latent_std[codes, None]
            shape = len(codes), decoder.latent_dim
            u = torch.randn(shape, generator=torch_generator, device=codes.device)
            u, noise = self._project(u), 0.0
            if decoder.noise_std is not None:
                noise = sampler.draw_noise(spread * u, codes, torch_generator)

            def odds_of(u):
                samples = decoder(spread * u, codes) + noise * decoder.scale
                return odds_against(logits(samples), codes)

            moved, places = self._move(u, odds_of), places.cpu().numpy()
            with torch.no_grad():
                self._record(places, odds_of(u)[0], self.loss_before_)
                self._record(places, odds_of(moved)[0], self.loss_after_)
            self.latent_norm_[places] = moved.norm(dim=1).cpu().numpy()
            return to_units(sampler.decode(spread * moved, codes) + noise, codes)

        return draw_chunk

    @torch.enable_grad()
    def _move(self, u, odds_of):
        for _ in range(self.n_steps):
            u = u.detach().requires_grad_()
            odds, margin = odds_of(u)
            (gradient,) = torch.autograd.grad(odds.sum(), u)
            step = self.step_size * functional.normalize(gradient, dim=1)
            if self.stop_margin is not None:
                step = step * (margin > self.stop_margin)[:, None]
            u = self._project(u.detach() + step)
        return u

    def _project(self, u):
        """Return the nearest point in the ball of allowed density."""
        radius = self.max_norm_ * (1 - _ROUNDING)
        return u * (radius / u.norm(dim=1, keepdim=True)).clamp(max=1)

    def _record(self, places, odds, losses):
        """Keep losses: each thread writes places of its own."""
        loss = functional.softplus(odds)
        if not loss.isfinite().all():
            raise ValueError("The classifier returned logits that are not finite.")
        losses[places] = loss.cpu().numpy()


def odds_against(logits, codes):
    r"""Return the log-odds against a class, in nats, and its margin over the others.

    The cross-entropy is the softplus of the log-odds :math:`\log (1 - p) / p`. Their
    gradients point the same way, and that of the log-odds does not vanish where a
    classifier is sure. The margin, in logits, is negative where another class has a
    larger logit. Logits have the shape (n, n_classes), all others (n,).
    """
    own = logits.gather(1, codes[:, None])[:, 0]
    others = logits.scatter(1, codes[:, None], -torch.inf)
    return others.logsumexp(dim=1) - own, own - others.amax(dim=1)


def make_logits(classifier, X, y, device):
    """Return a module from samples to logits, with a column for each class of y.

    The classifier is fitted or frozen; the logits of a module belong to the sorted
    classes of `y`. The module takes samples in the units of `X`, and its parameters are
    copies. Raise ValueError if the classifier has no gradient, or other features or
    numbers of classes.
    """
    labels = classes = np.unique(y)
    if isinstance(classifier, nn.Module):
        logits = copy.deepcopy(classifier)
    else:
        classes = getattr(classifier, "classes_", labels)
        has_own = hasattr(classifier, "make_logits")
        logits = classifier.make_logits() if has_own else _linear_logits(classifier)
    logits = logits.requires_grad_(False).to(device).eval()
    _check_shape(logits, X, len(classes), device)
    columns = encode_labels(labels, np.asarray(classes))
    return _Columns(logits, torch.from_numpy(columns)).to(device)


class _Columns(nn.Module):
    """Some columns of the output of a module."""

    def __init__(self, module, columns):
        super().__init__()
        self.module = module
        self.register_buffer("columns", columns)

    def forward(self, x):
        """Return the columns."""
        return self.module(x).index_select(1, self.columns)


def _linear_logits(classifier):
    """Return the decision function of a linear classifier of scikit-learn."""
    n_classes = len(getattr(classifier, "classes_", ()))
    coef = np.atleast_2d(getattr(classifier, "coef_", np.empty((0, 0))))
    # SVC has coefficients for each pair of classes.
    of_pairs = hasattr(classifier, "support_vectors_")
    if len(coef) != (1 if n_classes == 2 else n_classes) or of_pairs:
        raise ValueError(
            f"{type(unfrozen(classifier)).__name__} gives no gradient. Pass a linear "
            "model of scikit-learn with coefficients for each class, such as "
            "LogisticRegression or LinearSVC, a LongTailClassifier, or a "
            "torch.nn.Module that returns logits."
        )
    intercept = np.broadcast_to(classifier.intercept_, len(coef))
    if n_classes == 2:
        coef = np.concatenate([np.zeros_like(coef), coef])
        intercept = np.concatenate([np.zeros_like(intercept), intercept])
    layer = nn.utils.skip_init(nn.Linear, coef.shape[1], n_classes)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor(coef))
        layer.bias.copy_(torch.tensor(intercept))
    return layer


def _check_shape(logits, X, n_classes, device):
    probe = torch.tensor(np.asarray(X[:2], dtype=np.float32), device=device)
    try:
        with torch.no_grad():
            shape = tuple(logits(probe).shape)
    except RuntimeError as error:
        raise ValueError(
            f"The classifier does not take samples of {X.shape[1]} features: {error}"
        ) from error
    if shape != (len(probe), n_classes):
        raise ValueError(
            f"For {len(probe)} samples and {n_classes} classes the classifier returned "
            f"an array of shape {shape}. It must return a logit for each class."
        )
