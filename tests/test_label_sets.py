"""Generators of label sets, against closed forms, and who refuses them."""

import copy
import pickle

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import sparse
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression, Ridge

import skcvae
from skcvae._generation import draw, fit_generator
from skcvae._label_sets import unique_label_sets
from skcvae.generators import CVAE, VAE, ClassGaussian, early_stopping
from skcvae.generators._label_effects import (
    fit_label_effects,
    leave_one_out_of_sets,
)
from skcvae.long_tail import LongTailClassifier
from skcvae.over_sampling import GenerativeOverSampler

N_LABELS = 6
FAST_CVAE = CVAE(max_epochs=3, latent_dim=4, hidden_dim=32, random_state=0)
BOTH = pytest.mark.parametrize(
    "generator",
    [ClassGaussian(random_state=0), FAST_CVAE],
    ids=["ClassGaussian", "CVAE"],
)


def additive(n_samples=3000, n_features=8, seed=0):
    """Return samples, label sets, the mean without labels, and effects of labels."""
    rng = np.random.RandomState(seed)
    share = np.array([0.5, 0.3, 0.3, 0.2, 0.1, 0.05])
    Y = (rng.uniform(size=(n_samples, N_LABELS)) < share).astype(int)
    Y[(Y[:, 4] == 1) & (Y[:, 5] == 1), 5] = 0  # never together
    intercept = rng.normal(size=n_features)
    effects = rng.normal(size=(N_LABELS, n_features))
    X = intercept + Y @ effects + rng.normal(size=(n_samples, n_features))
    return X, Y, intercept, effects


def unscaled(generator):
    """Return intercept and effects in the units of the samples."""
    intercept = generator.offset_ + generator.intercept_ * generator.scale_
    return intercept, generator.label_effects_ * generator.scale_


def test_effects_are_those_of_ridge_regression_with_a_free_intercept():
    X, Y, _, _ = additive(300)
    generator = ClassGaussian().fit(X, Y)
    intercept, effects = unscaled(generator)
    ridge = Ridge(alpha=generator.mean_shrinkage_).fit(Y, X)
    np.testing.assert_allclose(effects, ridge.coef_.T, atol=1e-8)
    np.testing.assert_allclose(intercept, ridge.intercept_, atol=1e-8)


def test_amount_of_shrinkage_is_the_ratio_of_variances():
    rng = np.random.RandomState(0)
    Y = rng.uniform(size=(4000, 60)) < 0.1
    for ratio in (2.0, 20.0):
        effects = rng.normal(size=(60, 20)) / np.sqrt(ratio)
        X = Y @ effects + rng.normal(size=(4000, 20))
        found = ClassGaussian().fit(X, Y).mean_shrinkage_
        assert found == pytest.approx(ratio, rel=0.25)
    X = rng.normal(size=(4000, 20))
    assert ClassGaussian().fit(X, Y).mean_shrinkage_ > 200


def test_means_of_frequent_sets_are_within_three_standard_errors():
    X, Y, intercept, effects = additive()
    generator = ClassGaussian().fit(X, Y)
    frequent = generator.class_count_ >= 100
    assert frequent.sum() >= 5
    sets = generator.label_sets_[frequent]
    means = generator.offset_ + generator.class_means_[frequent] * generator.scale_
    error = 1 / np.sqrt(generator.class_count_[frequent])[:, None]
    assert (np.abs(means - intercept - sets @ effects) < 3 * error).all()


@BOTH
def test_unseen_sets_are_drawn_around_the_sum_of_effects(generator):
    X, Y, intercept, effects = additive()
    generator = clone(generator).fit(X, Y)
    wanted = np.zeros((2000, N_LABELS), dtype=int)
    wanted[:, 4:] = 1
    with pytest.warns(UserWarning, match="1 of 1 label sets are not among"):
        drawn, labels = generator.sample(y=wanted)
    np.testing.assert_array_equal(labels, wanted)
    expected = intercept + effects[4] + effects[5]
    assert np.abs(drawn.mean(axis=0) - expected).max() < 0.6
    assert np.abs(effects[4] + effects[5]).max() > 1.5


