"""Options of the training of a CVAE: early stopping, annealing, noise, weights."""

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from sklearn.datasets import load_digits
from skorch.callbacks import Callback
from skorch.dataset import Dataset
from skorch.helper import predefined_split
from torch.utils.data import Subset

from skcvae.anonymization import CVAEAnonymizer
from skcvae.generators import (
    CGAN,
    CVAE,
    VAE,
    ClassGaussian,
    ConvBackbone,
    FlowMatching,
    InputNoise,
    KLAnnealing,
    early_stopping,
)
from skcvae.generators._net_generator import NetGenerator
from skcvae.long_tail import LongTailClassifier
from skcvae.over_sampling import CVAEOverSampler, HeadTailFusionSampler

X, y = load_digits(return_X_y=True)
X, X_val, y, y_val = X[:600], X[600:900], y[:600], y[600:900]
FAST = {"device": "cpu", "random_state": 0}
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


def with_callback(callback, **params):
    net_params = {"callbacks": [("tested", callback)]}
    return CVAE(max_epochs=4, net_params=net_params, **FAST, **params)


class Watch(Callback):
    """Calls a function at the start of each batch, after other callbacks."""

    def __init__(self, function):
        self.function = function

    def __deepcopy__(self, memo):
        return self

    def on_batch_begin(self, net, batch=None, training=None, **kwargs):
        self.function(net, batch, training)


# Early stopping


@pytest.mark.parametrize(
    "make",
    [
        CVAE,
        VAE,
        FlowMatching,
        lambda **params: CVAE(objective="reference", **params),
        # It tries widths first.
        CVAEAnonymizer,
        lambda **params: LongTailClassifier(solver="sgd", weight_decay=0, **params),
    ],
    ids=["CVAE", "VAE", "FlowMatching", "reference", "anonymizer", "head"],
)
def test_training_stops_patience_epochs_after_the_best(make):
    # Labels of chance: nothing but noise can be learned of them.
    chance = np.random.RandomState(0).permutation(y)
    params = {"batch_size": 64, "lr": 0.01, "max_epochs": 150, **FAST}
    net_params = early_stopping(X_val, y_val, patience=3)
    fitted = make(net_params=net_params, **params).fit(X, chance)
    if isinstance(fitted, CVAEAnonymizer):
        fitted = fitted.generator_
    history = fitted.history_
    losses = history[:, "valid_loss"]
    assert len(losses) == int(np.argmin(losses)) + 4 < 150


@pytest.mark.parametrize("kind", [CVAE, VAE])
def test_nothing_but_the_loss_depends_on_validation_samples(kind):
    def fit(X_val):
        split = predefined_split(Dataset(X_val, y_val))
        return kind(max_epochs=2, net_params={"train_split": split}, **FAST).fit(X, y)

    near, far = fit(X_val), fit(20 + 3 * X_val[::-1])
    assert far.history_[-1, "valid_loss"] > 10 * near.history_[-1, "valid_loss"]
    for name in ("class_means_", "noise_factor_", "offset_", "scale_", "class_count_"):
        np.testing.assert_array_equal(getattr(near, name), getattr(far, name))
    np.testing.assert_array_equal(near.latent_prior_.factor, far.latent_prior_.factor)
    for one, other in zip(
        near.net_.module_.parameters(), far.net_.module_.parameters(), strict=True
    ):
        assert torch.equal(one, other)


class SpyGaussian(ClassGaussian):
    """Notes the samples that it is fitted to."""

    seen: list = []

    def fit(self, X, y):
        SpyGaussian.seen.append(np.array(X))
        return super().fit(X, y)


@pytest.mark.parametrize("calibration", [None, "temperature"])
def test_generator_of_a_classifier_does_not_see_validation_samples(calibration):
    SpyGaussian.seen = []
    classifier = LongTailClassifier(
        SpyGaussian(),
        solver="sgd",
        max_epochs=1,
        calibration=calibration,
        cv=2,
        net_params=early_stopping(np.full_like(X_val, 777), y_val),
        **FAST,
    ).fit(X, y)
    assert len(SpyGaussian.seen) == (1 if calibration is None else 3)
    assert all((seen != 777).all() for seen in SpyGaussian.seen)
    assert (classifier.offset_ < 777).all()


