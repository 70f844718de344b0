"""How LongTailClassifier trains: seeds, copies, Ctrl-C, and what skorch offers."""

import copy
import pickle

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import cross_val_predict
from skorch.callbacks import Callback, Checkpoint, EarlyStopping
from skorch.dataset import ValidSplit
from torch import nn

from skcvae import CVAE
from skcvae.generators import early_stopping
from skcvae.long_tail import LongTailClassifier, MLPHead

SIZES = np.array([60, 30, 12, 5])


class Interrupt(Callback):
    """Stands for Ctrl-C in the middle of an epoch, counted from 1."""

    def __init__(self, epoch):
        self.epoch = epoch

    def on_batch_end(self, net, **kwargs):
        if len(net.history) == self.epoch:
            raise KeyboardInterrupt


class Recorder(Callback):
    """Keeps what it sees, although nets train with copies of callbacks."""

    def __init__(self):
        self.nets, self.optimizers, self.weights = [], [], []

    def __deepcopy__(self, memo):
        return self

    def on_epoch_end(self, net, **kwargs):
        self.nets.append(net)
        self.optimizers.append(net.optimizer_)
        self.weights.append(net.module_.weight.detach().clone())


def make_classifier(*args, **params):
    """Return a classifier that trains for 24 steps on the separated classes."""
    defaults = {
        "max_epochs": 6,
        "batch_size": 32,
        "lr": 0.05,
        "device": "cpu",
        "random_state": 0,
    }
    return LongTailClassifier(*args, **{**defaults, **params})


def make_cvae(**params):
    net_params = {"module__hidden_dim": 16}
    return CVAE(
        **{"latent_dim": 2, "max_epochs": 3, "device": "cpu", **params},
        net_params=net_params,
    )


# A training that uses all that is random.
RANDOM = {"head": "mlp", "remix": True, "loss": "equalization"}

pytestmark = pytest.mark.filterwarnings("ignore:The CVAE uses none of its latent")


# Seeds


@pytest.mark.parametrize("make_generator", [lambda: None, make_cvae])
def test_same_seed_same_bits(make_generator, separated_classes):
    X, y = separated_classes
    first, second, other = (
        make_classifier(make_generator(), random_state=seed, **RANDOM).fit(X, y)
        for seed in (0, 0, 1)
    )
    expected = first.predict_proba(X)
    assert_array_equal(second.predict_proba(X), expected)
    assert not np.array_equal(other.predict_proba(X), expected)
    assert_array_equal(first.fit(X, y).predict_proba(X), expected)
    fitted = make_generator() and make_generator().set_params(random_state=0).fit(X, y)
    runs = [make_classifier(fitted, **RANDOM).fit(X, y) for _ in range(2)]
    assert_array_equal(*(run.predict_proba(X) for run in runs))


def test_a_generator_with_a_seed_of_its_own_keeps_it(separated_classes):
    X, y = separated_classes
    own = make_cvae(random_state=5).fit(X, y).sample(9)[0]
    drawn = [
        make_classifier(make_cvae(random_state=given), random_state=seed)
        .fit(X, y)
        .generator_.sample(9)[0]
        for given, seed in ((5, 0), (5, 1), (None, 0), (None, 0), (None, 1))
    ]
    assert [np.array_equal(rows, own) for rows in drawn] == [True] * 2 + [False] * 3
    assert_array_equal(drawn[2], drawn[3])
    assert not np.array_equal(drawn[3], drawn[4])


def test_global_random_states_are_left_alone(separated_classes, random_states):
    before, torch_state = random_states(), torch.get_rng_state()
    make_classifier(make_cvae(), **RANDOM).fit(*separated_classes)
    assert random_states() == before
    # Without a seed, one comes from NumPy, as everywhere in scikit-learn.
    make_classifier(make_cvae(), random_state=None).fit(*separated_classes)
    assert torch.equal(torch.get_rng_state(), torch_state)


@pytest.mark.usefixtures("one_thread_per_worker")
def test_parallel_jobs_give_the_same_probabilities(separated_classes):
    X, y = separated_classes
    one, two = (
        cross_val_predict(
            make_classifier(**RANDOM), X, y, cv=2, n_jobs=n, method="predict_proba"
        )
        for n in (1, 2)
    )
    assert_array_equal(two, one)


# Copies


