"""Variance and share of generated samples as functions of the epoch."""

import pickle

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import BaseEstimator, clone
from skorch.callbacks import EarlyStopping
from skorch.dataset import ValidSplit
from skorch.helper import predefined_split
from torch import nn

from skcvae.generators import ClassGaussian, early_stopping
from skcvae.long_tail import EpochSchedule, LongTailClassifier, ValidationSchedule
from skcvae.long_tail._priors import augment_probability, effective_prior

SIZES = np.array([60, 30, 12, 5])
X = (
    np.random.RandomState(0).normal(size=(107, 4))
    + 3 * np.eye(4)[np.repeat(np.arange(4), SIZES)]
)
y = np.repeat(np.arange(4), SIZES)
X_val = (
    np.random.RandomState(1).normal(size=(40, 4))
    + 3 * np.eye(4)[np.repeat(np.arange(4), 10)]
)
SPLIT = {
    "train_split": predefined_split(
        [*zip(X_val, np.repeat(np.arange(4), 10), strict=True)]
    )
}


def make(**params):
    defaults = {
        "max_epochs": 5,
        "batch_size": 32,
        "lr": 0.05,
        "solver": "sgd",
        "device": "cpu",
        "random_state": 0,
    }
    return LongTailClassifier(**{**defaults, **params})


class Noting(BaseEstimator):
    """Generator that notes what it is asked for."""

    asked: list = []

    def fit(self, X, y):
        self.shape_ = X.shape[1]
        return self

    def sample(self, n_samples=None, *, y=None, variance=None, random_state=None):
        self.asked.append((variance, len(y), random_state))
        return np.zeros((len(y), self.shape_)), y


@pytest.fixture
def asked():
    Noting.asked = []
    return Noting.asked


def test_shapes_by_hand():
    epochs = range(5)
    linear, cosine = (EpochSchedule(1.0, 3.0, shape) for shape in ("linear", "cosine"))
    assert [linear(e, 5) for e in epochs] == [1, 1.5, 2, 2.5, 3]
    # (1 - cos(pi / 4)) / 2 of the way after a quarter of the epochs.
    expected = [1, 2 - 0.5**0.5, 2, 2 + 0.5**0.5, 3]
    assert_allclose([cosine(e, 5) for e in epochs], expected)
    assert linear(0, 1) == cosine(0, 1) == 1
    for schedule in (EpochSchedule(0.1, 0.3), EpochSchedule(0.3, 0.1)):
        assert all(0.1 <= schedule(epoch, 8) <= 0.3 for epoch in range(8))


def test_the_value_moves_on_while_the_loss_falls():
    schedule = ValidationSchedule(2.0, 1.0, n_steps=4)
    losses = [0.9, 0.7, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3]
    values = [schedule(e, 9, losses[:e]) for e in range(9)]
    assert values == [2, 1.75, 1.5, 1.5, 1.5, 1.25, 1, 1, 1]


def test_a_generator_is_asked_for_the_variance_of_the_epoch(asked):
    make(generator=Noting(), variance=EpochSchedule(1.0, 3.0)).fit(X, y)
    assert sorted({variance for variance, _, _ in asked}) == [1, 1.5, 2, 2.5, 3]
    assert [variance for variance, _, _ in asked] == sorted(v for v, _, _ in asked)
    # Each epoch draws anew.
    assert len({seed for *_, seed in asked}) == len(asked)


def test_functions_of_the_epoch_may_return_what_variance_may_be(asked):
    by_epoch = ["auto", {3: 2.0}, [1.0, 2.0, 3.0, 4.0], 0.5, 1]
    seen = []

    def variance(epoch, n_epochs):
        seen.append((epoch, n_epochs))
        return by_epoch[epoch]

    make(generator=Noting(), variance=variance).fit(X, y)
    assert list(dict.fromkeys(map(str, (v for v, *_ in asked)))) == [
        str(value) for value in by_epoch
    ]
    assert set(seen) == {(epoch, 5) for epoch in range(5)}


def test_the_share_follows_the_epoch(asked):
    shares = [0.0, 1.0, 0.0, 0.5, 1.0]

    def share(epoch, n_epochs):
        return shares[epoch]

    # The variance is only there to tell the epochs apart.
    make(
        generator=Noting(),
        p_min=share,
        p_max=share,
        variance=lambda epoch, n_epochs: float(epoch),
    ).fit(X, y)
    drawn = np.zeros(5)
    for variance, n_samples, _ in asked:
        drawn[int(variance)] += n_samples
    assert_array_equal(drawn[[0, 1, 2, 4]], [0, 107, 0, 107])
    assert abs(drawn[3] - 107 / 2) < 4 * np.sqrt(107) / 2