def test_validation_samples_may_be_a_frame_with_the_columns_of_training():
    names = [f"pixel{i}" for i in range(64)]
    frames = [pd.DataFrame(part, columns=names) for part in (X, X_val)]
    losses = []
    for train, val in (frames, (X, X_val)):
        net_params = early_stopping(val, pd.Series(y_val), patience=1)
        cvae = CVAE(max_epochs=1, net_params=net_params, **FAST).fit(train, y)
        losses.append(cvae.history_[:, "valid_loss"])
    assert losses[0] == losses[1]
    net_params = early_stopping(frames[1][names[::-1]], y_val)
    with pytest.raises(ValueError, match="feature names should match"):
        CVAE(max_epochs=1, net_params=net_params, **FAST).fit(frames[0], y)


@pytest.mark.parametrize("make", [CVAEAnonymizer, CVAEOverSampler])
def test_validation_frame_of_a_wrapped_generator_has_the_columns_of_training(make):
    names = [f"pixel{i}" for i in range(64)]
    frames = [pd.DataFrame(part, columns=names) for part in (X, X_val)]

    def fit(val):
        net_params = early_stopping(val, y_val)
        estimator = make(max_epochs=1, hidden_dim=16, net_params=net_params, **FAST)
        return estimator.fit(frames[0], y).generator_.history_[:, "valid_loss"]

    assert fit(frames[1]) == fit(X_val)
    with pytest.raises(ValueError, match="feature names should match"):
        fit(frames[1][names[::-1]])


def test_validation_label_sets_may_be_a_frame_with_the_labels_of_training():
    sets = pd.DataFrame({name: y % 3 == i for i, name in enumerate("abc")}).astype(int)
    val = pd.DataFrame({name: y_val % 3 == i for i, name in enumerate("abc")})

    def fit(val):
        cvae = CVAE(max_epochs=1, net_params=early_stopping(X_val, val), **FAST)
        return cvae.fit(X, sets).history_[:, "valid_loss"]

    assert fit(val) == fit(val.to_numpy())
    with pytest.raises(ValueError, match="columns of y are not the labels of fit"):
        fit(val[["c", "b", "a"]])


@pytest.mark.parametrize(
    "net_params",
    [
        early_stopping(X_val, y_val + 1),
        early_stopping(X_val[:, :63], y_val),
        {"train_split": 5},
        {"train_split": np.ones(3)},
        {"callbacks": [("noise", InputNoise([0.1, 0.2]))]},
        {"callbacks": [("annealing", KLAnnealing(2.0))]},
    ],
    ids=["labels", "features", "split", "array", "noise", "annealing"],
)
@pytest.mark.parametrize("kind", ["width", "epochs", "head"])
def test_options_are_refused_before_anything_is_trained(kind, net_params, monkeypatch):
    def train(*args):
        raise AssertionError("A generator was trained.")

    monkeypatch.setattr(NetGenerator, "_train", train)
    params = {"net_params": net_params, **FAST}
    if kind == "width":
        estimator = CVAE(hidden_dim="auto", **params)
    elif kind == "epochs":
        backbone = ConvBackbone((8, 8), width=4)
        estimator = CVAE(architecture=backbone, hidden_dim="auto", **params)
    else:
        estimator = LongTailClassifier(CVAE(**FAST), solver="sgd", **params)
    with pytest.raises(ValueError):
        estimator.fit(X, y)


def test_a_training_without_use_for_validation_samples_refuses_them():
    sampler = HeadTailFusionSampler(net_params=early_stopping(X_val, y_val), **FAST)
    with pytest.raises(ValueError, match="takes no validation samples"):
        sampler.fit(X, y)


def test_a_critic_does_not_stop_the_training_of_a_cgan():
    with pytest.raises(ValueError, match="not for CGAN: the loss of its critic"):
        CGAN(net_params=early_stopping(X_val, y_val), **FAST).fit(X, y)
    split = {"train_split": predefined_split(Dataset(X_val, y_val))}
    history = CGAN(max_epochs=1, net_params=split, **FAST).fit(X, y).history_
    assert np.isfinite(history[0, "valid_loss"])