@BOTH
def test_one_hot_sets_give_the_results_of_classes(generator):
    X, _, _, effects = additive(400)
    y = np.random.RandomState(1).randint(0, N_LABELS, 400)
    y[y == 2] = 3  # a label without samples
    X = X + 2 * effects[y]
    Y = np.eye(N_LABELS, dtype=int)[y]
    by_class = clone(generator).fit(X, y)
    with pytest.warns(UserWarning, match="1 of 6 labels have no training sample"):
        by_set = clone(generator).fit(X, Y)
    expected, _ = by_class.sample(y=y[:60])
    drawn, _ = by_set.sample(y=Y[:60])
    np.testing.assert_allclose(drawn, expected, rtol=1e-5, atol=1e-5)
    if isinstance(generator, CVAE):
        losses = by_class.history_[:, "train_loss"]
        assert by_set.history_[:, "train_loss"] == losses


@BOTH
def test_containers_give_the_same_samples(generator):
    X, Y, _, _ = additive(200)
    expected, _ = clone(generator).fit(X, Y).sample(y=Y[:20])
    names = list("abcdef")
    for made in (
        Y.astype(bool),
        Y.astype(float),
        sparse.csr_array(Y),
        pd.DataFrame(Y, columns=names),
        Y.tolist(),
    ):
        fitted = clone(generator).fit(X, made)
        drawn, labels = fitted.sample(y=made[:20])
        np.testing.assert_array_equal(drawn, expected)
        np.testing.assert_array_equal(labels, Y[:20])
    fitted = clone(generator).fit(X, pd.DataFrame(Y, columns=names))
    assert fitted.classes_.tolist() == names
    with pytest.raises(ValueError, match="columns of y are not the labels of fit"):
        fitted.sample(y=pd.DataFrame(Y[:5], columns=names[::-1]))


def test_order_of_labels_and_samples_does_not_matter():
    X, Y, _, _ = additive(300)
    labels, samples = [3, 1, 5, 0, 2, 4], np.random.RandomState(0).permutation(300)
    plain = ClassGaussian().fit(X, Y)
    turned = ClassGaussian().fit(X[samples], Y[samples][:, labels])
    np.testing.assert_allclose(
        turned.label_effects_, plain.label_effects_[labels], atol=1e-8
    )
    np.testing.assert_allclose(turned.covariance_, plain.covariance_, atol=1e-8)


@BOTH
def test_drawn_sets_are_those_of_training(generator):
    X, Y, _, _ = additive(400)
    generator = clone(generator).fit(X, Y)
    drawn, sets = generator.sample(4000)
    assert drawn.shape == (4000, X.shape[1])
    np.testing.assert_allclose(sets.mean(axis=0), Y.mean(axis=0), atol=0.04)
    known = {tuple(row) for row in Y}
    assert {tuple(row) for row in sets} <= known
    assert len(generator.sample()[0]) == len(X)


@BOTH
def test_drawing_changes_nothing_and_repeats(generator):
    X, Y, _, _ = additive(200)
    generator = clone(generator).fit(X, Y)
    before = pickle.dumps(generator)
    first, _ = generator.sample(y=Y[:9])
    np.testing.assert_array_equal(generator.sample(y=Y[:9])[0], first)
    assert pickle.dumps(generator) == before
    copied = pickle.loads(before)
    np.testing.assert_array_equal(copied.sample(y=Y[:9])[0], first)
    np.testing.assert_array_equal(copy.deepcopy(generator).sample(y=Y[:9])[0], first)
    drawn, _ = draw(generator, Y[:9])
    np.testing.assert_array_equal(drawn, first)


@BOTH
def test_a_set_without_labels_has_the_mean_of_the_intercept(generator):
    X, Y, intercept, _ = additive()
    drawn, _ = clone(generator).fit(X, Y).sample(y=np.zeros((1500, N_LABELS)))
    assert np.abs(drawn.mean(axis=0) - intercept).max() < 0.3