def test_constant_schedules_train_as_numbers_do():
    constant = make(p_min=0.3, p_max=0.6, variance=1.5).fit(X, y)
    schedule = make(
        p_min=EpochSchedule(0.3, 0.3),
        p_max=EpochSchedule(0.6, 0.6),
        variance=EpochSchedule(1.5, 1.5, "cosine"),
    ).fit(X, y)
    for first, second in zip(
        constant.head_.parameters(), schedule.head_.parameters(), strict=True
    ):
        torch.testing.assert_close(first, second, rtol=0, atol=0)
    assert_array_equal(constant.effective_prior_, schedule.effective_prior_)


def test_the_prior_is_that_of_the_last_epoch():
    params = {"p_min": EpochSchedule(0.9, 0.1), "p_max": 0.9, "generated_weight": 3.0}
    classifier = make(**params).fit(X, y)

    def prior(p_min):
        p_augment = augment_probability("inverse", SIZES.astype(float), p_min, 0.9)
        drawn = SIZES**0.5 / np.sum(SIZES**0.5)
        return effective_prior(drawn, p_augment, 3.0)

    assert_allclose(classifier.effective_prior_, prior(0.1))
    stop = EarlyStopping(monitor="train_loss", patience=2, threshold=1e9)
    stopped = make(**params, net_params={"callbacks": [stop]}).fit(X, y)
    last = len(stopped.history_) - 1
    assert last == 2
    assert_allclose(stopped.effective_prior_, prior(0.9 - 0.8 * last / 4))


@pytest.mark.parametrize(
    "p_min", [EpochSchedule(0.9, 0.1), ValidationSchedule(0.9, 0.1, n_steps=50)]
)
def test_the_prior_is_that_of_the_epoch_that_is_restored(p_min):
    # Some labels are wrong: the surer the head gets, the more they cost.
    y_val = np.repeat(np.arange(4), 10)
    y_val[::4] = 0
    classifier = make(
        p_min=p_min,
        p_max=0.9,
        generated_weight=3.0,
        max_epochs=30,
        net_params=early_stopping(X_val, y_val, patience=4),
    ).fit(X, y)
    losses = classifier.history_[:, "valid_loss"]
    best = int(np.argmin(losses))
    assert 0 < best == len(losses) - 5
    history = (best, 30, losses[:best])
    value = p_min(*history[: 2 + isinstance(p_min, ValidationSchedule)])
    p_augment = augment_probability("inverse", SIZES.astype(float), value, 0.9)
    drawn = SIZES**0.5 / np.sum(SIZES**0.5)
    assert_allclose(classifier.effective_prior_, effective_prior(drawn, p_augment, 3.0))


def test_the_validation_loss_moves_the_value(asked):
    schedule = ValidationSchedule(1.0, 2.0, n_steps=4)
    classifier = make(
        generator=Noting(), variance=schedule, max_epochs=8, net_params=SPLIT
    ).fit(X, y)
    losses = classifier.history_[:, "valid_loss"]
    expected = [schedule(e, 8, losses[:e]) for e in range(8)]
    assert len(set(expected)) > 1
    assert list(dict.fromkeys(v for v, *_ in asked)) == list(dict.fromkeys(expected))


class Watched(Noting):
    """Generator that keeps what it was fitted to."""

    fitted: list = []

    def fit(self, X, y):
        self.fitted.append(X)
        return super().fit(X, y)


def test_validation_holds_no_sample_that_was_generated_or_learned_from():
    validated = []

    class Head(nn.Linear):
        def __init__(self, n_features, n_classes):
            super().__init__(n_features, n_classes)

        def forward(self, x):
            if not self.training:
                validated.append(x.detach().clone())
            return super().forward(x)

    Watched.fitted = []
    classifier = make(
        generator=Watched(),
        head=Head,
        variance=ValidationSchedule(1.0, 2.0),
        net_params=SPLIT,
    ).fit(X, y)
    (learned,) = Watched.fitted
    assert_array_equal(learned, X)
    assert len(validated) > 0
    for batch in validated:
        seen = batch.numpy() / (1 / classifier.scale_) + classifier.offset_
        distances = np.linalg.norm(seen[:, None] - X_val, axis=2).min(axis=1)
        assert distances.max() < 1e-4


