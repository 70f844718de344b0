"""HardOverSampler against linear models, where the optimum is known."""

from collections import Counter

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from scipy.stats import chi
from sklearn.base import BaseEstimator, clone
from sklearn.ensemble import RandomForestClassifier
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.svm import SVC, LinearSVC
from sklearn.utils.validation import check_is_fitted
from torch import nn

from skcvae import CVAE, ClassGaussian, GenerativeOverSampler
from skcvae.long_tail import LongTailClassifier
from skcvae.over_sampling import HardOverSampler

MIXING = np.array([[2.0, 0, 0], [1, 1, 0], [0, -1, 0.5]])
X = np.random.RandomState(0).normal(size=(120, 3)) @ MIXING.T
y = np.repeat([0, 1, 2], [80, 30, 10])
X = X + np.array([[0, 0, 0], [2, 0, 1], [0, 3, 0]])[y]
# Two classes, so that one weight vector tells all.
X_2, y_2 = X[y < 2], y[y < 2]

pytestmark = pytest.mark.filterwarnings("ignore:The CVAE uses none of its latent")


def make_cvae(**params):
    settings = {"latent_dim": 2, "max_epochs": 150, "lr": 0.01, "device": "cpu"}
    settings["net_params"] = {"module__hidden_dim": 16}
    return CVAE(**{**settings, **params})


def make_sampler(generator=None, classifier=None, n_new=400, **params):
    params.setdefault("sampling_strategy", {0: 80 + n_new, 1: 30 + n_new})
    return HardOverSampler(generator, classifier, random_state=0, **params)


def new_rows(sampler, X=X, y=y):
    X_resampled, y_resampled = sampler.fit_resample(X, y)
    assert_array_equal(X_resampled[: len(X)], X)
    return X_resampled[len(X) :], y_resampled[len(y) :]


def cross_entropy(classifier, rows, labels):
    log_proba = classifier.predict_log_proba(rows)
    return -log_proba[np.arange(len(rows)), labels]


def pull(sampler):
    """Return the direction W w / |L' w| in which a latent step moves rows, in X."""
    generator = sampler.generator_
    w = sampler.classifier_.coef_[0] * generator.scale_
    along = generator.covariance_ @ w
    return generator.scale_ * along / np.sqrt(w @ along)


@pytest.mark.parametrize("quantile", [0.5, 0.99])
@pytest.mark.parametrize("variance", [1.0, 4.0])
def test_many_steps_reach_the_hardest_row_of_the_ball(quantile, variance):
    sampler = make_sampler(
        ClassGaussian(variance=variance),
        n_steps=400,
        stop_margin=None,
        density_quantile=quantile,
    )
    rows, labels = new_rows(sampler, X_2, y_2)
    radius = np.sqrt(variance) * chi.ppf(quantile, 3)
    centres = sampler.generator_._centres()
    # Class 0 is pulled towards large values of the decision function, 1 to small ones.
    sign = np.array([1, -1])[labels, None]
    expected = centres[labels] + sign * radius * pull(sampler)
    assert_allclose(rows, expected, atol=2e-3)
    assert sampler.share_at_floor_ == 1.0


def test_one_step_moves_every_row_along_the_same_vector():
    plain, _ = new_rows(make_sampler(n_steps=0, density_quantile=1.0), X_2, y_2)
    sampler = make_sampler(
        n_steps=1, step_size=0.7, stop_margin=None, density_quantile=1.0
    )
    moved, labels = new_rows(sampler, X_2, y_2)
    sign = np.array([1, -1])[labels, None]
    assert_allclose(moved - plain, 0.7 * sign * pull(sampler), atol=1e-4)


@pytest.mark.parametrize(
    "generator", [ClassGaussian(), ClassGaussian(variance={1: 3.0}), make_cvae()]
)
def test_no_step_and_no_floor_are_plain_draws(generator):
    sampler = make_sampler(generator, n_steps=0, density_quantile=1.0)
    rows, labels = new_rows(sampler)
    plain = GenerativeOverSampler(
        generator, sampling_strategy=sampler.sampling_strategy, random_state=0
    )
    X_plain, y_plain = plain.fit_resample(X, y)
    assert_allclose(rows, X_plain[120:], atol=1e-5)
    assert_array_equal(labels, y_plain[120:])
    assert sampler.max_norm_ == np.inf and sampler.share_at_floor_ == 0