@pytest.mark.parametrize(
    "make", [CVAE, lambda **params: LongTailClassifier(solver="sgd", **params)]
)
def test_validation_sets_that_cannot_be_used_are_refused(make):
    def fit(*arrays):
        split = {"train_split": predefined_split(Dataset(*arrays))}
        make(max_epochs=1, net_params=split, **FAST).fit(X, y)

    with pytest.raises(ValueError, match="no labels"):
        fit(X_val)
    with pytest.raises(ValueError, match="no labels"):
        split = predefined_split(Subset(Dataset(X_val), range(9)))
        make(max_epochs=1, net_params={"train_split": split}, **FAST).fit(X, y)
    with pytest.raises(ValueError, match="unseen labels"):
        fit(X_val, y_val + 1)
    with pytest.raises(ValueError, match="X_val contains NaN"):
        fit(np.where(X_val > 3, np.nan, X_val), y_val)
    with pytest.raises(ValueError, match="0 sample"):
        fit(X_val[:0], y_val[:0])


def test_validation_samples_may_be_lists():
    histories = [
        CVAE(max_epochs=3, net_params=early_stopping(*val), **FAST).fit(X, y).history_
        for val in (
            (X_val, y_val),
            (X_val.tolist(), y_val.tolist()),
            (tuple(map(tuple, X_val)), tuple(y_val)),
        )
    ]
    array, *others = ([epoch["valid_loss"] for epoch in h] for h in histories)
    assert others == [array, array]


@pytest.mark.parametrize("patience", [0, -1, 2.5, "3", None])
def test_patience_that_no_number_of_epochs_reaches_is_refused(patience):
    with pytest.raises(ValueError, match="patience must be an int of at least 1"):
        early_stopping(X_val, y_val, patience=patience)


def test_early_stopping_goes_on_with_other_parameters_and_clones():
    net_params = early_stopping(X_val, y_val, patience=2)
    net_params["callbacks"].append(("annealing", KLAnnealing()))
    cvae = CVAE(max_epochs=3, net_params={**net_params, "precision": "bf16"}, **FAST)
    losses = [clone(cvae).fit(X, y).history_[:, "valid_loss"] for _ in range(2)]
    assert losses[0] == losses[1]
    # The callbacks that were given stay as they were.
    assert not hasattr(net_params["callbacks"][1][1], "beta_")


# KL annealing


def test_annealing_raises_the_weight_of_the_kl_term_to_beta():
    seen = {True: [], False: []}

    def watch(net, batch, training):
        seen[training].append(net.criterion_.beta)

    net_params = early_stopping(X_val, y_val)
    net_params["callbacks"] += [("a", KLAnnealing(0.5)), ("b", Watch(watch))]
    cvae = CVAE(max_epochs=4, batch_size=600, beta=3.0, net_params=net_params, **FAST)
    cvae.fit(X, y)
    assert seen[True] == [0.0, 1.5, 3.0, 3.0]
    assert seen[False] == [3.0] * 4
    loss, reconstruction, kl = cvae.history_[
        1, ("train_loss", "train_reconstruction", "train_kl")
    ]
    assert loss == pytest.approx(reconstruction + 1.5 * kl, rel=1e-5)


@pytest.mark.parametrize(
    ("share", "max_epochs", "weights"),
    [(0.0, 2, [1, 1]), (0.3, 1, [1]), (1.0, 1, [1]), (1.0, 2, [0, 0.5])],
)
def test_annealing_over_less_than_an_epoch_trains_with_beta(share, max_epochs, weights):
    seen = []
    watch = Watch(lambda net, batch, training: seen.append(net.criterion_.beta))
    net_params = {"callbacks": [("a", KLAnnealing(share)), ("b", watch)]}
    params = {"max_epochs": max_epochs, "batch_size": 600}
    CVAE(net_params=net_params, **params, **FAST).fit(X, y)
    assert seen == weights


# Noise on inputs


def test_noise_has_the_deviation_of_each_class_and_spares_the_target():
    parts = []

    def watch(net, batch, training):
        inputs, target = batch
        parts.append((inputs["x"] - target, inputs["y"]))

    noise = InputNoise(np.arange(10) / 10)
    net_params = {"callbacks": [("a", noise), ("b", Watch(watch))]}
    CVAE(max_epochs=2, net_params=net_params, **FAST).fit(X, y)
    added, codes = (torch.cat(part) for part in zip(*parts, strict=True))
    for code in range(10):
        std = added[codes == code].std().item()
        assert std == pytest.approx(code / 10, rel=0.03)