def test_variance_auto_is_larger_for_rare_sets():
    X, Y, _, _ = additive(200)
    generator = ClassGaussian(variance="auto").fit(X, Y)
    view = generator._for_label_sets(generator.label_sets_)
    variance = view._auto_variance()
    design = Y - Y.mean(axis=0)
    inverse = np.linalg.inv(
        design.T @ design + generator.mean_shrinkage_ * np.eye(N_LABELS)
    )
    away = generator.label_sets_ - Y.mean(axis=0)
    expected = 1 + 1 / len(X) + np.sum(away @ inverse * away, axis=1)
    np.testing.assert_allclose(variance, expected)
    assert np.isfinite(generator.sample(y=Y)[0]).all()


def test_decoded_samples_lie_at_the_means():
    X, Y, _, _ = additive(200)
    generator = ClassGaussian().fit(X, Y)
    latent = np.zeros((5, X.shape[1]))
    intercept, effects = unscaled(generator)
    np.testing.assert_allclose(
        generator.decode(latent, Y[:5]), intercept + Y[:5] @ effects, atol=1e-5
    )


@pytest.mark.parametrize(
    ("Y", "message"),
    [
        (np.full((20, 3), 2), "0 and 1 alone"),
        (np.full((20, 3), np.nan), "0 and 1 alone"),
        (np.full((20, 3), "a"), "0 and 1 alone"),
        (np.ones((19, 3)), "inconsistent numbers of samples"),
        (np.zeros((20, 3)), "holds zeros only"),
    ],
)
def test_faulty_label_sets_are_refused(Y, message):
    X = np.random.RandomState(0).normal(size=(20, 4))
    with pytest.raises(ValueError, match=message):
        ClassGaussian().fit(X, Y)


@pytest.mark.parametrize(
    "Y", [np.full((20, 3), "1"), np.full((20, 3), "1", object), np.ones((20, 3)) * 1j]
)
def test_strings_and_complex_numbers_are_no_labels(Y):
    X = np.random.RandomState(0).normal(size=(20, 4))
    with pytest.raises(ValueError, match="0 and 1 alone"):
        ClassGaussian().fit(X, Y)


def test_names_of_labels_are_strings_or_integers():
    X, Y, _, _ = additive(60)
    numbered = pd.DataFrame(Y, columns=[10, 20, 30, 40, 50, 60])
    assert ClassGaussian().fit(X, numbered).classes_.tolist() == list(numbered)
    generator = ClassGaussian(random_state=0).fit(X, pd.DataFrame(Y))
    with pytest.raises(ValueError, match=r"labels of fit, in their order: \[0, 1, 2"):
        generator.sample(y=pd.DataFrame(Y)[[5, 4, 3, 2, 1, 0]])
    for names in (list("aabcde"), [1, 1, 2, 3, 4, 5]):
        with pytest.raises(ValueError, match=r"Several columns of y have the names"):
            generator.fit(X, pd.DataFrame(Y, columns=names))


@BOTH
def test_variances_of_single_sets_are_refused(generator):
    X, Y, _, _ = additive(60)
    generator = clone(generator).fit(X, Y)
    n_drawn = len(np.unique(Y[:9], axis=0))
    for variance in ({0: 2.0}, np.ones(n_drawn)):
        with pytest.raises(ValueError, match="variance must be one number"):
            generator.sample(y=Y[:9], variance=variance)
    with pytest.raises(ValueError, match="variance must be one number"):
        generator.set_params(variance={0: 2.0}).sample(9)


def test_sets_that_do_not_differ_are_drawn_around_their_mean(recwarn):
    X, _, _, _ = additive(400)
    generator = ClassGaussian(random_state=0).fit(X, np.ones((400, 2)))
    assert not len(recwarn)
    assert generator.mean_shrinkage_ == np.inf
    drawn, _ = generator.sample(4000)
    np.testing.assert_allclose(drawn.mean(axis=0), X.mean(axis=0), atol=0.2)