@pytest.mark.parametrize(
    "duplicate", [copy.deepcopy, lambda c: pickle.loads(pickle.dumps(c))]
)
@pytest.mark.parametrize("params", [{}, {"loss": "ldam"}, RANDOM, {"verbose": 2}])
def test_copies_predict_the_same(duplicate, params, separated_classes):
    X, y = separated_classes
    net_params = {"train_split": ValidSplit(5), "callbacks": [("stop", Interrupt(99))]}
    classifier = make_classifier(net_params=net_params, **params).fit(X, y)
    other = duplicate(classifier)
    assert_array_equal(other.predict_proba(X), classifier.predict_proba(X))
    assert other.history_[:, "valid_loss"] == classifier.history_[:, "valid_loss"]
    assert_array_equal(other.fit(X, y).predict_proba(X), classifier.predict_proba(X))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("generator", [None, make_cvae()])
def test_pickles_hold_neither_rows_nor_the_source_of_generated_ones(
    generator, dtype, separated_classes
):
    X, y = separated_classes
    X = X.astype(dtype)
    classifier = make_classifier(generator, net_params={"train_split": ValidSplit(5)})
    stored = pickle.dumps(classifier.fit(X, y))
    scaled = (X - classifier.offset_) / classifier.scale_
    for rows in (X, scaled):
        for kind in (np.float32, np.float64):
            assert not any(row.tobytes() in stored for row in rows.astype(kind))
    net = classifier.net_
    assert net.iterator_train__stream is None and net.iterator_train__priors is None
    assert type(classifier.generator_).__name__.encode() in stored
    assert b"generators" not in pickle.dumps(net)
    assert not net.module_.training and net.optimizer_ is None


def test_size_of_the_pickle_does_not_grow_with_the_rows(separated_classes):
    X, y = separated_classes
    sizes = [
        len(pickle.dumps(make_classifier(batch_size=4096).fit(rows, labels)))
        for rows, labels in ((X, y), (np.tile(X, (10, 1)), np.tile(y, 10)))
    ]
    assert abs(sizes[1] - sizes[0]) < 200


# Ctrl-C


def test_interruption_of_the_first_epoch_leaves_the_classifier_unfitted(
    separated_classes,
):
    classifier = make_classifier().fit(*separated_classes)
    classifier.set_params(net_params={"callbacks": [Interrupt(1)]})
    with pytest.raises(KeyboardInterrupt):
        classifier.fit(*separated_classes)
    with pytest.raises(NotFittedError):
        classifier.predict(separated_classes[0])
    assert [name for name in vars(classifier) if name.endswith("_")] == []


def test_interruption_of_the_generator_leaves_the_classifier_unfitted(
    separated_classes,
):
    cvae = CVAE(max_epochs=3, device="cpu", net_params={"callbacks": [Interrupt(2)]})
    classifier = make_classifier(cvae)
    with pytest.raises(KeyboardInterrupt):
        classifier.fit(*separated_classes)
    assert [name for name in vars(classifier) if name.endswith("_")] == []


def test_interruption_keeps_the_last_finished_epoch(separated_classes):
    X, y = separated_classes
    # The schedule would depend on max_epochs.
    net_params = {"callbacks__lr_schedule": None}
    interrupted = make_classifier(
        net_params={**net_params, "callbacks": [Interrupt(3)]}
    )
    with pytest.raises(KeyboardInterrupt):
        interrupted.fit(X, y)
    shorter = make_classifier(max_epochs=2, net_params=net_params).fit(X, y)
    assert_array_equal(interrupted.predict_proba(X), shorter.predict_proba(X))
    assert len(interrupted.history_) == 2
    assert_array_equal(interrupted.classes_, [0, 1, 2, 3])


def test_priors_are_those_of_the_last_epoch_that_was_trained(separated_classes):
    X, y = separated_classes
    params = {"sampling": "progressive", "loss": "cross_entropy", "max_epochs": 5}
    classifier = make_classifier(**params, net_params={"callbacks": [Interrupt(4)]})
    with pytest.raises(KeyboardInterrupt):
        classifier.fit(X, y)
    # Three of five epochs are half of the way.
    halfway = (SIZES / SIZES.sum() + 0.25) / 2
    assert_allclose(classifier.effective_prior_, halfway)
    assert_allclose(classifier.logit_correction_, np.log(0.25) - np.log(halfway))
    finished = make_classifier(**params).fit(X, y)
    assert_allclose(finished.effective_prior_, 0.25)
    assert_allclose(finished.logit_correction_, 0, atol=1e-12)


