"""Over-sampling with rows that a classifier finds hard."""

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

from .._generation import clone_generator
from .._training import draw_seeds
from ..generators import BaseGenerator, ClassGaussian
from ._base import BaseGenerativeOverSampler
from ._logits import open_logits, prepare_classifier

# Rounding in float32 must not lift a vector on the floor over it.
_ROUNDING = 1e-6


class HardOverSampler(BaseGenerativeOverSampler):
    r"""Over-sample with rows near or beyond the decision boundary of a classifier.

    The standard normal vector :math:`e` of each generated row is moved, step by step,
    in the direction in which the classifier's loss of its class rises fastest,

    .. math::
        e \leftarrow \Pi\left(e + \eta \frac{g}{\|g\|}\right), \qquad
        g = \nabla_e \log \frac{1 - p(y \mid x(e))}{p(y \mid x(e))},

    which is projected gradient ascent [1]_ in the latent space. :math:`\Pi` projects
    onto the ball :math:`\|e\| \le r`, so that the density of :math:`e` given the class
    never falls below a floor: the density that a share `density_quantile` of plain
    draws exceeds.

    .. note::
        A row beyond the boundary keeps its label. Where classes overlap, the
        classifier may be right about it: look at `loss_after_`, and prefer few steps.

    Parameters
    ----------
    generator : BaseGenerator, default=None
        Generator with a decoder, see
        :meth:`~skcvae.generators.BaseGenerator.open_decoder`. It is cloned, so that
        the one given stays unfitted. None is
        :class:`~skcvae.generators.ClassGaussian`.

    classifier : estimator or torch.nn.Module, default=None
        What finds rows hard:

        - a linear model of scikit-learn with `coef_` and `intercept_`, such as
          :class:`~sklearn.linear_model.LogisticRegression`;
        - a :class:`~skcvae.long_tail.LongTailClassifier`, or any classifier whose
          method `make_logits()` returns a module as the following one;
        - a module that takes rows of shape (n, n_features), in the units of `X`, and
          returns logits of shape (n, n_classes) for the sorted classes.

        One that is fitted, and any module, is used as it is; in a cross-validation
        an estimator is cloned, and thus fitted anew on each training part, a module is
        not. An unfitted one is cloned and fitted on the training rows. None is
        ``LogisticRegression(class_weight="balanced", max_iter=1000)``.

    n_steps : int, default=5
        Number of steps; with 0 rows are plain draws, projected onto the ball.

    step_size : float, default=0.2
        Length :math:`\eta` of a step, in standard deviations of the latent vectors.

    stop_margin : float or None, default=0.0
        A row moves no further once the logit of its class exceeds all others by no
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
        Seed; replaces that of `generator` unless it is None.

    Attributes
    ----------
    generator_ : BaseGenerator
        The fitted generator.

    classifier_ : estimator or torch.nn.Module
        The fitted classifier.

    loss_before_, loss_after_ : ndarray of shape (n_new,)
        Cross-entropy, in nats, of each new row before the first and after the last
        step, in the order of the new rows. Only after :meth:`fit_resample`, as the
        following three.

    latent_norm_ : ndarray of shape (n_new,)
        Length of the latent vector of each new row, in standard deviations. It does
        not exceed `max_norm_`.

    max_norm_ : float
        Radius of the ball, in standard deviations.

    floor_share_ : float
        Share of the new rows that ended on the density floor.

    sampling_strategy_ : dict
        Number of rows to generate for each class.

    n_features_in_ : int
        Number of features seen in :meth:`fit` or :meth:`fit_resample`.

    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the features, where `X` has names that are all strings.

    See Also
    --------
    GenerativeOverSampler : Plain draws.
    LatentVariationOverSampler : Variations of training rows.
    imblearn.over_sampling.BorderlineSMOTE : Interpolates near the boundary.

    Notes
    -----
    The observation noise of a row, where its generator has one, is drawn before the
    first step and kept, so that the losses are those of the rows that are returned.

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
        "generator": [BaseGenerator, None],
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

    def _fit_generator(self, X, y):
        classifier = self.classifier
        if classifier is None:
            classifier = LogisticRegression(class_weight="balanced", max_iter=1000)
        seed = draw_seeds(check_random_state(self.random_state), 1)[0]
        self.classifier_ = prepare_classifier(classifier, X, y, seed)
        # What does not fit shows before the generator is trained.
        open_logits(self.classifier_, X, y, torch.device("cpu"))
        super()._fit_generator(X, y)

    def _draw_rows(self, X, y, labels):
        self._fit_generator(X, y)
        generator = self.generator_
        seed = draw_seeds(check_random_state(generator.random_state), 3)[2]
        device = generator._sampling_device()
        decoder = generator.open_decoder(device)
        logits = open_logits(self.classifier_, X, y, device)
        self.max_norm_ = float(chi.ppf(self.density_quantile, decoder.latent_dim))
        self._make_room(len(labels))
        draw = self._open_moves(decoder, logits)
        drawn = generator._fill_by_class(generator._encode_labels(labels), seed, draw)
        at_floor = self.latent_norm_ >= self.max_norm_ * (1 - 3 * _ROUNDING)
        self.floor_share_ = float(at_floor.mean()) if len(labels) else 0.0
        return drawn, labels

    def _make_room(self, n_new):
        """Make room for what the draws will record."""
        self.loss_before_ = np.empty(n_new, dtype=np.float32)
        self.loss_after_ = np.empty(n_new, dtype=np.float32)
        self.latent_norm_ = np.empty(n_new, dtype=np.float32)

    def _open_moves(self, decoder, logits):
        """Return a function that draws scaled rows, as `_fill_by_class` asks for."""
        generator = self.generator_
        std = np.sqrt(generator._resolve_variance())
        std = torch.tensor(std, dtype=torch.float32, device=decoder.scale.device)
        sampler = decoder.sampler

        @torch.inference_mode(False)
        def draw(places, codes, torch_generator):
            # What comes out of inference mode cannot take part in a gradient.
            codes = codes.clone()
            spread = std[codes, None]
            shape = len(codes), decoder.latent_dim
            u = torch.randn(shape, generator=torch_generator, device=codes.device)
            u, noise = self._project(u), 0.0
            if sampler.noise is not None:
                noise = sampler.draw_noise(spread * u, codes, torch_generator)

            def odds_of(u):
                rows = decoder(spread * u, codes) + noise * decoder.scale
                return odds_against(logits(rows), codes)

            moved = self._move(u, odds_of)
            self._record(places.cpu().numpy(), u, moved, odds_of)
            return sampler.decode(spread * moved, codes) + noise

        return draw

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

    @torch.no_grad()
    def _record(self, places, start, moved, odds_of):
        """Keep losses and lengths: each thread writes places of its own."""
        for u, losses in ((start, self.loss_before_), (moved, self.loss_after_)):
            loss = functional.softplus(odds_of(u)[0])
            if not loss.isfinite().all():
                raise ValueError("The classifier returned logits that are not finite.")
            losses[places] = loss.cpu().numpy()
        self.latent_norm_[places] = moved.norm(dim=1).cpu().numpy()


def odds_against(logits, codes):
    r"""Return the log-odds against a class, and its margin over the other classes.

    The cross-entropy is the softplus of the log-odds :math:`\log (1 - p) / p`. Their
    gradients point the same way, and that of the log-odds does not vanish where a
    classifier is sure.

    Parameters
    ----------
    logits : Tensor of shape (n, n_classes)
        Logits.

    codes : Tensor of shape (n,)
        The class of each row.

    Returns
    -------
    odds, margin : Tensor of shape (n,)
        In nats, and in logits: negative where another class has a larger logit.
    """
    own = logits.gather(1, codes[:, None])[:, 0]
    others = logits.scatter(1, codes[:, None], -torch.inf)
    return others.logsumexp(dim=1) - own, own - others.amax(dim=1)
