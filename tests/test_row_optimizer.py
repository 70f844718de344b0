"""AdamW by rows: the steps of rows that batches hold, and nets of many classes."""

import numpy as np
import pytest
import torch
from torch import nn

from skcvae.generators import CVAE, _row_optimizer
from skcvae.generators._row_optimizer import RowAdamW

pytestmark = pytest.mark.usefixtures("torch_seed")


def trained(kind, sparse, batches, start, target):
    table = nn.Embedding(4, 3, sparse=sparse)
    layer = nn.Linear(3, 2)
    table.load_state_dict({"weight": start.clone()})
    layer.load_state_dict({"weight": torch.ones(2, 3), "bias": torch.zeros(2)})
    optimizer = kind([*table.parameters(), *layer.parameters()], lr=0.1)
    for batch in batches:

        def closure(batch=batch):
            optimizer.zero_grad()
            loss = (layer(table(batch)) - target[batch]).square().mean()
            loss.backward()
            return loss

        optimizer.step(closure)
    return table.weight.detach(), layer.weight.detach()


def test_batches_of_all_rows_give_the_steps_of_adamw():
    start, target = torch.randn(4, 3), torch.randn(4, 2)
    # A class that is twice in a batch has one step, with the sum of both gradients.
    batches = 20 * [torch.tensor([0, 1, 2, 3, 3])]
    expected = trained(torch.optim.AdamW, False, batches, start, target)
    found = trained(RowAdamW, True, batches, start, target)
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs)


def test_rows_that_no_batch_holds_stay_as_they_are():
    start, target = torch.randn(4, 3), torch.randn(4, 2)
    batches = 5 * [torch.tensor([0, 2])]
    table, _ = trained(RowAdamW, True, batches, start, target)
    assert torch.equal(table[[1, 3]], start[[1, 3]])
    assert not torch.isclose(table[[0, 2]], start[[0, 2]]).any()


@pytest.fixture
def many(monkeypatch):
    """Call eight classes many."""
    monkeypatch.setattr(_row_optimizer, "_MANY_CLASSES", 7)


def data(n_classes=8):
    rng = np.random.RandomState(0)
    y = np.arange(160) % n_classes
    return rng.normal(size=(160, 6)) + rng.normal(size=(n_classes, 6))[y], y


def test_cvae_of_many_classes_learns_by_rows(many):
    X, y = data()
    generator = CVAE(latent_dim=2, max_epochs=40, device="cpu", random_state=0)
    generator.fit(X, y)
    losses = generator.history_[:, "train_loss"]
    assert losses[-1] < losses[0]
    drawn, _ = generator.sample(y=y)
    spread = [(part - part.mean(axis=0)).std() for part in (X[y == 0], drawn[y == 0])]
    assert 0.5 < spread[1] / spread[0] < 2


def row_gradients(monkeypatch, n_classes=8, **net_params):
    """Return whether the nets of a CVAE were trained by rows, and are so afterwards."""
    found = []
    step = RowAdamW._step_rows
    monkeypatch.setattr(
        RowAdamW, "_step_rows", lambda *args: (found.append(1), step(*args))
    )
    generator = CVAE(
        latent_dim=2, max_epochs=2, device="cpu", random_state=0, net_params=net_params
    ).fit(*data(n_classes))
    modules = generator.net_.module_.modules()
    tables = [module for module in modules if isinstance(module, nn.Embedding)]
    assert not any(table.sparse for table in tables)
    return bool(found)


def test_only_many_classes_are_trained_by_rows(many, monkeypatch):
    assert row_gradients(monkeypatch)
    assert not row_gradients(monkeypatch, n_classes=7)


@pytest.mark.parametrize(
    "net_params", [{"optimizer": torch.optim.Adam}, {"optimizer__amsgrad": True}]
)
def test_optimizers_that_know_no_rows_have_whole_gradients(
    net_params, many, monkeypatch
):
    assert not row_gradients(monkeypatch, **net_params)