def test_schedules_take_sgd_and_survive_copies():
    classifier = make(solver="auto", variance=EpochSchedule(1.0, 2.0), p_max=0.5)
    assert clone(classifier).variance == classifier.variance
    fitted = pickle.loads(pickle.dumps(classifier.fit(X, y)))
    assert fitted.solver_ == "sgd"
    assert_array_equal(fitted.predict_proba(X), classifier.predict_proba(X))
    automatic = LongTailClassifier(
        p_max=EpochSchedule(0.2, 0.7), device="cpu", random_state=0
    )
    assert automatic.fit(X, y).solver_ == "sgd"


def test_calibration_trains_with_the_schedule():
    classifier = make(
        variance=EpochSchedule(1.0, 2.0), calibration="temperature", cv=2
    ).fit(X, y)
    assert classifier.temperature_ > 0


def ramp(start, end):
    return EpochSchedule(start, end)


REFUSED = {
    "closed form": (
        {"solver": "closed_form", "variance": ramp(1, 2)},
        "does not go with a schedule of variance",
    ),
    "no samples": ({"augment": None, "variance": ramp(1, 2)}, "has no use"),
    "always": ({"augment": "always", "p_max": ramp(0.2, 0.7)}, "p_max has no use"),
    "above 1": ({"p_max": ramp(0.5, 1.5)}, r"in \[0, 1\].* in epoch 3 of 5"),
    "crossing": ({"p_min": ramp(0.15, 0.95)}, "p_min must not exceed p_max.*epoch 3"),
    "negative": ({"variance": ramp(1, -1)}, "finite and not negative"),
    "no number": ({"p_min": lambda e, n: None}, "must be numbers"),
    "NaN": ({"p_min": lambda e, n: np.nan}, "must be numbers"),
    "nothing": ({"variance": lambda e, n: None}, "variance must return a value"),
    "shape": ({"variance": lambda e, n: [1.0] * (e + 1)}, "got shape"),
    "no validation set": (
        {"variance": ValidationSchedule(1, 2)},
        "needs a validation set",
    ),
    "no validation split": (
        {"p_max": ValidationSchedule(0.2, 0.7), "net_params": {"train_split": None}},
        "needs a validation set",
    ),
    "a part of the training samples": (
        {
            "p_max": ValidationSchedule(0.2, 0.7),
            "net_params": {"train_split": ValidSplit(4)},
        },
        "that the generator has not learned from",
    ),
    "end of steps": (
        {"p_max": ValidationSchedule(0.2, 1.7, n_steps=2), "net_params": SPLIT},
        r"in \[0, 1\]",
    ),
}


class Untouched(ClassGaussian):
    """Generator that must not be fitted before its schedule is found to be wrong."""

    def fit(self, X, y):
        raise AssertionError


@pytest.mark.parametrize("case", REFUSED)
def test_refused_before_the_generator_is_fitted(case):
    params, message = REFUSED[case]
    with pytest.raises(ValueError, match=message):
        make(generator=Untouched(), **params).fit(X, y)


def test_schedules_that_are_none_are_refused():
    with pytest.raises(ValueError, match="shape must be"):
        EpochSchedule(1, 2, "step")
    for kind in (EpochSchedule, ValidationSchedule):
        for end in (np.nan, np.inf, "2"):
            with pytest.raises(ValueError, match="start and end must be finite"):
                kind(1.0, end)
    for n_steps in (0, 1.5):
        with pytest.raises(ValueError, match="n_steps must be"):
            ValidationSchedule(1, 2, n_steps)


def test_a_validation_set_of_early_stopping_will_do():
    y_val = np.repeat(np.arange(4), 10)
    schedule = ValidationSchedule(0.5, 1.5, n_steps=3)
    params = {"generator": ClassGaussian(), "augment": "always", "variance": schedule}
    one, other = (
        make(net_params=net_params, **params).fit(X, y).history_
        for net_params in (
            early_stopping(X_val, y_val),
            {**SPLIT, "callbacks__lr_schedule": None},
        )
    )
    losses = [[epoch["valid_loss"] for epoch in history] for history in (one, other)]
    assert losses[0] == losses[1]