def test_no_noise_is_added_to_validation_samples():
    def fit(std):
        net_params = early_stopping(X_val, y_val)
        net_params["callbacks"].append(("noise", InputNoise(std)))
        # Without steps of training, noise changes nothing but the draws.
        cvae = CVAE(max_epochs=1, lr=1e-12, net_params=net_params, **FAST)
        return cvae.fit(X, y).history_[0]

    none, much = fit(0.0), fit(10.0)
    assert much["valid_kl"] == pytest.approx(none["valid_kl"], rel=1e-3)
    assert much["train_kl"] > 10 * none["train_kl"]


def test_noise_on_more_features_than_samples_is_in_the_units_of_features():
    wide = np.random.RandomState(0).normal(size=(100, 2100))
    parts = []

    def watch(net, batch, training):
        inputs, target = batch
        parts.append((inputs["x"] - target, target))

    net_params = {"callbacks": [("a", InputNoise(0.5)), ("b", Watch(watch))]}
    CVAE(max_epochs=4, net_params=net_params, **FAST).fit(wide, np.zeros(100))
    added, target = (torch.cat(part) for part in zip(*parts, strict=True))
    # The net sees fewer numbers, which hold the whole length of a sample.
    unit = np.sqrt(2100 / target.square().sum(dim=1).mean().item())
    assert unit > 4
    assert unit * added.std().item() == pytest.approx(0.5, rel=0.03)


def test_one_noise_for_each_class_is_refused_with_several_labels():
    sets = np.array([[1, 0], [0, 1]])[np.arange(600) % 2]
    with_callback(InputNoise([0.1, 0.2])).fit(X, sets)
    sets[:10] = 1
    with_callback(InputNoise(0.1)).fit(X, sets)
    with pytest.raises(ValueError, match="std of InputNoise must be one number"):
        with_callback(InputNoise([0.1, 0.2, 0.3])).fit(X, sets)


@pytest.mark.parametrize(
    "std", [-1.0, [0.1] * 9, np.nan, np.inf, {0: 1.0}, None, "0.1,0.2"]
)
def test_noise_that_is_no_deviation_of_each_class_is_refused(std):
    with pytest.raises(ValueError, match="one for each class"):
        with_callback(InputNoise(std)).fit(X, y)


@pytest.mark.parametrize("share", [-0.1, 1.5, np.nan, "0.3"])
def test_annealing_over_no_share_of_the_epochs_is_refused(share):
    with pytest.raises(ValueError, match=r"share of KLAnnealing must be in \[0, 1\]"):
        with_callback(KLAnnealing(share)).fit(X, y)


@pytest.mark.parametrize("callback", [KLAnnealing(), InputNoise()])
@pytest.mark.parametrize("make", [FlowMatching, LongTailClassifier])
def test_callbacks_of_a_cvae_are_refused_elsewhere(make, callback):
    net_params = {"callbacks": [("tested", callback)]}
    with pytest.raises(ValueError, match="is for CVAE and VAE"):
        make(max_epochs=2, net_params=net_params, **FAST).fit(X, y)


# Weights of classes


def test_class_weights_multiply_the_reconstruction_of_the_training_loss():
    weight = np.arange(1.0, 11.0)
    # One sample of each class, in one batch.
    first = np.unique(y, return_index=True)[1]
    cvae = CVAE(
        max_epochs=1,
        net_params={
            **early_stopping(X_val, y_val),
            "criterion__class_weight": weight,
        },
        **FAST,
    )
    epoch = cvae.fit(X[first], y[first]).history_[0]
    plain = clone(cvae).set_params(net_params=early_stopping(X_val, y_val))
    plain = plain.fit(X[first], y[first]).history_[0]
    # Nothing is learned before the first loss. All are the same before any step.
    for name in ("train_reconstruction", "train_kl"):
        assert epoch[name] == plain[name]
    assert epoch["train_loss"] > plain["train_loss"]
    validated = epoch["valid_reconstruction"] + epoch["valid_kl"]
    assert epoch["valid_loss"] == pytest.approx(validated, rel=1e-5)


