"""Honest probabilities of classifiers that were trained on resampled rows."""

from numbers import Integral

import numpy as np
from scipy.special import logit
from sklearn.base import (
    BaseEstimator,
    ClassifierMixin,
    MetaEstimatorMixin,
    _fit_context,
    clone,
)
from sklearn.calibration import CalibratedClassifierCV
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import check_cv
from sklearn.pipeline import Pipeline
from sklearn.utils import column_or_1d, get_tags
from sklearn.utils._param_validation import HasMethods, StrOptions
from sklearn.utils.class_weight import compute_class_weight
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted

from .._doc_links import DocLinkMixin
from .._validation import check_labels, forget_fit
from ._priors import check_positive, move_prior, resolve_target_prior


class PriorCorrectedClassifier(
    DocLinkMixin, ClassifierMixin, MetaEstimatorMixin, BaseEstimator
):
    r"""Repair the probabilities of a classifier that was trained on resampled rows.

    A classifier that learns from balanced rows believes that all classes are equally
    frequent. Where resampling changed the class distribution from :math:`\pi` to
    :math:`r`, but not :math:`p(x \mid y)`, the probabilities for a class distribution
    :math:`t` are [1]_ [2]_

    .. math:: p_t(c \mid x) \propto p_r(c \mid x) \, t_c / r_c.

    This is exact for random over- and under-sampling and class weights, and as good as
    the generator for generated rows. SMOTE changes :math:`p(x \mid y)`: there,
    `calibration` learns the rest from held-out real rows. Wrap the whole pipeline,
    sampler included: inside of it, this classifier would see resampled rows only.

    Parameters
    ----------
    estimator : estimator
        Classifier with `predict_proba`, mostly a pipeline of imbalanced-learn. It is
        cloned, so that the one given stays unfitted.

    target_prior : str or array-like of shape (n_classes,), default="train"
        Class distribution that the probabilities are for: "train", the frequencies in
        `y`, before resampling; "uniform", equal ones, whose predictions maximize
        balanced accuracy; or numbers >= 0 in the order of `classes_`.

    resampled_prior : str or array-like of shape (n_classes,), default="auto"
        Class distribution that the classifier was trained on: "auto", "train",
        "uniform" or numbers. "auto" counts the labels
        that reach the last step of a pipeline (without a pipeline: `y`), times the
        `class_weight` of this step. It refuses classifiers that resample or correct
        inside, or are frozen: say "uniform" if they balance the classes, such as
        :class:`imblearn.ensemble.BalancedRandomForestClassifier`, else give numbers.
        So do for classifiers that are given their prior, as in the `priors` of
        :class:`sklearn.naive_bayes.GaussianNB`, which "auto" does not know of.

    calibration : {"temperature", "sigmoid", "isotonic"} or None, default=None
        What to fit on top of the formula, by
        :class:`~sklearn.calibration.CalibratedClassifierCV` with cross-validated
        predictions for real rows. It costs one more training for each fold.
        "temperature", which needs scikit-learn 1.8, has one parameter for all classes
        and suits smooth probabilities, as those of nets and of logistic regression,
        not votes that are often exactly 0. "sigmoid" has two for each class, for
        log-odds clipped to what n rows can tell from 0, 1 / (n + 2). "isotonic" wants
        thousands of rows.

    cv : int, cross-validation splitter or iterable, default=5
        Folds of the calibration, stratified if an int. The training part of each must
        have all classes, so each class needs two rows or more.

    n_jobs : int, default=None
        Number of folds to train in parallel; -1 for all processors.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Labels seen in :meth:`fit`, sorted.

    class_count_ : ndarray of shape (n_classes,)
        Number of rows of each class, before resampling.

    estimator_ : estimator
        The classifier fitted on all rows; its probabilities are not corrected.

    resampled_prior_ : ndarray of shape (n_classes,)
        Class distribution that `estimator_` was trained on, all > 0.

    target_prior_ : ndarray of shape (n_classes,)
        Class distribution that the probabilities are for.

    n_features_in_ : int
        Number of features seen in :meth:`fit`, if `estimator_` tells it.

    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the features, if `estimator_` tells them.

    See Also
    --------
    sklearn.calibration.CalibratedClassifierCV : Calibration without the formula.

    Notes
    -----
    `X` goes to `estimator` as it is. :meth:`fit` takes no sample weights: samplers
    could not use them. A row without any probability left, because `estimator_` is
    sure of classes that `target_prior` rules out, gets the target prior.

    References
    ----------
    .. [1] C. Elkan, "The Foundations of Cost-Sensitive Learning", IJCAI 2001.

    .. [2] :doi:`M. Saerens, P. Latinne and C. Decaestecker, "Adjusting the Outputs of
       a Classifier to New a Priori Probabilities: A Simple Procedure", Neural
       Computation 14, 2002. <10.1162/089976602753284446>`

    Examples
    --------
    >>> from imblearn.pipeline import make_pipeline
    >>> from imblearn.under_sampling import RandomUnderSampler
    >>> from sklearn.datasets import make_classification
    >>> from sklearn.linear_model import LogisticRegression
    >>> from skcvae.long_tail import PriorCorrectedClassifier
    >>> X, y = make_classification(
    ...     2000, weights=[0.95], class_sep=0.5, random_state=1)
    >>> print(f"{y.mean():.1%}")
    5.5%
    >>> balanced = make_pipeline(
    ...     RandomUnderSampler(random_state=0), LogisticRegression())
    >>> print(f"{balanced.fit(X, y).predict_proba(X)[:, 1].mean():.1%}")
    36.6%
    >>> corrected = PriorCorrectedClassifier(balanced).fit(X, y)
    >>> print(f"{corrected.predict_proba(X)[:, 1].mean():.1%}")
    5.6%
    """

    _parameter_constraints: dict = {
        "estimator": [HasMethods(["fit", "predict_proba"])],
        "target_prior": [StrOptions({"train", "uniform"}), "array-like"],
        "resampled_prior": [StrOptions({"auto", "train", "uniform"}), "array-like"],
        "calibration": [StrOptions({"temperature", "sigmoid", "isotonic"}), None],
        "cv": ["cv_object"],
        "n_jobs": [Integral, None],
    }

    def __init__(
        self,
        estimator,
        *,
        target_prior="train",
        resampled_prior="auto",
        calibration=None,
        cv=5,
        n_jobs=None,
    ):
        self.estimator = estimator
        self.target_prior = target_prior
        self.resampled_prior = resampled_prior
        self.calibration = calibration
        self.cv = cv
        self.n_jobs = n_jobs

    @_fit_context(prefer_skip_nested_validation=False)
    def fit(self, X, y):
        """Fit the classifier, note what it was trained on, and calibrate it.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Training rows, or whatever `estimator` takes.

        y : array-like of shape (n_samples,)
            Class of each row: numbers or strings.

        Returns
        -------
        self : object
            The fitted classifier.

        Raises
        ------
        ValueError
            Before training, if a prior does not fit the classes, a class has
            `resampled_prior` 0, "auto" cannot count, or a fold lacks a class.
        """
        forget_fit(self)
        self._calibrated = None
        check_labels(y)
        y = column_or_1d(y, warn=True)
        check_classification_targets(y)
        classes, counts = np.unique(y, return_counts=True)
        target_prior = resolve_target_prior(self.target_prior, counts)
        prior = self._known_prior(y, classes, counts)
        if self.calibration is None:
            estimator, prior = _fit_recording(clone(self.estimator), X, y, prior)
        else:
            self._calibrated = self._fit_calibrated(X, y, classes, counts)
            analytic = self._calibrated.calibrated_classifiers_[0].estimator.classifier_
            estimator, prior = analytic.estimator_, analytic.resampled_prior_
        _check_same_classes(estimator, classes)
        self.classes_, self.class_count_ = classes, counts
        self.target_prior_, self.resampled_prior_ = target_prior, prior
        self.estimator_ = estimator
        for name in ("n_features_in_", "feature_names_in_"):
            if hasattr(estimator, name):
                setattr(self, name, getattr(estimator, name))
        return self

    def predict_proba(self, X):
        """Return the probabilities of the classes under the target prior.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows, as `estimator` takes them.

        Returns
        -------
        proba : ndarray of shape (n_samples, n_classes)
            Probabilities in the order of `classes_`; rows sum to 1.
        """
        check_is_fitted(self)
        if self._calibrated is None:
            proba, prior = self.estimator_.predict_proba(X), self.resampled_prior_
        else:
            proba = self._calibrated.predict_proba(X)
            prior = resolve_target_prior("train", self.class_count_)
        return move_prior(proba, prior, self.target_prior_)

    def predict(self, X):
        """Return the most probable class under the target prior.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows, as `estimator` takes them.

        Returns
        -------
        y : ndarray of shape (n_samples,)
            Labels.
        """
        proba = self.predict_proba(X)
        return self.classes_[proba.argmax(axis=1)]

    def _known_prior(self, y, classes, counts):
        """Return the resampled prior as far as it is known before training."""
        given = self.resampled_prior
        if not isinstance(given, str) or given != "auto":
            prior = resolve_target_prior(given, counts, name="resampled_prior")
            return check_positive(prior, classes)
        pipeline = _innermost(self.estimator)
        classifier = self.estimator if pipeline is None else pipeline.steps[-1][1]
        _check_countable(classifier)
        return trained_prior(classifier, y, classes) if pipeline is None else None

    def _fit_calibrated(self, X, y, classes, counts):
        """Return the calibrator for the training prior, which holds the classifier."""
        analytic = PriorCorrectedClassifier(
            self.estimator, target_prior=counts, resampled_prior=self.resampled_prior
        )
        on_codes = _OnCodes(analytic, classes)
        if self.calibration == "sigmoid":
            on_codes = _LogOddsOnCodes(analytic, classes, 1 / (len(y) + 2))
        return CalibratedClassifierCV(
            on_codes,
            method=self.calibration,
            cv=self._make_splits(X, y, classes, counts),
            n_jobs=self.n_jobs,
            ensemble=False,
        ).fit(X, np.searchsorted(classes, y))

    def _make_splits(self, X, y, classes, counts):
        """Return the folds, after checking that all can be trained on."""
        if len(classes) < 2:
            raise ValueError("calibration needs two classes, and y has one class.")
        splits = list(check_cv(self.cv, y, classifier=True).split(X, y))
        lacking = np.any([~np.isin(classes, y[train]) for train, _ in splits], axis=0)
        if lacking.any():
            raise ValueError(
                f"The classes {classes[lacking].tolist()} with "
                f"{counts[lacking].tolist()} rows are missing from the training part "
                f"of a fold. calibration={self.calibration!r} needs two rows of each "
                "class, in different folds: use calibration=None or another cv, or "
                "merge or drop these classes."
            )
        return splits

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        inner = get_tags(self.estimator)
        tags.input_tags = inner.input_tags
        tags.non_deterministic = inner.non_deterministic
        if inner.classifier_tags is not None:
            tags.classifier_tags.multi_class = inner.classifier_tags.multi_class
        return tags


