"""Which solver a classifier can take, and the fit by the closed form."""

import inspect
from numbers import Real

import numpy as np
import torch
from sklearn.frozen import FrozenEstimator

from .._devices import CPU, has_float64
from .._generation import clone_generator, fit_generator, unfrozen
from .._scaling import scale_rows
from .._thin_covariance import quadratic_form
from .._threads import limit_threads, threads_for
from ..generators import ClassGaussian
from ._batches import resolve_remix
from ._calibration import check_splits, held_out_splits
from ._closed_form import (
    HeadObjective,
    fewer_coordinates,
    half_whitener,
    principal_axes,
    read_gaussians,
    within_covariance,
)
from ._losses import BalancedSoftmaxLoss
from ._over_sampled import warn_if_over_sampled
from ._regularization import (
    FALLBACK,
    Choice,
    HeldOut,
    choose_strength,
    stratified_splits,
)
from ._schedules import scheduled

# Parameters that only the steps of SGD have.
_SGD_ONLY = ("weight_decay", "max_epochs", "batch_size", "lr", "net_params")
# Logits times features. With more, the passes of the closed form take longer than the
# steps of SGD.
_MAX_NUMBERS = 10**9
# With so few classes, fits are fast enough to try them without generated samples, too.
_FEW_CLASSES = 10
# What a subclass of ClassGaussian may replace, so that its samples are others.
_DRAWING = (
    "sample",
    "make_stream",
    "_make_draw",
    "_make_sampler",
    "_make_scaled_draw",
    "_centres",
)


def resolve_solver(classifier, n_samples, n_classes):
    """Return the solver of a classifier, "closed_form" or "sgd".

    Raise ValueError if the closed form is asked for, or `l2` is given, and it does not
    apply; or if `l2` is given for SGD.
    """
    solver, l2 = classifier.solver, classifier.l2
    if solver == "sgd":
        if l2 != "auto":
            raise ValueError(
                "l2 is for solver='closed_form'; solver='sgd' has weight_decay."
            )
        return "sgd"
    obstacle = _obstacle(classifier)
    if obstacle and (solver == "closed_form" or l2 != "auto"):
        asked = "solver='closed_form'" if solver == "closed_form" else f"l2={l2!r}"
        raise ValueError(f"{asked} does not go with {obstacle}. Use solver='sgd'.")
    if solver == "closed_form" or l2 != "auto":
        return "closed_form"
    n_numbers = n_samples * n_classes * classifier.n_features_in_
    return "sgd" if obstacle or n_numbers > _MAX_NUMBERS else "closed_form"


def _obstacle(classifier):
    """Return what the closed form does not go with, or None."""
    defaults = inspect.signature(type(classifier)).parameters
    changed = [
        f"{name}={getattr(classifier, name)!r}, which is for SGD"
        for name in _SGD_ONLY
        if not _equal(getattr(classifier, name), defaults[name].default)
    ]
    loss = classifier.loss
    if not isinstance(loss, str) and type(loss) is BalancedSoftmaxLoss:
        loss = "balanced_softmax"
    obstacles = {
        f"head={classifier.head!r}": classifier.head not in ("auto", "linear"),
        f"loss={loss!r}": loss not in ("balanced_softmax", "logit_adjusted"),
        "loss_params": bool(classifier.loss_params),
        "sampling='progressive'": classifier.sampling == "progressive",
        "remix": resolve_remix(classifier.remix) is not None,
        **{f"a schedule of {name}": True for name in scheduled(classifier)},
        **dict.fromkeys(changed, True),
    }
    found = [name for name, is_there in obstacles.items() if is_there]
    if not found and classifier.augment is not None:
        found = _generator_obstacles(classifier.generator)
    return found[0] if found else None


def _equal(value, default):
    """Tell whether a parameter has its default."""
    return value is default or (isinstance(value, str | Real) and value == default)


def _generator_obstacles(generator):
    """Return why generated samples are not Gaussian with one covariance."""
    if generator is None:
        return []
    inner = unfrozen(generator)
    name = type(inner).__name__
    if not isinstance(inner, ClassGaussian) or any(
        getattr(type(inner), method) is not getattr(ClassGaussian, method)
        for method in _DRAWING
    ):
        return [f"the generator {name}, which is no ClassGaussian"]
    if inner.covariance_type != "tied":
        return [
            f"covariance_type={inner.covariance_type!r} of the generator, which costs "
            "n_classes**2 * n_features**2 operations a step"
        ]
    return []