@pytest.mark.parametrize("kind", ["early_stopping", "checkpoint"])
def test_priors_are_those_of_the_epoch_whose_weights_are_kept(
    kind, separated_classes, tmp_path
):
    X, y = separated_classes
    # Labels that say nothing: the head can only get worse on other samples.
    chance = np.random.RandomState(0).permutation(y)
    net_params = early_stopping(X, np.random.RandomState(1).permutation(y), patience=9)
    if kind == "checkpoint":
        saving = Checkpoint("valid_loss_best", dirname=tmp_path, load_best=True)
        net_params["callbacks"] = [saving]
    params = {"sampling": "progressive", "loss": "cross_entropy", "max_epochs": 9}
    classifier = make_classifier(**params, net_params=net_params).fit(X, chance)
    best = int(np.argmin(classifier.history_[:, "valid_loss"]))
    assert best < 8
    expected = (1 - best / 8) * SIZES / SIZES.sum() + best / 8 * 0.25
    assert_allclose(classifier.effective_prior_, expected)
    assert_allclose(classifier.logit_correction_, np.log(0.25) - np.log(expected))


def test_the_validation_loss_is_the_same_function_in_all_epochs(separated_classes):
    X, y = separated_classes
    params = {"sampling": "progressive", "loss": "balanced_softmax", "max_epochs": 4}
    # Nothing is learned, so that a change would be one of the function.
    net_params = early_stopping(X, y)
    classifier = make_classifier(**params, lr=1e-12, net_params=net_params).fit(X, y)
    assert_allclose(np.ptp(classifier.history_[:, "valid_loss"]), 0, atol=1e-6)


# What skorch offers


def test_head_of_ones_own(separated_classes):
    X, y = separated_classes

    def deep_head(n_features, n_classes, width=8):
        return nn.Sequential(
            nn.Linear(n_features, width), nn.Tanh(), nn.Linear(width, n_classes)
        )

    params = {"module__width": 12}
    classifier = make_classifier(head=deep_head, net_params=params).fit(X, y)
    assert classifier.net_.module_[0].weight.shape == (12, 6)
    assert classifier.score(X, y) > 0.98
    mlp = make_classifier(head="mlp", net_params={"module__hidden_dim": 9}).fit(X, y)
    assert isinstance(mlp.net_.module_, MLPHead)
    assert mlp.net_.module_[0].weight.shape == (9, 6)


def test_loss_of_ones_own_is_what_is_minimised(separated_classes):
    X, y = separated_classes
    # The labels are smoothed: probabilities stop at 0.1 / 4 from 0.
    loss = nn.CrossEntropyLoss(label_smoothing=0.1)
    params = {"sampling": "balanced", "weight_decay": 0, "max_epochs": 100}
    classifier = make_classifier(loss=loss, **params).fit(X, y)
    probability = classifier.predict_proba(X)
    assert_allclose(np.median(probability.max(axis=1)), 1 - 0.1 + 0.1 / 4, atol=0.03)
    named = make_classifier(loss="cross_entropy", **params).fit(X, y)
    assert np.median(named.predict_proba(X).max(axis=1)) > 0.99
    # The user's own module is neither changed nor trained.
    assert loss.reduction == "mean"
    weighted = nn.CrossEntropyLoss(weight=torch.tensor([1.0, 1.0, 1.0, 50.0]))
    heavy = make_classifier(loss=weighted).fit(X, y)
    noise = 30 * np.random.RandomState(0).normal(size=(500, 6))
    assert (heavy.predict(noise) == 3).mean() > (named.predict(noise) == 3).mean()


def test_validation_rows_give_a_loss_and_are_not_trained_on(separated_classes):
    X, y = separated_classes
    net_params = {"train_split": ValidSplit(4)}
    classifier = make_classifier(net_params=net_params).fit(X, y)
    losses = np.array(classifier.history_[:, ("train_loss", "valid_loss")])
    assert losses.shape == (6, 2)
    assert (losses[-1] < losses[0]).all()
    sizes = [
        sum(batch.get(f"{part}_batch_size", 0) for batch in epoch["batches"])
        for epoch in classifier.history_
        for part in ("train", "valid")
    ]
    assert sizes == [80, 27] * 6


def test_early_stopping_ends_training_with_the_best_weights(separated_classes):
    X, y = separated_classes
    recorder = Recorder()
    stop = EarlyStopping(patience=3, threshold=0, load_best=True)
    # Labels that say nothing: the head can only get worse on other rows.
    y = np.random.RandomState(0).permutation(y)
    split = ValidSplit(0.3, stratified=True, random_state=0)
    net_params = {"train_split": split, "callbacks": [recorder, stop]}
    classifier = make_classifier(max_epochs=200, net_params=net_params).fit(X, y)
    losses = classifier.history_[:, "valid_loss"]
    best = int(np.argmin(losses))
    assert len(losses) == best + 4 < 200
    assert torch.equal(classifier.net_.module_.weight, recorder.weights[best])