class _OnCodes(ClassifierMixin, BaseEstimator):
    """Classifier of class codes: folds encode labels, samplers name them."""

    def __init__(self, classifier, classes):
        self.classifier = classifier
        self.classes = classes

    def fit(self, X, codes):
        self.classifier_ = clone(self.classifier).fit(X, self.classes[codes])
        self.classes_ = np.arange(len(self.classes))
        return self

    def predict_proba(self, X):
        return self.classifier_.predict_proba(X)

    def predict(self, X):
        return self.predict_proba(X).argmax(axis=1)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags = get_tags(self.classifier).input_tags
        return tags


class _LogOddsOnCodes(_OnCodes):
    """The same with log-odds, in which a sigmoid can leave probabilities alone."""

    def __init__(self, classifier, classes, floor):
        super().__init__(classifier, classes)
        self.floor = floor

    def decision_function(self, X):
        odds = logit(self.predict_proba(X).clip(self.floor, 1 - self.floor))
        return odds[:, 1] if len(self.classes) == 2 else odds


class _Recorder(BaseEstimator):
    """Last step of a pipeline: notes the class distribution that it is fitted on."""

    def __init__(self, classifier, classes):
        self.classifier = classifier
        self.classes = classes

    def fit(self, X, y):
        self.prior_ = trained_prior(self.classifier, y, self.classes)
        self.classifier.fit(X, y)
        return self