CLASSIFIERS = {
    "logistic": LogisticRegression(max_iter=500),
    "long tail": LongTailClassifier(max_epochs=30, lr=0.1, device="cpu"),
    "mlp": LongTailClassifier(
        head="mlp", max_epochs=30, lr=0.01, device="cpu", random_state=0
    ),
}


@pytest.mark.parametrize(
    "generator", [ClassGaussian(), make_cvae()], ids=["gauss", "cvae"]
)
@pytest.mark.parametrize("classifier", CLASSIFIERS.values(), ids=CLASSIFIERS)
def test_losses_are_those_of_the_rows_and_rise(generator, classifier):
    sampler = make_sampler(generator, classifier)
    rows, labels = new_rows(sampler)
    loss = -np.log(sampler.classifier_.predict_proba(rows))[range(len(rows)), labels]
    assert_allclose(sampler.loss_after_, loss, rtol=1e-3, atol=1e-4)
    plain, _ = new_rows(clone(sampler).set_params(n_steps=0))
    before = -np.log(sampler.classifier_.predict_proba(plain))[range(len(rows)), labels]
    assert_allclose(sampler.loss_before_, before, rtol=1e-3, atol=1e-4)
    assert loss.mean() > before.mean() + 0.03


def test_with_linear_classifier_and_decoder_no_loss_falls():
    # A convex function never falls along a projected gradient step.
    sampler = make_sampler(n_steps=7, stop_margin=None)
    new_rows(sampler)
    assert (sampler.loss_after_ >= sampler.loss_before_ - 1e-6).all()
    assert (sampler.loss_after_ > sampler.loss_before_).mean() > 0.99


@pytest.mark.parametrize("quantile", [0.1, 0.9])
def test_density_floor_is_kept_exactly(quantile):
    generator = ClassGaussian(variance=[1.0, 2.0, 1.0])
    sampler = make_sampler(generator, density_quantile=quantile, stop_margin=None)
    rows, labels = new_rows(sampler)
    radius = chi.ppf(quantile, 3)
    assert sampler.max_norm_ == pytest.approx(radius)
    assert sampler.latent_norm_.max() <= sampler.max_norm_
    fitted = sampler.generator_
    z = (rows - fitted._centres()[labels]) / fitted.scale_
    mahalanobis = np.sqrt((z @ np.linalg.inv(fitted.covariance_) * z).sum(axis=1))
    norm = mahalanobis / np.sqrt([1.0, 2.0])[labels]
    assert_allclose(norm, sampler.latent_norm_, rtol=1e-3)
    assert norm.max() < radius * (1 + 1e-4)
    assert sampler.share_at_floor_ == np.mean(
        sampler.latent_norm_ > radius * (1 - 1e-5)
    )


def test_floor_is_that_of_a_share_of_plain_draws():
    sampler = make_sampler(n_steps=0, n_new=5000, density_quantile=0.8)
    new_rows(sampler)
    assert sampler.share_at_floor_ == pytest.approx(0.2, abs=0.02)


def margins(classifier, rows, labels):
    logits = classifier.decision_function(rows)
    own = logits[range(len(rows)), labels]
    logits[range(len(rows)), labels] = -np.inf
    return own - logits.max(axis=1)


@pytest.mark.parametrize("stop_margin", [0.0, 1.0, -0.5])
def test_rows_stop_at_the_margin(stop_margin):
    sampler = make_sampler(
        n_steps=60, step_size=0.05, stop_margin=stop_margin, density_quantile=0.999
    )
    rows, labels = new_rows(sampler)
    plain, _ = new_rows(clone(sampler).set_params(n_steps=0))
    classifier = sampler.classifier_
    before = margins(classifier, plain, labels)
    after = margins(classifier, rows, labels)
    stayed = before <= stop_margin - 1e-4
    assert 0.02 < stayed.mean() < 0.98
    assert_array_equal(rows[stayed], plain[stayed])
    # No row goes further past the margin than its last step.
    steepest = np.linalg.norm(np.ptp(classifier.coef_, axis=0)) * 0.05 * 3
    assert after[~stayed].min() > stop_margin - steepest
    assert (after[~stayed] <= stop_margin).mean() > 0.9