@pytest.mark.parametrize("n_rows", [96, 97, 98])
def test_learning_rate_falls_to_zero_along_a_cosine(n_rows, separated_classes):
    X, y = (array[:n_rows] for array in separated_classes)
    classifier = make_classifier(lr=0.02).fit(X, y)
    rates = np.concatenate(classifier.history_[:, "batches", :, "event_lr"])
    # A last batch of one row joins the one before it.
    assert len(rates) == 6 * (4 if n_rows == 98 else 3)
    steps = np.arange(len(rates)) / len(rates)
    assert_allclose(rates, 0.01 * (1 + np.cos(np.pi * steps)), rtol=1e-6)
    constant = make_classifier(net_params={"callbacks__lr_schedule": None}).fit(X, y)
    assert "event_lr" not in constant.history_[0, "batches", 0]


@pytest.mark.parametrize(
    ("params", "net_params", "expected"),
    [
        ({}, {"optimizer__eps": 1e-3}, {"weight_decay": 1.0, "eps": 1e-3}),
        ({"weight_decay": 0.25}, {}, {"weight_decay": 0.25, "initial_lr": 0.05}),
        (
            {},
            {"optimizer": torch.optim.SGD, "optimizer__momentum": 0.9},
            {"momentum": 0.9, "weight_decay": 0},
        ),
    ],
    ids=str,
)
def test_optimizers_and_their_parameters_are_passed_on(
    params, net_params, expected, separated_classes
):
    recorder = Recorder()
    net_params = {**net_params, "callbacks": [recorder]}
    make_classifier(net_params=net_params, **params).fit(*separated_classes)
    (optimizer,) = set(recorder.optimizers)
    assert type(optimizer) is net_params.get("optimizer", torch.optim.AdamW)
    # The last group has the weights.
    assert expected.items() <= optimizer.param_groups[-1].items()


def test_head_starts_at_zero_and_only_its_weights_decay(separated_classes):
    recorder = Recorder()
    make_classifier(net_params={"callbacks": [recorder]}).fit(*separated_classes)
    (optimizer,) = set(recorder.optimizers)
    decay = {
        p.ndim: g["weight_decay"] for g in optimizer.param_groups for p in g["params"]
    }
    assert decay == {1: 0.0, 2: 1.0}
    untrained = make_classifier(lr=1e-30, max_epochs=1).fit(*separated_classes)
    for parameter in untrained.net_.module_.parameters():
        assert parameter.abs().max() < 1e-6


def test_net_params_are_left_alone(separated_classes):
    stop = EarlyStopping(monitor="train_loss")
    net_params = {"callbacks": [("stop", stop)]}
    before = dict(vars(stop))
    make_classifier(net_params=net_params).fit(*separated_classes)
    assert net_params == {"callbacks": [("stop", stop)]}
    assert vars(stop) == before


@pytest.mark.parametrize(
    ("n_rows", "batch_size", "n_epochs"),
    [(120, 2, 34), (120, 12, 200), (120, 256, 2000), (121, 60, 1000), (900, 2, 10)],
)
def test_automatic_epochs_make_two_thousand_steps(n_rows, batch_size, n_epochs):
    X = np.random.RandomState(0).normal(size=(n_rows, 2))
    classifier = make_classifier(
        augment=None,
        max_epochs="auto",
        batch_size=batch_size,
        # Whoever looks at the number of epochs need not wait for them.
        net_params={"callbacks": [Interrupt(2)]},
    )
    recorder = Recorder()
    classifier.net_params["callbacks"].insert(0, recorder)
    with pytest.raises(KeyboardInterrupt):
        classifier.fit(X, np.arange(n_rows) % 2)
    assert recorder.nets[0].max_epochs == n_epochs


@pytest.mark.parametrize("verbose", [0, 1, 2])
def test_verbose_levels(verbose, separated_classes, capsys):
    make_classifier(verbose=verbose).fit(*separated_classes)
    out, err = capsys.readouterr()
    assert ("6/6" in err and "epoch" in err and "train_loss=" in err) is (verbose > 0)
    assert ("train_loss" in out) is (verbose > 1)
    if not verbose:
        assert out == err == ""


def test_diverged_training_leaves_the_classifier_unfitted(separated_classes):
    X, y = separated_classes
    classifier = make_classifier().fit(X, y).set_params(lr=1e38, loss="cross_entropy")
    with pytest.raises(FloatingPointError, match="smaller lr"):
        classifier.fit(X, y)
    assert [name for name in vars(classifier) if name.endswith("_")] == []
