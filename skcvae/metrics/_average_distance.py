"""The distance that the reference programs call anonymity."""

from sklearn.utils._param_validation import StrOptions, validate_params

from .._neighbors import nearest_neighbors
from .._record_sets import check_record_sets, scale_by


@validate_params(
    {
        "X_synthetic": ["array-like"],
        "X_real": ["array-like"],
        "space": [StrOptions({"common", "reference"})],
    },
    prefer_skip_nested_validation=True,
)
def average_min_distance(X_synthetic, X_real, *, space="common"):
    """Compute the mean distance from a synthetic row to the nearest real row.

    Larger is often read as more private, but it is larger for any poor synthesis, too:
    rows of noise are far from everything. It has no baseline; the attacks have one.

    Parameters
    ----------
    X_synthetic : array-like of shape (n_synthetic, n_features)
        Released rows.

    X_real : array-like of shape (n_real, n_features)
        Rows that the release was made from.

    space : {"common", "reference"}, default="common"
        "common" divides both sets by the standard deviations of the real one.
        "reference" standardises each set by its own means and standard deviations, as
        the program of [1]_ does, to compare with its tables. That compares points of
        two spaces, and hides a wrong mean or a wrong spread of the synthetic rows;
        where they spread less than real rows, it makes their distances larger. A
        feature that is constant in a set keeps its scale there.

    Returns
    -------
    distance : float
        At least 0, in standard deviations: of n features, independent rows are about
        the square root of 2 n apart.

    Raises
    ------
    ValueError
        If rows are not finite or have other features.

    References
    ----------
    .. [1] F. Di Salvo, D. Tafler, S. Doerrich and C. Ledig, "Privacy-preserving
       datasets by capturing feature distributions with Conditional VAEs", BMVC 2024,
       `arXiv 2408.00639 <https://arxiv.org/abs/2408.00639>`_.

    Examples
    --------
    >>> from skcvae.metrics import average_min_distance
    >>> average_min_distance([[1.0], [3.0]], [[0.0], [4.0]])
    0.5
    >>> average_min_distance([[1.0], [3.0]], [[0.0], [4.0]], space="reference")
    0.0
    """
    sets = check_record_sets(X_synthetic=X_synthetic, X_real=X_real)
    S, real = sets["X_synthetic"], sets["X_real"]
    if space == "common":
        S, real = scale_by(real, S, real, scale="feature")
    else:
        S, real = (
            scale_by(rows, rows - rows.mean(axis=0), scale="feature")[0]
            for rows in (S, real)
        )
    return float(nearest_neighbors(S, real)[0].mean())