def test_validation_samples_have_label_sets():
    X, Y, _, _ = additive(200)
    common = np.array([(row == Y).all(axis=1).sum() > 5 for row in Y])
    X_val, Y_val = X[common][:20] + 0.1, Y[common][:20]

    def fit(Y_val):
        net_params = early_stopping(X_val, Y_val, patience=2)
        return clone(FAST_CVAE).set_params(net_params=net_params).fit(X, Y)

    assert "valid_loss" in fit(Y_val).history_[-1]
    # The loss is that of the sets, and not of codes 0 and 1.
    sets, codes = unique_label_sets(Y.astype(bool))
    chosen = Y_val.copy()
    chosen[:] = sets[np.bincount(codes).argmax()]
    assert fit(chosen).history_[0, "valid_loss"] != fit(Y_val).history_[0, "valid_loss"]
    with pytest.raises(ValueError, match="at least two labels"):
        fit(Y_val[:, 0])
    with pytest.raises(ValueError, match="20 of 20 validation samples have label sets"):
        fit(np.ones_like(Y_val))


def test_weights_of_classes_are_refused():
    X, Y, _, _ = additive(60)
    n_sets = len(np.unique(Y, axis=0))
    net_params = {"criterion__class_weight": np.ones(n_sets)}
    with pytest.raises(ValueError, match="is for classes"):
        clone(FAST_CVAE).set_params(net_params=net_params).fit(X, Y)


def test_a_frozen_generator_of_label_sets_draws_no_classes():
    X, Y, _, _ = additive(60)
    frozen = FrozenEstimator(ClassGaussian().fit(X, Y))
    for wrapper in (GenerativeOverSampler(frozen), LongTailClassifier(frozen)):
        act = getattr(wrapper, "fit_resample", wrapper.fit)
        with pytest.raises(ValueError, match="The frozen ClassGaussian draws label"):
            act(X, Y.sum(axis=1))


def test_one_hot_classes_may_be_sparse():
    X, Y, _, _ = additive(60)
    one_hot = np.eye(2, dtype=int)[Y[:, 0]]
    sampler = GenerativeOverSampler(random_state=0)
    expected = sampler.fit_resample(X, one_hot)
    found = sampler.fit_resample(X, sparse.csr_array(one_hot))
    np.testing.assert_array_equal(found[0], expected[0])
    with pytest.raises(ValueError, match="MultilabelOverSampler"):
        sampler.fit_resample(X, sparse.csr_array(Y))


def test_one_column_is_a_class():
    X, Y, _, _ = additive(60)
    with pytest.warns(match="column-vector"):
        generator = ClassGaussian().fit(X, Y[:, :1])
    assert not hasattr(generator, "label_sets_")


@pytest.mark.parametrize(
    "generator",
    [
        ClassGaussian(covariance_type="full"),
        ClassGaussian(variance={0: 2.0}),
        CVAE(objective="reference"),
        CVAE(hidden_dim="auto"),
        VAE(),
    ],
    ids=repr,
)
def test_what_is_for_classes_only_is_refused(generator):
    X, Y, _, _ = additive(60)
    with pytest.raises(ValueError, match="several labels"):
        generator.fit(X, Y)


def test_classes_after_label_sets_leave_nothing_behind():
    X, Y, _, _ = additive(100)
    generator = ClassGaussian(random_state=0).fit(X, Y).fit(X, Y[:, 0])
    plain = ClassGaussian(random_state=0).fit(X, Y[:, 0])
    np.testing.assert_array_equal(generator.sample(9)[0], plain.sample(9)[0])


def others():
    """Return an instance of each public estimator that takes classes only."""
    taking = {"ClassGaussian", "CVAE", "GenerativeAnonymizer", "CVAEAnonymizer"}
    for module in ("generators", "over_sampling", "long_tail", "anonymization"):
        package = getattr(skcvae, module)
        for name in package.__all__:
            kind = getattr(package, name)
            multilabel = name.startswith(("Base", "Multilabel")) or name in taking
            if not isinstance(kind, type) or multilabel:
                continue
            if hasattr(kind, "fit_resample") or hasattr(kind, "fit"):
                yield name, kind


OTHERS = dict(others())


