"""Clusters of at least k rows by greedy k-Same, and the means of their rows."""

import numpy as np

# Products of seeds and rows that are kept at a time: 64 MiB in float32.
_BLOCK_SIZE = 2**24


def cluster_groups(X, groups, k, remainder="join"):
    """Cluster the groups of rows, each represented by its mean.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        Rows that may share a cluster.

    groups : ndarray of shape (n_samples,)
        Integer codes: rows with the same code are one member of a cluster.

    k : int
        The least number of groups in a cluster; there are as many groups at least.

    remainder : {"join", "drop"}
        "drop" leaves the last (number of groups) mod k groups without a cluster.

    Returns
    -------
    labels : ndarray of shape (n_samples,)
        The cluster of each row, -1 without one.

    centroids : ndarray of shape (n_clusters, n_features)
        Means over the groups of each cluster, in the type of `X`.

    sizes : ndarray of shape (n_clusters,)
        Number of groups in each cluster.
    """
    _, first, members = np.unique(groups, return_index=True, return_inverse=True)
    n_groups = len(first)
    points = X[first] if n_groups == len(X) else means_by_label(X, members)
    if remainder == "drop":
        points = points[: n_groups - n_groups % k]
    labels = np.full(n_groups, -1)
    clustered = labels[: len(points)]
    clustered[:] = microaggregate(points.astype(X.dtype, copy=False), k)
    centroids = means_by_label(points, clustered).astype(X.dtype)
    return labels[members], centroids, np.bincount(clustered)


def microaggregate(X, k):
    """Return the cluster of each row, shape (n_samples,): greedy k-Same.

    The unassigned row that is farthest from the mean of all rows and its k - 1
    nearest unassigned rows form a cluster; fewer than 2k rows are the last one.
    Distances are computed in the type of `X`.
    """
    X = _centre_and_scale(X)
    norms = np.einsum("ij,ij->i", X, X)
    rows = np.argsort(-norms, kind="stable")
    X, norms = X[rows], norms[rows]
    labels = np.empty(len(X), dtype=np.intp)
    n_clusters = 0
    while len(rows) >= 2 * k:
        clusters = _gather_clusters(X, norms, k)
        numbers = np.arange(n_clusters, n_clusters + len(clusters))
        labels[rows[clusters]] = numbers[:, None]
        n_clusters += len(clusters)
        left = np.ones(len(rows), dtype=bool)
        left[clusters] = False
        X, norms, rows = X[left], norms[left], rows[left]
    labels[rows] = n_clusters
    return labels


def _centre_and_scale(X):
    """Return rows around zero whose squares neither overflow nor cancel out."""
    X = X - X.mean(axis=0, dtype=np.float64).astype(X.dtype)
    X /= max(X.max(), -X.min()) or 1
    return X


def _gather_clusters(X, norms, k):
    """Return the clusters of the first rows, shape (n, k), one at least."""
    products = X[: max(1, _BLOCK_SIZE // len(X))] @ X.T
    # Squared distances to a seed are these less twice its products and a constant.
    offsets = norms.copy()
    clusters = []
    for seed, to_seed in enumerate(products):
        if len(X) - k * len(clusters) < 2 * k:
            break
        if offsets[seed] < np.inf:
            distances = offsets - 2 * to_seed
            nearest = seed
            cluster = []
            for _ in range(k):
                # A minimum at a time: several times faster than argpartition.
                distances[nearest] = np.inf
                cluster.append(nearest)
                nearest = distances.argmin()
            offsets[cluster] = np.inf
            clusters.append(cluster)
    return np.array(clusters)


def means_by_label(X, labels):
    """Return the mean of the rows of each label 0, 1, ..., in float64."""
    counts = np.bincount(labels)
    members = np.split(np.argsort(labels, kind="stable"), np.cumsum(counts)[:-1])
    means = np.empty((len(counts), X.shape[1]))
    for mean, rows in zip(means, members, strict=True):
        values = X[rows].astype(np.float64)
        # Around one of the rows: the mean of identical rows is exactly their value.
        mean[:] = values[0] + (values - values[0]).mean(axis=0)
    return means


def count_groups(codes, groups):
    """Return the number of distinct groups of each class code."""
    n_groups = groups.max() + 1
    return np.bincount(np.unique(codes * n_groups + groups) // n_groups)


def merge_small_classes(X, codes, groups, k):
    """Return what each class is clustered with: codes of shape (n_classes,).

    The smallest of the sets of classes, each class alone at first, joins the set with
    the nearest mean, until all have k groups. There are as many groups in all.
    """
    members = [np.unique(groups[codes == code]) for code in range(codes.max() + 1)]
    sizes = np.array([len(m) for m in members], dtype=float)
    weights = np.bincount(codes).astype(float)
    means = means_by_label(X, codes)
    merged = np.arange(len(sizes))
    while sizes.min() < k:
        small = sizes.argmin()
        distances = ((means - means[small]) ** 2).sum(axis=1)
        distances[small] = np.inf
        near = distances.argmin()
        members[near] = np.union1d(members[near], members[small])
        sizes[near] = len(members[near])
        weights[near] += weights[small]
        means[near] += (means[small] - means[near]) * weights[small] / weights[near]
        merged[merged == small] = near
        # Neither small nor near any more.
        sizes[small] = np.inf
        means[small] = np.inf
    return merged
