"""Honest probabilities of classifiers that were trained on resampled samples."""

from collections.abc import Iterable
from numbers import Integral
from typing import Any, Self

import numpy as np
from joblib import Parallel, delayed
from numpy.typing import ArrayLike, NDArray
from sklearn.base import (
    BaseEstimator,
    ClassifierMixin,
    MetaEstimatorMixin,
    _fit_context,
    clone,
)
from sklearn.utils import Bunch, get_tags, indexable
from sklearn.utils._param_validation import HasMethods, StrOptions
from sklearn.utils.metadata_routing import (
    MetadataRouter,
    MethodMapping,
    _routing_enabled,
    process_routing,
)
from sklearn.utils.validation import check_is_fitted

from .._doc_links import DocLinkMixin
from .._validation import fitting, read_tensors
from .._warnings import warn_user
from ._calibration import calibrate, check_splits, fit_calibrator, held_out_splits
from ._held_out_prior import HeldOut, check_evidence, warn_of_mismatch
from ._priors import check_positive, move_prior, resolve_target_prior
from ._trained_fit import (
    check_passed,
    check_same_classes,
    check_unlabeled_arrives,
    copy_features,
    fit_fold,
    fit_recording,
    innermost,
    passed_weight,
    resolve_claim,
    samples_needed,
    searches_sampler,
    split_metadata,
)
from ._trained_prior import ChosenPriorError, Labels, trained_prior

# Factors of the odds from which on the check warns: of the prior that a classifier is
# taken to have been trained for, and of corrected probabilities.
CLAIMED = 3.0
CORRECTED = 1.25

# Folds of the check where nothing is calibrated: about one more training.
_CHECK_FOLDS = 2

# Folds that measure a prior, at least: boosting on half of the samples is another one.
_MEASURING_FOLDS = 10