def test_equal_class_weights_change_nothing_and_others_scale_the_loss():
    def fit(factor):
        net_params = {"criterion__class_weight": np.full(10, factor)}
        cvae = CVAE(max_epochs=1, batch_size=600, net_params=net_params, **FAST)
        return cvae.fit(X, y).history_[0]

    plain = CVAE(max_epochs=1, batch_size=600, **FAST).fit(X, y).history_[0]
    assert fit(1.0)["train_loss"] == plain["train_loss"]
    expected = 2 * plain["train_reconstruction"] + plain["train_kl"]
    assert fit(2.0)["train_loss"] == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(
    "weight",
    [
        [1.0] * 9,
        [1.0] * 9 + [0.0],
        [np.nan] * 10,
        dict.fromkeys(range(10), 1.0),
        "balanced",
        2.0,
        ["a"] * 10,
    ],
)
def test_class_weights_that_do_not_fit_are_refused(weight):
    net_params = {"criterion__class_weight": weight}
    with pytest.raises(ValueError, match="one positive number"):
        CVAE(max_epochs=1, net_params=net_params, **FAST).fit(X, y)


def test_class_weights_may_be_a_tensor():
    def fit(weight):
        net_params = {"criterion__class_weight": weight}
        cvae = CVAE(max_epochs=1, batch_size=600, net_params=net_params, **FAST)
        return cvae.fit(X, y).history_[0]["train_loss"]

    weight = np.arange(1.0, 11.0)
    assert fit(torch.from_numpy(weight)) == fit(weight) == fit(weight.tolist())


@pytest.mark.parametrize(
    "make",
    [
        lambda values: with_callback(InputNoise(values)),
        lambda values: CVAE(net_params={"criterion__class_weight": values}, **FAST),
        lambda values: ClassGaussian(variance=values),
    ],
    ids=["noise", "weight", "variance"],
)
def test_values_of_classes_in_the_order_of_a_pandas_index_are_refused(make):
    # In the order of their frequency, which is not that of the labels.
    values = 1 / pd.Series(y).value_counts()
    with pytest.raises(TypeError, match=r"sort_index\(\)\.to_numpy"):
        make(values).fit(X, y)


# No scaling


def test_an_output_between_0_and_1_of_unscaled_samples_is_refused():
    with pytest.raises(ValueError, match="is for objective='reference'"):
        CVAE(net_params={"module__bounded": True}, **FAST).fit(X, y)


def test_a_width_without_a_half_is_refused():
    with pytest.raises(ValueError, match="hidden_dim of at least 2"):
        CVAE(architecture="large", hidden_dim=1, **FAST).fit(X, y)


@pytest.mark.parametrize(
    "change",
    [
        early_stopping(X_val + 1, y_val, patience=1),
        early_stopping(X_val, y_val, patience=2),
        {"callbacks": [("noise", InputNoise(0.1))]},
        {"callbacks": [("noise", InputNoise(0.2))]},
        {"criterion__class_weight": np.arange(1.0, 11.0)},
    ],
    ids=["samples", "patience", "noise", "std", "weight"],
)
def test_a_cache_tells_training_options_apart(change, tmp_path):
    params = {"max_epochs": 2, "hidden_dim": 16, "memory": str(tmp_path), **FAST}

    def fit(net_params):
        sampler = CVAEOverSampler(net_params=net_params, **params).fit(X, y)
        return [epoch["dur"] for epoch in sampler.generator_.history_]

    first = fit(early_stopping(X_val, y_val, patience=1))
    # What was measured comes back from the cache only.
    assert fit(early_stopping(X_val.copy(), y_val.copy(), patience=1)) == first
    assert fit(change) != first


def test_the_reference_objective_without_scaling_sees_the_samples_as_they_are():
    constant = np.column_stack([X, np.full(len(X), 5.0)])
    batches = []
    net_params = {
        "module__bounded": False,
        "callbacks": [("w", Watch(lambda net, batch, training: batches.append(batch)))],
    }
    cvae = CVAE(objective="reference", max_epochs=20, net_params=net_params, **FAST)
    cvae.fit(constant, y)
    seen = torch.cat([target for _, target in batches[:3]])
    np.testing.assert_array_equal(
        np.sort(seen[:, :64].sum(dim=1)), np.sort(X.sum(axis=1))
    )
    X_new, _ = cvae.set_params(noise=None).sample(200, random_state=0)
    assert X_new[:, :64].min() < 0 and (X_new[:, 64] == 5).all()