class ClosedFormFit:
    """Fits of the convex objective to the samples of a classifier, or parts of them.

    The classifier has its scaling, classes and target prior, and its generator if it
    has one, for which there may be unlabelled samples.
    """

    def __init__(self, classifier, X, codes, weight, X_unlabeled=None):
        self.classifier, self.X, self.codes, self.weight = classifier, X, codes, weight
        self.X_unlabeled = X_unlabeled
        Z = scale_rows(X, classifier.offset_, classifier.scale_)
        self.gaussians = None
        if classifier.augment is not None:
            self.gaussians = self._read(classifier.generator_)
        self.start = None
        whitener = self._half_whitener(Z).astype(np.float32)
        axes, self.spread = principal_axes(Z @ whitener, weight)
        self.whitener = whitener @ axes
        self.Z = Z @ self.whitener
        # A product for the logits and one for the gradient, of two operations each.
        self.n_threads = threads_for(4 * self.Z.size * len(classifier.classes_))

    def _half_whitener(self, Z):
        """Return the `half_whitener` of samples, in fewer coordinates of wide data."""
        classifier, size = self.classifier, None
        n_features = Z.shape[1]
        frozen = isinstance(getattr(classifier, "generator_", None), FrozenEstimator)
        basis = fewer_coordinates(Z, self.gaussians, frozen)
        if self.gaussians is None:
            rows = Z if basis is None else Z @ basis.astype(np.float32)
            covariance = within_covariance(rows, self.codes, self.weight)
        else:
            covariance = self.gaussians.covariance
        if basis is None:
            return half_whitener(covariance)
        if self.gaussians is None:
            size = np.trace(covariance)
        else:
            size = covariance.trace()
            covariance = quadratic_form(covariance, basis)
        return basis @ half_whitener(covariance, size / n_features)

    def choose(self, groups, seed):
        """Return the `Choice` of held-out samples, and change the Gaussians by it.

        With few classes, generated samples may be left out: they harm where classes are
        far from Gaussian, and their number says little about the shrinkage of means.
        """
        splits = self._split(groups, seed)
        choice = self._choose(splits, seed)
        if self.gaussians is not None:
            if len(self.classifier.classes_) <= _FEW_CLASSES:
                gaussians, self.gaussians = self.gaussians, None
                without = self._choose(splits, seed)
                if without.loss < choice.loss:
                    self.start = without.start
                    return without
                self.gaussians = gaussians
            self.gaussians.variance = choice.width * self.gaussians.variance
        self.start = choice.start
        return choice

    def _choose(self, splits, seed):
        """Return the choice with the present Gaussians."""
        splits = self._held_out_parts(splits, seed)
        if not any(len(split.codes) for split in splits):
            return Choice(FALLBACK)
        with np.errstate(divide="ignore"):
            log_target = np.log(self._target())
        may_widen = self.gaussians is not None and self.classifier.variance is None
        with limit_threads(self.n_threads):
            return choose_strength(splits, log_target, may_widen)

    def solve(self, l2):
        """Return weights and biases for scaled samples, float32."""
        everything = slice(None)
        # Near the solution, few steps are left.
        tolerance = 1e-6 if self.start is None else 3e-6
        objective = self._objective(everything, self.gaussians)
        with limit_threads(self.n_threads):
            joint = objective.fit(l2, self.start, tolerance=tolerance)
        weights = joint[:, :-1] @ self.whitener.T
        return weights.astype(np.float32), joint[:, -1].astype(np.float32)

    def _target(self):
        prior = self.classifier.target_prior_
        if prior is None:
            prior = np.full(len(self.classifier.classes_), 1.0)
        return prior / prior.sum()

    def _read(self, generator):
        classifier = self.classifier
        return read_gaussians(
            unfrozen(generator),
            classifier.classes_,
            classifier.offset_,
            classifier.scale_,
            classifier.variance,
        )

    def _objective(self, part, gaussians):
        codes, weight = self.codes[part], self.weight[part]
        count = np.bincount(codes, weight)
        augment = None if gaussians is None else self.classifier.augment
        priors = self.classifier._batch_priors(len(codes), count, augment)
        drawn = priors.drawn(0) * count.sum()
        mass = drawn * priors.p_augment * self.classifier.generated_weight
        real = weight * (drawn * (1 - priors.p_augment) / count)[codes]
        if gaussians is not None:
            gaussians = gaussians.transform(self.whitener)
        return HeadObjective(
            self._tensor(self.Z[part]),
            self._tensor(codes),
            self._tensor(real.astype(np.float32)),
            np.log(priors.corrected_count(0)),
            gaussians,
            mass,
            self.spread,
        )

    def _split(self, groups, seed):
        """Return pairs of training and held-out indices."""
        classifier, codes = self.classifier, self.codes
        if groups is None:
            warn_if_over_sampled(codes)
            return stratified_splits(self.X, codes, np.random.RandomState(seed))
        y = classifier.classes_[codes]
        splits = held_out_splits(classifier.cv, self.X, y, codes, 1, groups)
        check_splits(splits, classifier.classes_, codes, "temperature")
        return splits

    def _held_out_parts(self, splits, seed):
        classifier, codes, weight = self.classifier, self.codes, self.weight
        held_out = np.concatenate([test for _, test in splits])
        n_classes = len(classifier.classes_)
        # Without any, bincount returns integers.
        mass = np.bincount(codes[held_out], weight[held_out], n_classes).astype(float)
        share = np.divide(self._target(), mass, out=np.zeros_like(mass), where=mass > 0)
        parts = []
        for train, test in splits:
            # Classes that the target rules out have no say.
            counted = test[share[codes[test]] > 0]
            weights = (weight * share[codes])[counted].astype(np.float32)
            parts.append(
                HeldOut(
                    self._objective(train, self._fit_gaussians(train, seed)),
                    self._tensor(self.Z[counted]),
                    self._tensor(codes[counted]),
                    self._tensor(weights),
                )
            )
        return parts

    def _fit_gaussians(self, train, seed):
        classifier = self.classifier
        if self.gaussians is None:
            return None
        generator = classifier.generator
        # A frozen one may have seen the held-out samples: a copy of it is trained.
        generator = ClassGaussian() if generator is None else unfrozen(generator)
        generator = clone_generator(
            generator, classifier.random_state, classifier.memory, seed
        )
        y = classifier.classes_[self.codes[train]]
        fitted = fit_generator(
            generator, self.X[train], y, classifier.memory, self.X_unlabeled
        )
        return self._read(fitted)

    def _tensor(self, values):
        device = self.classifier.device_
        # Sums of losses are in float64.
        return torch.from_numpy(values).to(device if has_float64(device) else CPU)