class PriorCorrectedClassifier(
    DocLinkMixin, ClassifierMixin, MetaEstimatorMixin, BaseEstimator
):
    r"""Repair the probabilities of a classifier that was trained on resampled rows.

    A classifier that learns from balanced samples believes that all classes are equally
    frequent. Where resampling changed the class distribution from :math:`\pi` to
    :math:`r`, but not :math:`p(x \mid y)`, the probabilities for a class distribution
    :math:`t` are [1]_ [2]_

    .. math:: p_t(c \mid x) \propto p_r(c \mid x) \, t_c / r_c.

    This is exact for random over- and under-sampling and class weights, and as good as
    the generator for generated samples. SMOTE changes :math:`p(x \mid y)`: there,
    `calibration` learns the rest from held-out real samples. Wrap the whole pipeline,
    sampler included: inside of it, this classifier would see resampled samples only.

    Parameters
    ----------
    estimator : estimator
        Classifier with `predict_proba`, mostly a pipeline of imbalanced-learn. It is
        cloned, so that the one given stays unfitted.

    target_prior : str or array-like of shape (n_classes,), default="train"
        Class distribution that the probabilities are for: "train", the frequencies in
        `y`, before resampling; "uniform", equal ones, whose predictions maximize
        balanced accuracy; or numbers >= 0 in the order of `classes_`.

    trained_prior : str or array-like of shape (n_classes,), default="auto"
        Class distribution that the classifier is trained for: "auto", "train" (the
        frequencies in `y`), "uniform" or "balanced" (equal ones), or numbers in the
        order of `classes_`. "auto" counts the labels that reach the last step of a
        pipeline, and multiplies them by class weights. It looks through pipelines,
        searches (the best classifier counts), ensembles, stacking, threshold
        classifiers, one-vs-rest and calibrated classifiers, and knows the weights and
        priors of scikit-learn, XGBoost, LightGBM and CatBoost. Where the distribution
        does not follow from all of this, :meth:`fit` raises an error that names the
        part. "held_out" takes the one that cross-fitted probabilities of real samples
        show, over the folds of `cv`, and needs no rule; see Notes.

    calibration : {"temperature", "sigmoid", "isotonic"} or None, default=None
        What to fit on top of the formula, by the methods of
        :class:`~sklearn.calibration.CalibratedClassifierCV`, on cross-fitted
        probabilities of real samples. It costs one more training for each fold.
        "temperature" has one parameter for all classes and suits smooth probabilities,
        as those of nets and of logistic regression, and small classes. It does not suit
        votes that are often exactly 0. "sigmoid" has two parameters for each class, for
        log-odds clipped to what n samples can tell from 0, 1 / (n + 2). "isotonic"
        wants thousands of samples.

    cv : int, cross-validation splitter or iterable, default=5
        Folds of the calibration, stratified if an int, and of `trained_prior`
        "held_out", which takes at least 10 if an int. Those leave each class the
        samples that a sampler in `estimator` needs (its `k_neighbors` plus one), or all
        where it has no more: such a class is never held out, which "temperature" can do
        with and the other methods refuse. So does "held_out", unless another class of
        few samples shows what small ones have in common.

    check_prior : bool, default=True
        Whether to check the trained prior on held-out samples. Where it cannot be
        right, a warning says so, and `trained_prior` "auto" takes the prior that these
        samples show; see Notes. Without `calibration`, this costs two trainings on half
        of the samples, and ten more where these find something.

    n_jobs : int, default=None
        Number of folds to train in parallel; -1 for all processors.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Labels seen in :meth:`fit`, sorted.

    class_count_ : ndarray of shape (n_classes,)
        Number of samples of each class, before resampling, or the sum of their weights.

    estimator_ : estimator
        The classifier fitted on all samples; its probabilities are not corrected.

    trained_prior_ : ndarray of shape (n_classes,)
        Class distribution that `estimator_` was trained for, all > 0.

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
    `X` goes to `estimator` as it is. A sample without any probability left, because
    `estimator_` is sure of classes that `target_prior` rules out, gets the target
    prior.

    The check weights held-out samples so that their classes have the trained prior. The
    mean probability of a class is then its share in this prior, if that is right. The
    check warns where the odds of both differ by more than a factor of 3. It does the
    same for corrected probabilities and the frequencies of the classes in `y`, with a
    factor of 1.25. Both must differ by more than four standard errors, and classes with
    fewer than ten held-out samples count as one. What two folds find is checked over
    ten: trained on half of the samples, a classifier may err more. The check has no
    power where classes are separable: there, the mean probability is the share of a
    class whatever prior a classifier was trained for.

    The prior that held-out samples show comes with a temperature: a shift of the log-
    odds of each class, and a slope of all, that maximize their likelihood [3]_. The
    mean probability of each class is its frequency in `y` afterwards. Classes with
    fewer than ten held-out samples share one shift. An unbalanced classifier whose
    probabilities are wrong, such as a naive Bayes classifier that is too sure, is
    repaired in this respect too. Where it costs held-out samples their right label,
    "auto" warns only: there is no prior in probabilities that hardly differ. For a
    classifier in scikit-learn's FrozenEstimator, pass samples that it was not trained
    on.

    References
    ----------
    .. [1] C. Elkan, "The Foundations of Cost-Sensitive Learning", IJCAI 2001.

    .. [2] :doi:`M. Saerens, P. Latinne and C. Decaestecker, "Adjusting the Outputs of
       a Classifier to New a Priori Probabilities: A Simple Procedure", Neural
       Computation 14, 2002. <10.1162/089976602753284446>`

    .. [3] A. Alexandari, A. Kundaje and A. Shrikumar, "Maximum Likelihood with
       Bias-Corrected Calibration is Hard-To-Beat at Label Shift Adaptation", ICML 2020,
       arXiv 1901.06852.

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
        "estimator": [HasMethods(["fit"])],
        "target_prior": [StrOptions({"train", "uniform"}), "array-like"],
        "trained_prior": [
            StrOptions({"auto", "held_out", "train", "uniform", "balanced"}),
            "array-like",
        ],
        "calibration": [StrOptions({"temperature", "sigmoid", "isotonic"}), None],
        "cv": ["cv_object"],
        "check_prior": ["boolean"],
        "n_jobs": [Integral, None],
    }

    def __init__(
        self,
        estimator: BaseEstimator,
        *,
        target_prior: str | ArrayLike = "train",
        trained_prior: str | ArrayLike = "auto",
        calibration: str | None = None,
        cv: int | Iterable | None = 5,
        check_prior: bool = True,
        n_jobs: int | None = None,
    ):
        self.estimator = estimator
        self.target_prior = target_prior
        self.trained_prior = trained_prior
        self.calibration = calibration
        self.cv = cv
        self.check_prior = check_prior
        self.n_jobs = n_jobs

    @_fit_context(prefer_skip_nested_validation=False)
    def fit(self, X: ArrayLike, y: ArrayLike, **params: Any) -> Self:
        """Fit the classifier, note what it was trained for, and calibrate it.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Training samples, or whatever `estimator` takes.

        y : array-like of shape (n_samples,)
            Class of each sample: numbers or strings.

        **params : dict
            Further arguments of the `fit` of `estimator`, such as `sample_weight`, and
            `groups` for the `split` of `cv`. With metadata routing, each goes where it
            was requested. With sample weights, the frequencies of the classes are the
            weighted ones.

        Returns
        -------
        self : object
            The fitted classifier.

        Raises
        ------
        ValueError
            If a prior does not fit the classes, a class has `trained_prior` 0, "auto"
            cannot tell the prior, or the folds suit neither `calibration` nor
            "held_out".
        """
        with fitting(self):
            self._fit(X, y, params)
        return self

    def predict_proba(self, X: ArrayLike) -> NDArray[np.float64]:
        """Return the probabilities of the classes under the target prior.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Samples, as `estimator` takes them.

        Returns
        -------
        proba : ndarray of shape (n_samples, n_classes)
            Probabilities in the order of `classes_`; each row sums to 1.
        """
        check_is_fitted(self)
        X = read_tensors(X)
        proba, prior = self.estimator_.predict_proba(X), self._moved_from
        if self._calibrators:
            train = resolve_target_prior("train", self.class_count_)
            proba, prior = move_prior(proba, prior, train), train
            proba = calibrate(proba, self._calibrators)
        return move_prior(proba, prior, self.target_prior_)

    def predict(self, X: ArrayLike) -> NDArray:
        """Return the most probable class under the target prior.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Samples, as `estimator` takes them.

        Returns
        -------
        y : ndarray of shape (n_samples,)
            Labels.
        """
        proba = self.predict_proba(X)
        return self.classes_[proba.argmax(axis=1)]

    def get_metadata_routing(self) -> MetadataRouter:
        """Return where metadata goes: to the fit of `estimator`, the split of `cv`.

        Returns
        -------
        routing : MetadataRouter
        """
        to_fit = MethodMapping().add(caller="fit", callee="fit")
        to_split = MethodMapping().add(caller="fit", callee="split")
        router = MetadataRouter(owner=self).add_self_request(self)
        router.add(estimator=self.estimator, method_mapping=to_fit)
        return router.add(splitter=self.cv, method_mapping=to_split)

    def _fit(self, X, y, params):
        self._calibrators = []
        X, y, classes, codes = check_passed(X, y)
        routed = self._route(params)
        weight = passed_weight(self.estimator, routed.estimator.fit, X)
        if not len(classes):
            raise ValueError("Found array with 0 sample(s): X and y are empty.")
        labels = Labels.of(y, classes, weight)
        target_prior = resolve_target_prior(self.target_prior, labels.mass)
        self._check_claim(labels, routed.estimator.fit)
        weight = np.ones(len(codes)) if weight is None else weight

        def cross_fit(splits):
            folds = self._cross_fit(X, y, how, splits)
            return HeldOut(folds, codes, weight)

        how = (classes, self.trained_prior, routed.estimator.fit)
        data = (X, y, classes, codes, routed.splitter.split.get("groups"))
        held_out = None
        if self.calibration is not None or self._claims("held_out"):
            # Errors of a fold name the class that is too small: they come first.
            held_out = cross_fit(self._make_splits(*data))
        estimator, prior = fit_recording(clone(self.estimator), X, y, *how)
        check_same_classes(estimator, classes)
        self.classes_, self.class_count_ = classes, labels.mass
        self.target_prior_, self.trained_prior_ = target_prior, prior
        self._moved_from = prior
        self.estimator_ = estimator
        self._check_held_out(held_out, cross_fit, data)
        copy_features(self, estimator)

    def _route(self, params):
        """Return which metadata goes to the classifier and which to the splitter."""
        params, groups = split_metadata(params)
        if _routing_enabled():
            return process_routing(self, "fit", **params, **groups)
        return Bunch(estimator=Bunch(fit=params), splitter=Bunch(split=groups))

    def _claims(self, name):
        """Tell whether `trained_prior` is this name, and not an array."""
        return isinstance(self.trained_prior, str) and self.trained_prior == name

    def _check_claim(self, labels, params):
        """Refuse a trained prior that is wrong or unknown, before any training."""
        pipeline = innermost(self.estimator)
        last = self.estimator if pipeline is None else pipeline.steps[-1][1]
        # Stacking has the method of its last classifier only once it is fitted.
        if not hasattr(last, "predict_proba") and not hasattr(last, "final_estimator"):
            raise ValueError(
                "The 'estimator' parameter of PriorCorrectedClassifier must have the "
                f"method predict_proba, and {type(last).__name__} has none."
            )
        check_unlabeled_arrives(self.estimator, params)
        if self._claims("auto"):
            if searches_sampler(self.estimator) and not params:
                return
            try:
                check_positive(trained_prior(last, labels), labels.classes)
            except ChosenPriorError:
                # A search will have chosen when the classifier is fitted.
                return
        else:
            resolve_claim(self.trained_prior, labels)

    def _make_splits(self, X, y, classes, codes, groups):
        """Return the folds of the calibration, or those that measure a prior."""
        cv = self.cv
        if self.calibration is None and (cv is None or isinstance(cv, Integral)):
            smallest = np.bincount(codes).max()
            cv = min(max(cv or 0, _MEASURING_FOLDS), max(smallest, 2))
        splits = held_out_splits(
            cv, X, y, codes, samples_needed(self.estimator), groups
        )
        check_splits(splits, classes, codes, self.calibration)
        if self._claims("held_out"):
            held_out = np.concatenate([test for _, test in splits])
            check_evidence(codes[held_out], classes)
        return [split for split in splits if len(split[1])]

    def _cross_fit(self, X, y, how, splits):
        """Return held-out indices, their probabilities and the prior of each fold."""
        (X,) = indexable(X)
        return Parallel(n_jobs=self.n_jobs)(
            delayed(fit_fold)(clone(self.estimator), X, y, *how, *split)
            for split in splits
        )

    def _check_held_out(self, held_out, cross_fit, data):
        """Check or measure the trained prior on held-out samples, and calibrate."""
        measures, found = self._claims("held_out"), []
        if self.check_prior and not measures:
            few_folds = held_out is None
            if few_folds:
                held_out = self._try(cross_fit, self._splits_of_check, data)
            found = self._mismatches(held_out)
            if found and few_folds:
                # A classifier trained on half of the samples may err more.
                held_out = self._try(cross_fit, self._make_splits, data) or held_out
                found = self._mismatches(held_out)
            measures = bool(found) and self._claims("auto")
        train = resolve_target_prior("train", self.class_count_)
        if measures:
            self._take_measured(held_out, train)
        if self.calibration is not None:
            proba = calibrate(held_out.proba(train), self._calibrators)
            self._calibrators.append(
                fit_calibrator(proba, held_out.codes, held_out.weight, self.calibration)
            )
        if found:
            is_moved = self.trained_prior_ is not self._moved_from
            taken = self.trained_prior_ if is_moved else None
            warn_of_mismatch(self.classes_, *found[0], taken)

    def _take_measured(self, held_out, train):
        """Take the prior that held-out samples show, unless "auto" loses by it."""
        measured, claim = held_out.measure(train), self.trained_prior_
        calibrated = measured(held_out.proba(train))
        if self._claims("auto") and held_out.loses_hits(calibrated, claim, train):
            return
        self.trained_prior_ = measured.correct(claim)
        self._calibrators.append(measured)

    def _splits_of_check(self, X, y, classes, codes, groups):
        """Return two folds, or none where each class has one sample."""
        if np.bincount(codes).max() < _CHECK_FOLDS:
            return []
        n_kept = samples_needed(self.estimator)
        splits = held_out_splits(_CHECK_FOLDS, X, y, codes, n_kept)
        return splits if all(len(test) for _, test in splits) else []

    def _try(self, cross_fit, make_splits, data):
        """Return held-out probabilities, or None where there is no way to them."""
        try:
            splits = make_splits(*data)
            return cross_fit(splits) if splits else None
        except ValueError as error:
            warn_user(f"The trained prior could not be checked: {error}")
            return None

    def _mismatches(self, held_out):
        """Return gross mismatches of the trained prior and of corrected ones."""
        if held_out is None:
            return []
        claim = self.trained_prior_
        train = resolve_target_prior("train", self.class_count_)
        found = [("trained", held_out.mismatch(claim, CLAIMED))]
        if self.calibration is None and not np.allclose(claim, train, rtol=0.01):
            found.append(("corrected", held_out.mismatch(train, CORRECTED)))
        return [(what, *worst) for what, worst in found if worst is not None]

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        inner = get_tags(self.estimator)
        tags.input_tags = inner.input_tags
        tags.non_deterministic = inner.non_deterministic
        if inner.classifier_tags is not None:
            tags.classifier_tags.multi_class = inner.classifier_tags.multi_class
        return tags