def test_a_module_and_the_model_it_was_made_of_agree():
    model = LogisticRegression(max_iter=500).fit(X, y)
    module = nn.Sequential(nn.Linear(3, 3), nn.Dropout(0.9))
    with torch.no_grad():
        module[0].weight.copy_(torch.tensor(model.coef_))
        module[0].bias.copy_(torch.tensor(model.intercept_))
    module.train()
    expected, _ = new_rows(make_sampler(classifier=FrozenEstimator(model)))
    found, _ = new_rows(make_sampler(classifier=module))
    assert_allclose(found, expected, atol=1e-5)
    assert module.training
    assert all(p.requires_grad and p.grad is None for p in module.parameters())


@pytest.mark.parametrize("loss, head", [("ldam", "auto"), ("focal", "mlp")])
def test_made_logits_are_the_probabilities_of_the_classifier(loss, head):
    rows = np.column_stack([X, np.full(len(X), 7.0)])
    classifier = LongTailClassifier(
        loss=loss, head=head, max_epochs=5, device="cpu", random_state=0
    ).fit(rows, y)
    rows[:, 3] = -1000
    x = torch.tensor(rows, dtype=torch.float32, requires_grad=True)
    logits = classifier.make_logits()(x)
    assert_allclose(
        logits.softmax(dim=1).detach(), classifier.predict_proba(rows), atol=1e-5
    )
    logits[:, 0].sum().backward()
    assert x.grad.isfinite().all() and x.grad[:, :3].abs().min() > 0
    with pytest.raises(NotFittedError):
        LongTailClassifier().make_logits()


def test_a_sure_classifier_has_a_gradient_all_the_same():
    # exp(-1000) is zero: the gradient of the cross-entropy would be, too.
    sure = LogisticRegression(max_iter=500).fit(X_2, y_2)
    sure.coef_ = sure.coef_ * 1000
    sure.intercept_ = sure.intercept_ * 1000
    frozen = FrozenEstimator(sure)
    sampler = make_sampler(classifier=frozen, stop_margin=None, density_quantile=1.0)
    moved, labels = new_rows(sampler, X_2, y_2)
    plain, _ = new_rows(clone(sampler).set_params(n_steps=0), X_2, y_2)
    sign = np.array([1, -1])[labels, None]
    assert_allclose(moved - plain, sign * pull(sampler), atol=1e-4)


def test_frozen_classifier_is_used_and_any_other_one_is_cloned():
    fitted = LogisticRegression(max_iter=500).fit(X[::2], y[::2])
    coef = fitted.coef_.copy()
    frozen = FrozenEstimator(fitted)
    sampler = make_sampler(classifier=frozen).fit(X, y)
    assert sampler.classifier_ is frozen
    assert clone(sampler).fit(X, y).classifier_ is frozen
    assert_array_equal(fitted.coef_, coef)
    unfitted = LogisticRegression(max_iter=500)
    for classifier in (unfitted, fitted):
        sampler = make_sampler(classifier=classifier).fit(X, y)
        assert_allclose(sampler.classifier_.coef_, clone(unfitted).fit(X, y).coef_)
    assert_array_equal(fitted.coef_, coef)
    with pytest.raises(NotFittedError):
        check_is_fitted(unfitted)
    default = make_sampler().fit(X, y).classifier_
    balanced = LogisticRegression(class_weight="balanced", max_iter=1000)
    assert_allclose(default.coef_, balanced.fit(X, y).coef_)


def test_classes_are_matched_by_name():
    names = np.array(["mole", "ape", "zebra"])
    more = LogisticRegression(max_iter=500).fit(
        np.concatenate([X, X[:20] + 9]), np.concatenate([names[y], 20 * ["cow"]])
    )
    sampler = make_sampler(
        classifier=FrozenEstimator(more),
        sampling_strategy={"mole": 300, "ape": 200},
        n_steps=3,
    )
    rows, labels = new_rows(sampler, X, names[y])
    assert Counter(labels.tolist()) == {"mole": 220, "ape": 170}
    column = np.searchsorted(more.classes_, labels)
    # The class that y lacks takes no part.
    logits = more.decision_function(rows)[:, [0, 2, 3]]
    column = np.searchsorted(["ape", "mole", "zebra"], labels)
    own = logits[range(len(rows)), column]
    assert_allclose(
        sampler.loss_after_, np.logaddexp.reduce(logits, axis=1) - own, atol=1e-4
    )


@pytest.mark.parametrize(
    "model", [LinearSVC(), LogisticRegression(fit_intercept=False)], ids=repr
)
def test_linear_models_of_two_classes(model):
    sampler = make_sampler(classifier=model)
    rows, labels = new_rows(sampler, X_2, y_2)
    signed = np.where(labels == 1, 1, -1) * sampler.classifier_.decision_function(rows)
    assert_allclose(sampler.loss_after_, np.log1p(np.exp(-signed)), atol=1e-4)


