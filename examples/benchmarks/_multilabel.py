"""Rivals and classifiers of the benchmark of several labels for each sample."""

import numpy as np
import torch
from sklearn.neighbors import NearestNeighbors

# Steps of L-BFGS at most, and when it stops.
MAX_STEPS, TOLERANCE = 100, 1e-4


def imbalance_ratios(Y):
    """Return IRLbl of each label, infinite without samples, and MeanIR.

    Charte et al. 2015: the count of the most frequent label, divided by that of the
    label, and the mean over labels, here those that have samples.
    """
    counts = Y.sum(axis=0)
    with np.errstate(divide="ignore"):
        ratios = counts.max() / counts
    return ratios, ratios[counts > 0].mean()


def minority_labels(Y):
    """Return the labels with samples whose imbalance ratio is above the mean."""
    ratios, mean = imbalance_ratios(Y)
    return np.flatnonzero((ratios > mean) & np.isfinite(ratios))


def ml_ros(X, Y, rng, percentage=25):
    """Return samples and repeated ones with minority labels (ML-ROS).

    F. Charte, A. J. Rivera, M. J. del Jesus, F. Herrera, "Addressing imbalance in
    multilabel classification: measures and random resampling algorithms",
    Neurocomputing 163, 2015. Minority bags take turns, until `percentage` of the
    samples are added or no label is left with an imbalance ratio above the first mean.
    """
    _, mean = imbalance_ratios(Y)
    counts = Y.sum(axis=0).astype(int)
    bags = {label: np.flatnonzero(Y[:, label]) for label in minority_labels(Y)}
    cloned, n_wanted = [], len(Y) * percentage // 100
    while bags and len(cloned) < n_wanted:
        for label in list(bags)[: n_wanted - len(cloned)]:
            chosen = rng.choice(bags[label])
            cloned.append(chosen)
            counts += Y[chosen]
            if counts.max() / counts[label] <= mean:
                del bags[label]
    cloned = np.array(cloned, dtype=int)
    return np.concatenate([X, X[cloned]]), np.concatenate([Y, Y[cloned]])


def mlsmote(X, Y, rng, k=5):
    """Return samples and synthetic ones with minority labels (MLSMOTE).

    F. Charte, A. J. Rivera, M. J. del Jesus, F. Herrera, "MLSMOTE: approaching
    imbalanced multilabel learning through synthetic instance generation",
    Knowledge-Based Systems 89, 2015. Each sample of the bag of a minority label is a
    seed once: the new one lies between it and one of its `k` nearest neighbours in the
    bag, and has the labels that at least half of the seed and the neighbours have
    (ranking). A bag of one sample has no neighbours and gives none.
    """
    new_X, new_Y = [X], [Y]
    for label in minority_labels(Y):
        bag = np.flatnonzero(Y[:, label])
        n_neighbors = min(k, len(bag) - 1)
        if not n_neighbors:
            continue
        finder = NearestNeighbors(n_neighbors=n_neighbors).fit(X[bag])
        # Without an argument, no sample is a neighbour of itself.
        neighbors = bag[finder.kneighbors(return_distance=False)]
        picked = neighbors[np.arange(len(bag)), rng.randint(n_neighbors, size=len(bag))]
        steps = rng.uniform(size=(len(bag), 1)).astype(X.dtype)
        new_X.append(X[bag] + steps * (X[picked] - X[bag]))
        votes = Y[bag] + Y[neighbors].sum(axis=1)
        new_Y.append((2 * votes >= n_neighbors + 1).astype(Y.dtype))
    return np.concatenate(new_X), np.concatenate(new_Y)


def fit_logistic(X, Y, C=1.0, balanced=False):
    """Return weights (n_features, n_labels) and biases of one-vs-rest logistic heads.

    They minimise the sum of the losses plus the squared weights / (2 C), as
    scikit-learn's `OneVsRestClassifier(LogisticRegression(C=C))`, all heads at once.
    `balanced` weighs both answers of a label alike, as `class_weight="balanced"`.
    """
    X = torch.as_tensor(np.asarray(X, np.float32))
    Y = torch.as_tensor(np.asarray(Y, np.float32))
    n, positives = len(X), Y.sum(dim=0)
    scale = torch.ones_like(Y)
    if balanced:
        scale = torch.where(
            Y > 0,
            n / (2 * positives.clamp(min=1)),
            n / (2 * (n - positives).clamp(min=1)),
        )
    weights = torch.zeros((X.shape[1], Y.shape[1]), requires_grad=True)
    bias = torch.zeros(Y.shape[1], requires_grad=True)
    optimizer = torch.optim.LBFGS(
        [weights, bias],
        max_iter=MAX_STEPS,
        tolerance_grad=TOLERANCE,
        tolerance_change=1e-9,
        history_size=20,
        line_search_fn="strong_wolfe",
    )

    def closure():
        optimizer.zero_grad()
        logits = X @ weights + bias
        losses = torch.nn.functional.binary_cross_entropy_with_logits(
            logits, Y, weight=scale, reduction="sum"
        )
        loss = (losses + weights.square().sum() / (2 * C)) / n
        loss.backward()
        return loss

    optimizer.step(closure)
    return weights.detach().numpy(), bias.detach().numpy()
