"""The classifier for long-tailed data with several labels per sample."""

import warnings
from numbers import Real
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit, logit
from sklearn.base import BaseEstimator, ClassifierMixin, _fit_context
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from .._class_values import refuse_index
from .._doc_links import DocLinkMixin
from .._generation import (
    check_frozen_names,
    check_validation_names,
    clone_generator,
    draw,
    drawing_seed,
    fit_generator,
)
from .._label_sets import check_label_sets, unique_label_sets
from .._scaling import estimate_scale, inverse_scale, scale_rows
from .._validation import check_samples_alone, fitting
from .._warnings import warn_user
from ._label_fit import (
    Choice,
    Objective,
    TrainingSamples,
    batch_samples,
    choose,
    f1_thresholds,
    metrics_of,
    rarest_labels,
)
from ._label_heads import LOSSES, SigmoidLoss, resolve_loss
from ._over_sampled import warn_if_over_sampled
from ._priors import SAMPLING_EXPONENTS
from ._regularization import FALLBACK, stratified_splits


class MultilabelLongTailClassifier(DocLinkMixin, ClassifierMixin, BaseEstimator):
    r"""Linear heads for several labels per sample, calibrated, with rare labels.

    One head with a sigmoid output for each label, fitted to all labels at once by
    L-BFGS. The ridge is chosen on held-out samples for the highest mean average
    precision, in which each label counts once; a slope for all labels and a shift for
    each then make the probabilities right. With a `generator`, the samples are those of
    Algorithm 1 of the thesis by label sets: rare ones are drawn more often, and partly
    replaced by generated samples of the same label set.

    Parameters
    ----------
    generator : estimator, default=None
        Generator with `fit(X, Y)` and `sample(y=Y)` for label sets. It is cloned, and
        fitted anew for each held-out part; a fitted one in scikit-learn's
        FrozenEstimator is used as it is, and must not have seen the samples, for they
        are held out from it in vain. None trains on the samples alone.

    loss : str, default="cross_entropy"
        "cross_entropy"; "balanced", which gives the positives and the negatives of a
        label the same weight; "logit_adjusted", which adds the log-odds of the label's
        prior to the logits while they train [1]_; "focal" [2]_; or "asymmetric" [3]_.

    loss_params : dict, default=None
        ``{"gamma": 2.0}`` of "focal", and ``{"gamma_positive": 0.0, "gamma_negative":
        4.0, "margin": 0.05}`` of "asymmetric", are the defaults.

    sampling : str or float, default="instance"
        The exponent b of the weight :math:`n^{-b}` with which a sample counts, where n
        is the number of samples of its rarest label: 0 for "instance", 0.5 for "sqrt",
        1 for "balanced", or a number. Samples without labels count as a label.

    augment : {"inverse", "inverse_steep", "always"}, default="inverse"
        Probability that a sample is replaced by a generated one: :math:`1 / n` or
        :math:`1 / n^2`, scaled to [0, 1] over the labels and then clipped to [`p_min`,
        `p_max`]; or always. Only with a `generator`.

    p_min, p_max : float, default=0.2, 0.7
        Bounds of that probability.

    target_prior : {"train", "uniform"} or array-like, default="train"
        Share of positives of each label, in (0, 1), for which probabilities are given:
        that of the training samples, a half each, or numbers of shape (n_labels,) in
        the order of `classes_`.

    thresholds : {"calibrated", "f1"}, float or array-like, default="calibrated"
        Probability above which a label is predicted: a half; for each label the one
        that gives the highest F1 on held-out samples; or a number in [0, 1], or one
        for each label, shape (n_labels,). With "f1",
        labels of fewer than ten held-out positives share one threshold, the best one
        for their pooled F1, and `target_prior` must be "train".

    l2 : float or "auto", default="auto"
        Strength of the ridge: l2 / 2 times the squared norm of the weights of a label
        is added to its mean loss, for features of mean variance 1. "auto" chooses it
        and its metric on held-out samples: a fifth, three times, with their copies. Do
        not over-sample before: give the `generator`.

    random_state : int, RandomState instance or None, default=None
        Seed of the held-out parts and the draws, and of the generator where it has none
        of its own.

    Attributes
    ----------
    classes_ : ndarray of shape (n_labels,)
        Names of the labels: the columns of a frame, if all are strings or all are
        integers, else 0 to n_labels - 1.

    label_count_ : ndarray of shape (n_labels,)
        Number of training samples that have each label.

    learned_ : ndarray of shape (n_labels,)
        Whether some training samples have the label and some do not.

    coef_, intercept_ : ndarray of shape (n_labels, n_features) and (n_labels,)
        ``X @ coef_.T + intercept_`` are the logits of the heads. Zeros for labels that
        all training samples have, or none.

    slope_ : float
        What the log-odds of the heads are multiplied by.

    log_odds_shift_ : ndarray of shape (n_labels,)
        What is added to them then.

    effective_prior_ : ndarray of shape (n_labels,)
        Share of each label in the weighted samples, drawn and generated, of the
        training.

    target_prior_ : ndarray of shape (n_labels,)
        Share for which probabilities are given.

    thresholds_ : ndarray of shape (n_labels,)
        Probability above which a label is predicted.

    l2_ : float
        The strength in use.

    l2_path_ : dict or None
        "metric" and "l2" tried, and the "average_precision" on held-out samples. None
        where no sample could be held out.

    metric_ : {"identity", "half_whitened"}
        Whether the ridge is :math:`w^\top w`, or :math:`w^\top \Sigma^{1/2} w` for the
        covariance :math:`\Sigma` of the features.

    generator_ : estimator
        The fitted generator, if there is one.

    offset_, scale_ : ndarray of shape (n_features,)
        Mean of the features, and the scale they share.

    n_features_in_ : int
        Number of features seen in :meth:`fit`.

    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the features, where `X` has names that are all strings.

    See Also
    --------
    LongTailClassifier : For one class per sample.
    skcvae.metrics.mean_average_precision_score : What the ridge is chosen by.

    Notes
    -----
    A label that no training sample has, or all have, cannot be learned: there is one
    warning, its probability is :math:`(n_1 + 1/2) / (n + 1)` for :math:`n_1` of n
    samples with it, whatever `target_prior` says, and the prediction is what the
    training samples had.

    The prior of a label is corrected once. What its head has seen is the share of the
    label in the weighted samples, and the weights of "balanced"; "logit_adjusted" has
    corrected it already. The difference to the training samples in log-odds is taken
    off. This is exact where sampling changes how frequent a label is, but not how its
    samples look; with sampling by label sets, the latter holds roughly. The shift of
    the calibration then gives each label the mean probability that it has in the
    training samples.

    For "focal" and "asymmetric", log-odds are not logits: at the logit of least
    expected loss, the odds are the ratio of the slopes of the losses of a negative and
    of a positive [4]_. The margin of "asymmetric" leaves improbable labels without a
    slope; outside twice the margin m and 1 - m, log-odds go on in a straight line, and
    such probabilities are rough. As the heads have
    free intercepts, "logit_adjusted" gives the probabilities of "cross_entropy".

    References
    ----------
    .. [1] A. K. Menon et al., "Long-tail learning via logit adjustment", ICLR 2021,
       arXiv 2007.07314.
    .. [2] T.-Y. Lin et al., "Focal loss for dense object detection", ICCV 2017, arXiv
       1708.02002.
    .. [3] T. Ridnik et al., "Asymmetric loss for multi-label classification", ICCV
       2021, arXiv 2009.14119.
    .. [4] N. Charoenphakdee et al., "On focal loss for class-posterior probability
       estimation", CVPR 2021, arXiv 2011.09172.

    Examples
    --------
    >>> from sklearn.datasets import make_multilabel_classification
    >>> from skcvae.long_tail import MultilabelLongTailClassifier
    >>> X, Y = make_multilabel_classification(300, n_classes=4, random_state=0)
    >>> classifier = MultilabelLongTailClassifier(random_state=0).fit(X[:200], Y[:200])
    >>> classifier.predict_proba(X[200:]).shape
    (100, 4)
    """

    _parameter_constraints: dict = {
        "generator": [HasMethods(["fit", "sample"]), None],
        "loss": [StrOptions(set(LOSSES))],
        "loss_params": [dict, None],
        "sampling": [
            StrOptions(set(SAMPLING_EXPONENTS)),
            Interval(Real, None, None, closed="neither"),
        ],
        "augment": [StrOptions({"inverse", "inverse_steep", "always"})],
        "p_min": [Interval(Real, 0, 1, closed="both")],
        "p_max": [Interval(Real, 0, 1, closed="both")],
        "target_prior": [StrOptions({"train", "uniform"}), "array-like"],
        "thresholds": [
            StrOptions({"calibrated", "f1"}),
            Interval(Real, 0, 1, closed="both"),
            "array-like",
        ],
        "l2": [StrOptions({"auto"}), Interval(Real, 0, None, closed="neither")],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        generator: BaseEstimator | None = None,
        *,
        loss: str = "cross_entropy",
        loss_params: dict[str, Any] | None = None,
        sampling: str | float = "instance",
        augment: str = "inverse",
        p_min: float = 0.2,
        p_max: float = 0.7,
        target_prior: str | ArrayLike = "train",
        thresholds: str | float | ArrayLike = "calibrated",
        l2: float | str = "auto",
        random_state: int | np.random.RandomState | None = None,
    ):
        self.generator = generator
        self.loss = loss
        self.loss_params = loss_params
        self.sampling = sampling
        self.augment = augment
        self.p_min = p_min
        self.p_max = p_max
        self.target_prior = target_prior
        self.thresholds = thresholds
        self.l2 = l2
        self.random_state = random_state

    @_fit_context(prefer_skip_nested_validation=False)
    def fit(self, X: ArrayLike, Y: ArrayLike) -> Self:
        """Fit the generator, if there is one, and the heads.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Embeddings.

        Y : {array-like, sparse matrix} of shape (n_samples, n_labels)
            Label sets: 1 where a sample has a label, else 0; at least two labels. Names
            of the columns of a frame are kept. Samples may have no label.

        Returns
        -------
        self : object
            The fitted classifier.

        Raises
        ------
        ValueError
            If `X` is empty or not finite, `Y` is anything else, no label varies, or
            parameters contradict each other.
        """
        with fitting(self):
            self._fit(X, Y)
        return self

    def _fit(self, X, Y):
        X, sets, self.classes_ = check_label_sets(
            self, X, Y, one_label="LongTailClassifier"
        )
        check_frozen_names(self.generator, Y)
        self.label_count_ = sets.sum(0)
        self.learned_ = (self.label_count_ > 0) & (self.label_count_ < len(sets))
        self._check_labels()
        self._check_parameters()
        self._loss_params = resolve_loss(self.loss, self.loss_params)
        self.offset_, self.scale_ = estimate_scale(X)
        seed = check_random_state(self.random_state).randint(2**31)
        metrics = metrics_of(scale_rows(X, self.offset_, self.scale_))
        choice = self._choose(X, sets, metrics, seed)
        samples = self._training_samples(X, sets, seed, keep=True)
        heads, _ = self._objective(samples, metrics[choice.metric]).fit(choice.l2)
        if choice.path is not None:
            heads.set_slope(choice.slope, samples)
        self.l2_, self.l2_path_, self.metric_ = choice.l2, choice.path, choice.metric
        self._keep(heads, samples, len(X))
        by_f1 = isinstance(self.thresholds, str) and self.thresholds == "f1"
        if by_f1 and choice.path is not None:
            found = f1_thresholds(choice.log_odds, choice.Y)
            self.thresholds_[self.learned_] = found

    def _check_labels(self):
        """Refuse labels none of which varies, and warn of those that do not."""
        if not self.learned_.any():
            raise ValueError(
                "A classifier needs a label that some samples have and some do not; "
                "no column of Y has both 0 and 1."
            )
        constant = self.classes_[~self.learned_].tolist()
        if constant:
            warn_user(
                f"{len(constant)} labels cannot be learned, for all or none of the "
                f"training samples have them: {constant[:5]}."
            )

    def _check_parameters(self):
        """Refuse parameters that contradict; set the target prior and thresholds."""
        n_labels = len(self.classes_)
        if self.p_min > self.p_max:
            raise ValueError(f"p_min={self.p_min} is above p_max={self.p_max}.")
        target = self.target_prior
        self.target_prior_ = None
        if not isinstance(target, str) or target == "uniform":
            target = 0.5 if isinstance(target, str) else target
            self.target_prior_ = _one_each("target_prior", target, n_labels)
            if not ((self.target_prior_ > 0) & (self.target_prior_ < 1)).all():
                raise ValueError("target_prior must be above 0 and below 1.")
        is_named = isinstance(self.thresholds, str)
        thresholds = 0.5 if is_named else self.thresholds
        self.thresholds_ = _one_each("thresholds", thresholds, n_labels)
        if is_named and self.thresholds == "f1" and self.target_prior_ is not None:
            raise ValueError(
                "thresholds='f1' needs target_prior='train': held-out samples show the "
                "F1 of the training prior alone."
            )

    def _objective(self, samples, whitener):
        kinds = self.loss == "balanced", self.loss == "logit_adjusted"
        loss = SigmoidLoss(**self._loss_params)
        return Objective(samples, whitener, loss, *kinds)

    def _choose(self, X, sets, metrics, seed):
        """Return the `Choice` of held-out samples."""
        rarest, _ = rarest_labels(sets)
        warn_if_over_sampled(unique_label_sets(sets)[1])
        parts = []
        for train, test in stratified_splits(X, rarest, np.random.RandomState(seed)):
            held_out = sets[np.ix_(test, self.learned_)]
            if held_out.any():
                samples = self._training_samples(X[train], sets[train], seed)
                Z = scale_rows(X[test], self.offset_, self.scale_)
                parts.append((samples, (Z, held_out)))
        if self.l2 != "auto":
            metrics = {"half_whitened": metrics["half_whitened"]}
        if not parts:
            l2 = FALLBACK if self.l2 == "auto" else self.l2
            return Choice(l2, "half_whitened")
        strengths = None if self.l2 == "auto" else [self.l2]
        return choose(parts, metrics, self._objective, strengths)

    def _training_samples(self, X, sets, seed, keep=False):
        """Return real and generated samples with weights."""
        augment = None if self.generator is None else self.augment
        weight, chosen, weight_drawn = batch_samples(
            sets,
            self.sampling,
            augment,
            self.p_min,
            self.p_max,
            np.random.RandomState(seed),
        )
        Z, labels = scale_rows(X, self.offset_, self.scale_), sets
        if augment is not None:
            generator = clone_generator(self.generator, self.random_state, seed=seed)
            check_validation_names(self, generator)
            with warnings.catch_warnings():
                # Of such labels, there is a warning already, or they are held out.
                warnings.filterwarnings("ignore", ".* labels have no training sample")
                generator = fit_generator(generator, X, sets.astype(np.int64))
            if keep:
                self.generator_ = generator
            seed = drawing_seed(generator, seed)
            drawn, _ = draw(generator, sets[chosen].astype(int), random_state=seed)
            Z = np.concatenate([Z, scale_rows(drawn, self.offset_, self.scale_)])
            labels = np.concatenate([sets, sets[chosen]])
            weight = np.append(weight, np.full(len(chosen), weight_drawn))
        return TrainingSamples(Z, labels[:, self.learned_], weight, len(X))

    def _keep(self, heads, samples, n_samples):
        """Set the attributes of a fit, in the units of `X`."""
        learned, prior = self.learned_, self.label_count_ / n_samples
        self.effective_prior_ = prior.copy()
        self.effective_prior_[learned] = samples.effective_prior()
        self.coef_ = np.zeros((len(prior), self.n_features_in_))
        self.coef_[learned] = heads.weights * inverse_scale(self.scale_)
        self.intercept_ = np.zeros(len(prior))
        self.intercept_[learned] = heads.bias - self.coef_[learned] @ self.offset_
        shift = heads.shift - heads.slope * heads.prior_left
        if self.target_prior_ is None:
            self.target_prior_ = prior
        else:
            change = logit(self.target_prior_[learned]) - logit(prior[learned])
            shift = shift + change
        # Labels that do not vary get their smoothed frequency.
        self.log_odds_shift_ = logit((self.label_count_ + 0.5) / (n_samples + 1))
        self.log_odds_shift_[learned] = shift
        self.slope_ = heads.slope

    def decision_function(self, X: ArrayLike) -> NDArray[np.float64]:
        """Return the log-odds of each label, for `target_prior`.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Samples.

        Returns
        -------
        log_odds : ndarray of shape (n_samples, n_labels)
            Above 0 where the probability is above a half.
        """
        check_is_fitted(self)
        X = check_samples_alone(self, X)
        learned = self.learned_
        log_odds = np.zeros((len(X), len(self.classes_)))
        logits = X @ self.coef_[learned].T + self.intercept_[learned]
        loss = SigmoidLoss(**self._loss_params)
        log_odds[:, learned] = self.slope_ * loss.log_odds(logits)
        return log_odds + self.log_odds_shift_

    def predict_proba(self, X: ArrayLike) -> NDArray[np.float64]:
        """Return the probability of each label, for `target_prior`.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Samples.

        Returns
        -------
        proba : ndarray of shape (n_samples, n_labels)
            In [0, 1]. The labels are not exclusive: numbers of a sample need not sum to
            one.
        """
        return expit(self.decision_function(X))

    def predict(self, X: ArrayLike) -> NDArray[np.int64]:
        """Return the label sets whose probabilities are above `thresholds_`.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Samples.

        Returns
        -------
        Y : ndarray of shape (n_samples, n_labels)
            0 and 1. Labels that all training samples had, or none, are predicted so.
        """
        predicted = self.predict_proba(X) > self.thresholds_
        predicted[:, ~self.learned_] = self.label_count_[~self.learned_] > 0
        return predicted.astype(np.int64)

    def __sklearn_tags__(self):
        """Return the tags of scikit-learn: only label sets are taken."""
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        tags.classifier_tags.multi_class = False
        tags.target_tags.single_output = False
        tags.target_tags.multi_output = True
        tags.target_tags.two_d_labels = True
        return tags


def _one_each(name, values, n_labels):
    """Return float64 numbers in (n_labels,), each in [0, 1], or refuse them."""
    refuse_index(values, name, "labels", "loc[Y.columns]")
    values = np.asarray(values, dtype=np.float64)
    if values.ndim == 0:
        values = np.full(n_labels, values)
    if values.shape != (n_labels,) or not ((values >= 0) & (values <= 1)).all():
        raise ValueError(
            f"{name} must have one number in [0, 1] for each of the {n_labels} labels."
        )
    return values