REFUSED = {
    "no gradient": (RandomForestClassifier(n_estimators=2), "gives no gradient"),
    "a row for each pair": (SVC(kernel="linear"), "gives no gradient"),
    "other features": (
        FrozenEstimator(LogisticRegression().fit(X[:, :2], y)),
        "fitted to 2 features, and X has 3",
    ),
    "lacks a class": (
        FrozenEstimator(LogisticRegression().fit(X_2, y_2)),
        r"without the classes \[2\]",
    ),
    "too many logits": (nn.Linear(3, 4), r"3 classes.*shape \(2, 4\)"),
    "features of a module": (nn.Linear(2, 3), "does not take samples of 3 features"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused_before_the_generator_is_trained(case, monkeypatch):
    monkeypatch.setattr(ClassGaussian, "_fit", lambda *args: pytest.fail("trained"))
    classifier, message = REFUSED[case]
    sampler = make_sampler(classifier=classifier)
    for method in (sampler.fit, sampler.fit_resample):
        with pytest.raises(ValueError, match=message):
            method(X, y)


def test_logits_that_are_not_finite_are_refused():
    module = nn.Linear(3, 3)
    nn.init.constant_(module.weight, torch.nan)
    with pytest.raises(ValueError, match="not finite"):
        make_sampler(classifier=module).fit_resample(X, y)


@pytest.mark.parametrize("generator", [ClassGaussian(), make_cvae(max_epochs=2)])
def test_seeds_reproduce_with_any_number_of_threads(generator):
    sampler = make_sampler(generator, n_new=3000)
    expected, _ = new_rows(sampler)
    losses = sampler.loss_after_
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        again = clone(sampler)
        assert_allclose(new_rows(again)[0], expected, atol=1e-4)
        assert_allclose(again.loss_after_, losses, atol=1e-3)
    finally:
        torch.set_num_threads(before)
    assert_array_equal(new_rows(clone(sampler))[0], expected)
    other = clone(sampler).set_params(random_state=1)
    assert not np.array_equal(new_rows(other)[0], expected)


def test_frames_come_back_and_balanced_rows_as_they_are():
    frame = pd.DataFrame(X, columns=list("abc")).astype({"b": np.float32})
    labels = pd.Series(np.array(["x", "y", "z"])[y], name="class")
    sampler = HardOverSampler(random_state=0)
    X_resampled, y_resampled = sampler.fit_resample(frame, labels)
    pd.testing.assert_series_equal(X_resampled.dtypes, frame.dtypes)
    pd.testing.assert_frame_equal(X_resampled[:120], frame)
    assert Counter(y_resampled) == {"x": 80, "y": 80, "z": 80}
    assert len(sampler.loss_after_) == 120
    balanced = sampler.fit_resample(X[70:110], np.tile([0, 1], 20))
    assert_array_equal(balanced[0], X[70:110])
    assert len(sampler.loss_after_) == 0 and sampler.share_at_floor_ == 0


def test_one_training_serves_all_strengths(tmp_path, monkeypatch):
    fits = []
    fit = ClassGaussian._fit
    monkeypatch.setattr(
        ClassGaussian, "_fit", lambda *args: (fits.append(1), fit(*args))[1]
    )
    for n_steps in (0, 2):
        sampler = make_sampler(memory=str(tmp_path), n_steps=n_steps)
        sampler.fit_resample(X, y)
    assert len(fits) == 1


class Bootstrap(BaseEstimator):
    """A generator that is none of ours: training samples of the class, with noise."""

    def fit(self, X, y):
        self.X_, self.y_ = X, y
        return self

    def sample(self, n_samples=None, *, y=None, random_state=None):
        rng = np.random.RandomState(random_state)
        places = [rng.choice(np.flatnonzero(self.y_ == label)) for label in y]
        return self.X_[places] + 0.3 * rng.normal(size=(len(y), 3)), np.asarray(y)


NO_DECODER = "Bootstrap has no decoder: each sample is the hardest of 6 plain draws"
ignore_no_decoder = pytest.mark.filterwarnings("ignore:Bootstrap has no decoder")


def test_without_a_decoder_the_warning_names_it_and_attributes_are_missing():
    sampler = make_sampler(Bootstrap())
    with pytest.warns(UserWarning, match=NO_DECODER) as record:
        _, labels = sampler.fit_resample(X, y)
    assert [warning.filename for warning in record] == [__file__]
    assert Counter(labels.tolist()) == {0: 480, 1: 430, 2: 10}
    assert len(sampler.loss_before_) == len(sampler.loss_after_) == 800
    for name in ("latent_norm_", "max_norm_", "share_at_floor_"):
        assert not hasattr(sampler, name)
    # Those of an earlier generator do not stay.
    new_rows(sampler.set_params(generator=None))
    assert hasattr(sampler, "max_norm_")
    with pytest.warns(UserWarning, match=NO_DECODER):
        sampler.set_params(generator=Bootstrap()).fit_resample(X, y)
    assert not hasattr(sampler, "max_norm_")


@ignore_no_decoder
@pytest.mark.parametrize("classifier", CLASSIFIERS.values(), ids=CLASSIFIERS)
def test_without_a_decoder_samples_are_harder_than_plain_draws(classifier):
    sampler = make_sampler(Bootstrap(), classifier, stop_margin=None)
    chosen, labels = new_rows(sampler)
    fitted = sampler.classifier_
    loss = -np.log(fitted.predict_proba(chosen))[range(len(chosen)), labels]
    assert_allclose(sampler.loss_after_, loss, rtol=1e-3, atol=1e-4)
    plain = make_sampler(Bootstrap(), classifier, n_steps=0)
    first, _ = new_rows(plain)
    before = -np.log(fitted.predict_proba(first))[range(len(first)), labels]
    assert_allclose(sampler.loss_before_, before, rtol=1e-3, atol=1e-4)
    assert_array_equal(plain.loss_before_, plain.loss_after_)
    assert (sampler.loss_after_ >= sampler.loss_before_).all()
    assert loss.mean() > before.mean() + 0.2


@ignore_no_decoder
@pytest.mark.parametrize("stop_margin", [0.0, 1.0, -0.5])
def test_without_a_decoder_no_sample_is_chosen_beyond_the_margin(stop_margin):
    sampler = make_sampler(Bootstrap(), n_steps=30, stop_margin=stop_margin)
    chosen, labels = new_rows(sampler)
    first, _ = new_rows(clone(sampler).set_params(n_steps=0))
    before = margins(sampler.classifier_, first, labels)
    after = margins(sampler.classifier_, chosen, labels)
    beyond = before <= stop_margin
    assert 0.02 < beyond.mean() < 0.98
    assert_array_equal(chosen[beyond], first[beyond])
    assert after[~beyond].min() >= stop_margin - 1e-4
    assert (chosen != first).any(axis=1)[~beyond].mean() > 0.9


@ignore_no_decoder
def test_without_a_decoder_the_same_seed_chooses_the_same_samples():
    sampler = make_sampler(Bootstrap())
    expected, _ = new_rows(sampler)
    assert_array_equal(new_rows(clone(sampler))[0], expected)
    other = clone(sampler).set_params(random_state=1)
    assert not np.array_equal(new_rows(other)[0], expected)
    frozen = FrozenEstimator(Bootstrap().fit(X, y))
    of_frozen = clone(sampler).set_params(generator=frozen)
    assert_array_equal(new_rows(of_frozen)[0], expected)
    assert of_frozen.generator_ is frozen


def test_seeds_of_generator_and_classifier_follow_the_rule():
    head = LongTailClassifier(max_epochs=1, device="cpu")
    sampler = make_sampler(ClassGaussian(random_state=1), head).fit(X, y)
    assert sampler.generator_.random_state == 1
    assert sampler.classifier_.random_state not in (None, 1)
    sampler.set_params(classifier__random_state=7).fit(X, y)
    assert sampler.classifier_.random_state == 7
    sampler.set_params(random_state=None, classifier__random_state=None).fit(X, y)
    assert sampler.classifier_.random_state is None
    expected, _ = new_rows(make_sampler(ClassGaussian(random_state=1)))
    other = make_sampler(ClassGaussian(random_state=1)).set_params(random_state=4)
    assert_array_equal(new_rows(other)[0], expected)


def test_a_frozen_generator_is_used_as_it_is():
    frozen = FrozenEstimator(ClassGaussian(random_state=0).fit(X, y))
    sampler = make_sampler(frozen)
    expected, _ = new_rows(make_sampler(ClassGaussian(random_state=0)))
    assert_array_equal(new_rows(sampler)[0], expected)
    assert sampler.generator_ is frozen