@pytest.mark.parametrize("name", list(OTHERS))
def test_all_others_name_what_takes_label_sets(name):
    kind = OTHERS[name]
    X, Y, _, _ = additive(60)
    Y[0] = 0
    sampler, classifier = GenerativeOverSampler(), LogisticRegression()
    given = {
        "ProgressiveOverSampler": [[("first", sampler)]],
        "QualityFilter": [sampler],
        "ResampledClassifier": [sampler, classifier],
        "PriorCorrectedClassifier": [classifier],
        "EnsembleOverSampler": [[("first", sampler)]],
    }
    estimator = kind(*given.get(name, ()))
    if name == "QualityFilter":
        estimator.set_params(quantile=0.1)
    act = getattr(estimator, "fit_resample", None) or estimator.fit
    with pytest.raises(ValueError, match="MultilabelOverSampler"):
        act(X, Y)


def test_reconstructions_and_ways_of_label_sets():
    X, Y, _, _ = additive(200)
    generator = clone(FAST_CVAE).fit(X, Y)
    decoded = generator.decode(generator.encode(X, Y), Y)
    np.testing.assert_array_equal(generator.reconstruct(X, Y), decoded)
    one = generator.reconstruct(X[:1], Y[:1])
    np.testing.assert_allclose(one, decoded[:1], rtol=1e-5, atol=1e-5)
    for labels in (Y[:2], sparse.csr_array(Y[:2])):
        ways = generator.interpolate(X[:2], X[2:4], labels, n_steps=3)
        np.testing.assert_allclose(ways[:, 0], decoded[:2], rtol=1e-5, atol=1e-5)


def test_residuals_are_those_of_fits_without_the_sample():
    X, Y, _, _ = additive(60)
    sets, codes = unique_label_sets(Y.astype(bool))
    means, effects = fit_label_effects(X, sets, codes)
    found = leave_one_out_of_sets(X, sets, codes, effects, dtype=float)
    for i in range(5):
        kept = np.arange(len(X)) != i
        ridge = Ridge(alpha=means.k0).fit(Y[kept], X[kept])
        np.testing.assert_allclose(
            found[i], X[i] - ridge.predict(Y[i : i + 1])[0], atol=1e-8
        )


def test_more_labels_than_samples_stay_finite():
    rng = np.random.RandomState(0)
    X, Y = rng.normal(size=(12, 5)), rng.uniform(size=(12, 40)) < 0.4
    with pytest.warns(UserWarning):
        drawn, _ = ClassGaussian(random_state=0).fit(X, Y).sample(y=np.eye(40))
    assert np.isfinite(drawn).all()


@BOTH
def test_no_label_sets_give_no_samples(generator):
    X, Y, _, _ = additive(60)
    drawn, labels = clone(generator).fit(X, Y).sample(y=Y[:0])
    assert drawn.shape == (0, X.shape[1])
    assert labels.shape == (0, N_LABELS)


@BOTH
def test_classes_are_refused_after_label_sets(generator):
    X, Y, _, _ = additive(60)
    fitted = clone(generator).fit(X, Y)
    with pytest.raises(ValueError, match="at least two labels"):
        fitted.sample(y=Y[:, 0])
    with pytest.raises(ValueError, match="4 labels, and 6 were known"):
        fitted.sample(y=Y[:, :4])


@BOTH
def test_a_cache_keeps_label_sets(generator, tmp_path):
    X, Y, _, _ = additive(60)
    fitted = [
        fit_generator(clone(generator), X, Y, str(tmp_path)).sample(y=Y)[0]
        for _ in range(2)
    ]
    np.testing.assert_array_equal(*fitted)
    other = fit_generator(clone(generator), X, Y[:, ::-1].copy(), str(tmp_path))
    assert not np.array_equal(other.sample(y=Y[:, ::-1])[0], fitted[0])


def test_streams_take_label_sets():
    X, Y, intercept, effects = additive()
    generator = ClassGaussian().fit(X, Y)
    sets = np.eye(N_LABELS, dtype=int)[:2]
    stream = generator.make_stream(sets, torch.device("cpu"))
    codes = torch.repeat_interleave(torch.arange(2), 2000)
    drawn = stream(codes, torch.Generator().manual_seed(0)).numpy()
    for code in range(2):
        mean = drawn[2000 * code :][:2000].mean(axis=0)
        assert np.abs(mean - intercept - effects[code]).max() < 0.4