def trained_prior(classifier, y, classes):
    """Return the class distribution of labels, times the weights of the classes."""
    present, counts = np.unique(y, return_counts=True)
    if len(present) == len(classes):
        weight = classifier.get_params(deep=False).get("class_weight")
        # Forests spell out that they balance each tree's rows.
        weight = "balanced" if weight == "balanced_subsample" else weight
        counts = counts * compute_class_weight(weight, classes=present, y=y)
    else:
        # The error below will name the classes that are gone.
        counts = np.isin(classes, present)
    return check_positive(resolve_target_prior("train", counts), classes)


def _innermost(estimator):
    """Return the pipeline whose last step is no pipeline; None without a pipeline."""
    inner = None
    while isinstance(estimator, Pipeline):
        inner, estimator = estimator, estimator.steps[-1][1]
    return inner


def _fit_recording(estimator, X, y, prior):
    """Fit, and return the estimator with its prior: that given, or that recorded."""
    if prior is not None:
        return estimator.fit(X, y), prior
    pipeline = _innermost(estimator)
    name, classifier = pipeline.steps[-1]
    recorder = _Recorder(classifier, np.unique(y))
    pipeline.steps = [*pipeline.steps[:-1], (name, recorder)]
    estimator.fit(X, y)
    pipeline.steps = [*pipeline.steps[:-1], (name, classifier)]
    return estimator, recorder.prior_


def _check_countable(classifier):
    """Refuse "auto" for what resamples or corrects inside, or was trained elsewhere."""
    if isinstance(classifier, FrozenEstimator) or any(
        name.endswith(("sampling_strategy", "target_prior"))
        or hasattr(value, "fit_resample")
        for name, value in classifier.get_params().items()
    ):
        raise ValueError(
            'resampled_prior="auto" cannot tell the class distribution of a '
            f"{type(classifier).__name__}, which no count of labels shows. Pass "
            'resampled_prior="uniform" if it balances the classes, else the numbers.'
        )


def _check_same_classes(estimator, classes):
    """Refuse an estimator whose columns would be those of other classes."""
    learned = np.asarray(getattr(estimator, "classes_", classes))
    if not np.array_equal(learned, classes):
        raise ValueError(
            f"The estimator learned the classes {learned.tolist()}, but y has "
            f"{classes.tolist()}: does a sampler drop a class?"
        )
