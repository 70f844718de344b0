"""The script of utility against attacks: splits, releases, the ledger, the figure."""

from functools import partial

import numpy as np
import privacy_frontier as frontier
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.datasets import load_digits

from skcvae.anonymization import CVAEAnonymizer
from skcvae.generators import CVAE

FAST = {"max_epochs": 1, "latent_dim": 2, "device": "cpu"}
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.fixture
def digits(monkeypatch):
    """Let every data set be 600 digits, and CVAEs train for one epoch."""
    X, y = (part[:600] for part in load_digits(return_X_y=True))
    X = X.astype(np.float32)
    monkeypatch.setattr(frontier, "load_set", lambda data, name: (X, y))
    monkeypatch.setattr(frontier, "CVAE", lambda **p: CVAE(**{**p, **FAST}))
    monkeypatch.setattr(
        frontier, "CVAEAnonymizer", lambda **p: CVAEAnonymizer(**{**p, **FAST})
    )
    return X, y


def test_split_is_disjoint_and_has_its_shares_of_each_class(digits):
    X, y = digits
    parts = frontier.split_classes(X, y, seed=0)
    rows = np.concatenate([part for part, _ in parts])
    assert sorted(map(bytes, rows)) == sorted(map(bytes, X))
    shares = [np.bincount(labels) / np.bincount(y) for _, labels in parts]
    for found, expected in zip(shares, (0.4, 0.4, 0.2), strict=True):
        assert_allclose(found, expected, atol=0.02)


def test_copies_of_members_are_useful_and_found(digits):
    sets = frontier.split_classes(*digits, seed=0)
    utility, nearest, likelihood, means = frontier.measure(*sets[0], sets)
    assert utility > 90
    assert nearest == 1
    assert min(likelihood, means) > 0.6
    strangers = frontier.measure(*sets[2], sets)
    assert max(strangers[1:]) < 0.6


def test_a_curve_trains_once_and_only_for_rows_that_are_asked_for(digits):
    trained = []

    def make(seed):
        trained.append(seed)
        return CVAE(**FAST, random_state=seed)

    sets = frontier.split_classes(*digits, seed=0)
    releases = frontier.curve("CVAE", make, times=(3,))(sets, 7)
    assert trained == []
    drawn = {name: release() for name, release in releases.items()}
    assert trained == [7]
    sizes = {name: len(X) // len(sets[0][0]) for name, (X, _) in drawn.items()}
    assert sizes == {
        **{f"CVAE, variance {v}": 1 for v in (0.5, 1.0, 1.5)},
        "CVAE, 3 times the samples": 3,
    }
    spread = [np.var(X) for X, _ in drawn.values()]
    assert spread[0] < spread[1] < spread[2]


def test_tied_latents_have_the_mean_covariance_and_their_own_centres(digits):
    cvae = CVAE(**FAST, random_state=0).fit(*digits)
    before = cvae.latent_prior_.factor.copy()
    tied = frontier.with_tied_latents(cvae)
    covariances = before @ before.transpose(0, 2, 1)
    expected = np.average(covariances, axis=0, weights=np.bincount(digits[1]))
    factor = tied.latent_prior_.factor
    assert_allclose(factor @ factor.transpose(0, 2, 1), [expected] * 10, rtol=1e-5)
    assert_array_equal(tied.latent_prior_.centre, cvae.latent_prior_.centre)
    assert_array_equal(cvae.latent_prior_.factor, before)


def test_an_interrupted_run_goes_on_and_draws_its_figure(
    digits, tmp_path, monkeypatch, capsys
):
    keep, figure = tmp_path / "rows.jsonl", tmp_path / "curves.png"
    run = partial(frontier.main, tmp_path, seeds=2, keep=keep, figure=figure)
    measure, calls = frontier.measure, []

    def interrupted(*args):
        if len(calls) == 3:
            raise KeyboardInterrupt
        calls.append(args)
        return measure(*args)

    monkeypatch.setattr(frontier, "measure", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(["ablation"])
    assert len(keep.read_text().splitlines()) == 3
    monkeypatch.setattr(frontier, "measure", lambda *args: [50.0, 0.5, 0.6, 0.7])
    run(["ablation"])
    run(["curves"])
    printed = capsys.readouterr().out
    rows = keep.read_text().splitlines()
    assert len(rows) == len(set(rows)) == 2 * (2 * 10 + 3 * 18)
    assert printed.count("240 members of 10 classes, 2 seeds") == 5
    assert "hidden_dim=64, beta=2 " in printed
    assert figure.stat().st_size > 10_000


def test_unknown_part_is_refused(tmp_path):
    with pytest.raises(Exception, match="choose among"):
        frontier.main(tmp_path, ["curve"])
