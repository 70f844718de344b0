"""Cases that users of neighbouring tools reported, where no other file has them."""

import pickle

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from sklearn.datasets import load_iris
from sklearn.metrics import log_loss
from skorch.dataset import Dataset
from skorch.helper import predefined_split
from torch.utils.data import TensorDataset
from typer.testing import CliRunner

from skcvae.cli import app
from skcvae.generators import CGAN, CVAE, VAE, FlowMatching
from skcvae.inspection import (
    ClassCountDisplay,
    ClassCoverageDisplay,
    FrechetVarianceDisplay,
    LatentSpaceDisplay,
    MembershipROCDisplay,
    ProjectionDisplay,
    ShotAccuracyDisplay,
    SphereRadiusDisplay,
)
from skcvae.long_tail import LongTailClassifier

X, codes = load_iris(return_X_y=True)
y = np.array(["a", "b", "c"])[codes]
FAST = {"max_epochs": 2, "device": "cpu", "random_state": 0}


def validate_on(dataset):
    return {"train_split": predefined_split(dataset)}


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("kind", [CVAE, VAE, CGAN, FlowMatching])
def test_validation_samples_are_in_the_units_of_the_user(kind):
    losses = []
    for factor in (1, 1024):
        data = Dataset(factor * X[::2], y[::2])
        net_params = {"train_split": predefined_split(data)}
        generator = kind(**FAST, net_params=net_params).fit(factor * X, y)
        losses.append(generator.history_[:, "valid_loss"])
        pickle.loads(pickle.dumps(generator))
    np.testing.assert_allclose(*losses, rtol=1e-4)
    far = validate_on(Dataset(X[::2] + 100, y[::2]))
    worse = kind(**FAST, net_params=far).fit(X, y).history_[-1, "valid_loss"]
    assert worse > losses[0][-1] or kind is CGAN


@pytest.mark.parametrize(
    "dataset",
    [
        Dataset(X[::2], y[::2]),
        list(zip(X[::2].tolist(), y[::2], strict=True)),
        list(zip(torch.tensor(X[::2]), y[::2], strict=True)),
    ],
    ids=["skorch", "pairs", "tensors"],
)
def test_the_loss_of_given_validation_samples_is_that_of_the_classifier(dataset):
    classifier = LongTailClassifier(
        solver="sgd",
        loss="cross_entropy",
        augment=None,
        target_prior=None,
        **FAST,
        net_params=validate_on(dataset),
    ).fit(X, y)
    expected = log_loss(y[::2], classifier.predict_proba(X[::2]))
    assert classifier.history_[-1, "valid_loss"] == pytest.approx(expected, rel=1e-5)


def test_validation_samples_that_do_not_fit_are_refused():
    unknown = TensorDataset(torch.tensor(X), torch.tensor(codes))
    with pytest.raises(ValueError, match="previously unseen labels"):
        CVAE(**FAST, net_params=validate_on(unknown)).fit(X, y)
    narrow = Dataset(X[:, :2], y)
    with pytest.raises(ValueError, match="2 features, and the training samples 4"):
        CVAE(**FAST, net_params=validate_on(narrow)).fit(X, y)
    texts = [("a.jpg", "a")]
    with pytest.raises(ValueError, match="X contains strings"):
        CVAE(**FAST, net_params=validate_on(texts)).fit(X, y)


def test_samples_in_two_databases_can_be_left_out_of_an_audit(tmp_path):
    rng = np.random.RandomState(0)
    parts = {n: rng.normal(size=(80, 3)).astype("f4") for n in ("train", "test", "val")}
    parts["test"][:2] = parts["train"][5]
    parts["val"][0] = parts["train"][7]
    arrays = {f"X_{n}": part for n, part in parts.items()}
    arrays |= {f"y_{n}": np.arange(80) % 2 for n in parts}
    arrays |= {f"groups_{n}": [f"{n}{i}" for i in range(80)] for n in parts}
    np.savez(tmp_path / "all.npz", **arrays)
    np.savez(
        tmp_path / "synthetic.npz", X=rng.normal(size=(80, 3)), y=np.arange(80) % 2
    )
    source = str(tmp_path / "all.npz")
    command = ["audit", str(tmp_path / "synthetic.npz")]
    command += [f"--{n}={source}" for n in ("members", "nonmembers", "reference")]
    result = CliRunner().invoke(app, command)
    numbers = "2 of members, 2 of nonmembers, 1 of reference"
    assert result.exit_code == 1
    assert numbers in result.output and "--drop-duplicates" in result.output
    result = CliRunner().invoke(app, [*command, "--drop-duplicates"])
    assert result.exit_code == 0, result.output
    assert f"Left out, because they are in more than one database: {numbers}" in (
        result.output
    )


NAMES = ["_background_", "$x_1$", "it costs $5", "two\nlines", "<b>"]
SHOWN = [" _background_", "$x_1$", "it costs $5", "two lines", "<b>"]
LABELS = np.repeat(NAMES, 40)
POINTS = np.random.RandomState(0).normal(size=(200, 4))
CURVES = {name: np.linspace(0, 1, 5) for name in NAMES}
DRAW = {
    "counts": lambda: ClassCountDisplay.from_data(LABELS, LABELS),
    "coverage": lambda: ClassCoverageDisplay.from_data(CURVES, [9, 8, 7, 6, 5]),
    "coverage of classes": lambda: ClassCoverageDisplay.from_data(
        {"method": np.linspace(0, 1, 5)}, [9, 8, 7, 6, 5], labels=NAMES
    ),
    "radius": lambda: SphereRadiusDisplay.from_data(CURVES, [9, 8, 7, 6, 5]),
    "variance": lambda: FrechetVarianceDisplay.from_data(
        [0.5, 1.0], np.ones((5, 2)), NAMES
    ),
    "latent": lambda: LatentSpaceDisplay.from_data(POINTS, LABELS),
    "projection": lambda: ProjectionDisplay.from_data(POINTS, LABELS, POINTS, LABELS),
    "membership": lambda: MembershipROCDisplay.from_scores(
        dict.fromkeys(NAMES, POINTS[:, 0]), dict.fromkeys(NAMES, POINTS[:, 1])
    ),
    "shots": lambda: ShotAccuracyDisplay.from_predictions(
        LABELS, dict.fromkeys(NAMES, LABELS), y_train=LABELS
    ),
}


@pytest.mark.parametrize("name", DRAW)
def test_any_name_is_shown_as_it_is(name):
    display = DRAW[name]()
    display.figure_.draw_without_rendering()
    legend = display.ax_.get_legend()
    texts = [] if legend is None else legend.get_texts()
    texts = [*texts, *display.ax_.get_xticklabels()]
    shown = []
    for text in texts:
        # What matplotlib draws: a formula, or the text without its escapes.
        drawn, is_formula = text._preprocess_math(text.get_text())
        assert not is_formula or not any(part in drawn for part in ("x_1", "5"))
        shown.append(drawn)
    for expected in SHOWN:
        assert any(text.startswith(expected[:15]) for text in shown), (expected, shown)
    plt.close(display.figure_)
