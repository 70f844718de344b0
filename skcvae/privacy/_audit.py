"""The default privacy report: controls, attacks, copies, attributes, guarantees."""

from collections.abc import Sequence
from numbers import Integral

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import (
    HasMethods,
    Interval,
    StrOptions,
    validate_params,
)

from .._label_sets import is_label_sets
from .._neighbors import nearest_distances
from .._record_sets import first_of_equals, same_size, scale_by
from .._seeds import draw_seeds
from .._statistics import quantile
from .._warnings import warn_user
from ._audit_membership import (
    DECODER_ATTACKS,
    LATENT_SEARCH,
    MIN_RECORDS,
    audit_membership,
    audit_splits,
    check_splits,
    score_records,
)
from ._audit_parts import check_parts, has_decoder, synthesize, train_clone
from ._audit_report import PrivacyAudit
from ._audited_sets import name_label_sets
from ._closeness import distance_to_closest_record_share, exact_copies
from ._membership import label_inference_gap, scaler_attack
from ._sample_attacks import SAMPLE_ATTACKS, SampleAttacks

# With so many records on a side, an AUC is useful.
_ENOUGH_RECORDS = 500
_SETS = ("members", "nonmembers", "reference")


@validate_params(
    {
        "synthetic": [tuple, list, HasMethods("sample")],
        **{f"X_{name}": ["array-like", None] for name in _SETS},
        **{f"y_{name}": ["array-like", "sparse matrix", None] for name in _SETS},
        **{f"groups_{name}": ["array-like", None] for name in _SETS},
        "attacks": [StrOptions({"default"}), tuple, list],
        "extremes": [tuple, list, None],
        "statement": [dict, None],
        "retrain": [HasMethods(["fit", "get_params"]), None],
        "n_repeats": [Interval(Integral, 1, None, closed="left")],
        "random_state": ["random_state"],
    },
    prefer_skip_nested_validation=True,
)
def privacy_audit(  # noqa: PLR0913  three sets of records, and the release
    synthetic: tuple | object,
    X_members: ArrayLike,
    y_members: ArrayLike,
    X_nonmembers: ArrayLike,
    y_nonmembers: ArrayLike,
    X_reference: ArrayLike,
    y_reference: ArrayLike,
    *,
    groups_members: ArrayLike | None = None,
    groups_nonmembers: ArrayLike | None = None,
    groups_reference: ArrayLike | None = None,
    attacks: str | Sequence[str] = "default",
    extremes: Sequence[ArrayLike] | None = None,
    statement: dict | None = None,
    retrain: BaseEstimator | None = None,
    n_repeats: int = 1,
    random_state: int | np.random.RandomState | None = None,
) -> PrivacyAudit:
    """Attack a release and report what leaks.

    The report begins with a headline: figures that are beyond what chance gives. It has
    the controls of each attack, and leaks that were planted in other releases, with
    what the headline shows of them; membership inference, overall, by class
    and for the most isolated records; copies and closeness; label inference; and what
    is formally guaranteed. It holds aggregates only, because distances of single
    records would leak themselves [1]_, and gives no verdict: a failed attack does not
    prove privacy.

    Parameters
    ----------
    synthetic : tuple of (X, y), or object with `sample`
        The release: synthetic samples of shape (n_synthetic, n_features) with their
        labels; or a fitted anonymizer, generator or loaded release, of which
        ``sample(y=y_members)`` is attacked. More released samples leak more: give as
        many as you mean to publish. Where it is a
        :class:`~skcvae.generators.DecoderMixin`, the decoder is attacked, too; where it
        has `privacy_statement`, that is the formal part.

    X_members : array-like of shape (n_members, n_features)
        Samples that the release was made from, at least 20; 500 for a useful answer.
        Equal samples count once.

    y_members : array-like of shape (n_members,) or (n_members, n_labels)
        Their labels, or their label sets of 0 and 1, as all targets then are. Each set
        that the release draws is a class; in samples that are given, each set of 20
        samples. A sample with another set counts for the largest such subset.

    X_nonmembers : array-like of shape (n_nonmembers, n_features)
        Hold-out: samples of the same distribution that neither training nor model
        selection has used, at least 20; 500 for a useful answer, and for true-positive
        rates.

    y_nonmembers : array-like of shape (n_nonmembers,)
        Their labels.

    X_reference : array-like of shape (n_reference, n_features)
        Samples that an attacker has, of the same distribution, at least 20, neither
        members nor non-members.

    y_reference : array-like of shape (n_reference,)
        Their labels.

    groups_members, groups_nonmembers, groups_reference : array-like, default=None
        Group of each sample, such as the patient. Two sets may not share a group. None
        makes each sample a group.

    attacks : "default" or list of str, default="default"
        Membership attacks. On samples: "nearest_neighbor" and "nearest_by_feature", see
        :func:`nearest_neighbor_attack`; "likelihood" and "class_means", see
        :func:`class_gaussian_attack`; "aligned_copies", nearest neighbours after a
        rotation, permutation, mirroring, scale and shift that makes the samples fit
        half of the members. On an object with `make_decoder`: "latent_search", see
        :func:`latent_search_attack`; "subspace", by what a record has in directions in
        which the decoder hardly varies. The default is all that the release allows.

    extremes : tuple of (minimum, maximum), default=None
        Released extremes of the features, as of a min-max scaler. No release of skcvae
        holds any.

    statement : dict, default=None
        The formal part, with `guarantee` at least, for samples in a tuple. None takes
        what `synthetic.privacy_statement()` returns, or "no formal guarantee".

    retrain : estimator, default=None
        The unfitted estimator that made the release, with `fit` and `sample`, or
        `fit_transform`. It is trained on the reference to calibrate the attack on a
        decoder, and anew in each repeat.

    n_repeats : int, default=1
        With 5 or more, members and non-members are split at random that many times,
        `retrain` is trained on the members of each split, and the mean AUCs are
        reported, too, because one training may leak more than another.

    random_state : int, RandomState instance or None, default=None
        Draws synthetic samples, the parts that are compared, and the splits.

    Returns
    -------
    audit : PrivacyAudit
        Print it, or take `audit.to_dict()`.

    Raises
    ------
    ValueError
        If there is no hold-out or no reference, a set is too small, two of the real
        sets share a sample or a group, samples and labels do not fit together, or
        `retrain` has no decoder to calibrate or repeat the attacks on one.

    Warns
    -----
    UserWarning
        With fewer than 500 members or non-members.

    References
    ----------
    .. [1] G. Ganev and E. De Cristofaro, "The Inadequacy of Similarity-based Privacy
       Metrics: Privacy Attacks against 'Truly Anonymous' Synthetic Datasets", 2023,
       `arXiv 2312.05114 <https://arxiv.org/abs/2312.05114>`_.

    Examples
    --------
    >>> import numpy as np
    >>> from skcvae.privacy import privacy_audit
    >>> rng = np.random.RandomState(0)
    >>> members, nonmembers, reference = rng.randn(3, 500, 5)
    >>> y = np.repeat([0, 1], 250)
    >>> leaky = members + 0.01 * rng.randn(500, 5)
    >>> audit = privacy_audit(
    ...     (leaky, y), members, y, nonmembers, y, reference, y, random_state=0)
    >>> audit.maximum.low > 0.95
    True
    """
    if is_label_sets(y_members):
        random_state = check_random_state(random_state)
        targets = y_members, y_nonmembers, y_reference
        synthetic, y_members, y_nonmembers, y_reference = name_label_sets(
            synthetic, targets, retrain, random_state
        )
    parts = check_parts(
        (X_members, y_members, groups_members),
        (X_nonmembers, y_nonmembers, groups_nonmembers),
        (X_reference, y_reference, groups_reference),
        min_samples=MIN_RECORDS,
    )
    names = _choose_attacks(attacks, synthetic)
    check_splits(retrain, n_repeats, names)
    notes = _warn_about_size(parts)
    formal = _formal_part(synthetic, statement)
    members, nonmembers, reference = parts
    rates = None
    if extremes is not None:
        rates = scaler_attack(*extremes, members.X, nonmembers.X)
    seeds = draw_seeds(check_random_state(random_state), 5)
    released = synthesize(synthetic, members.y, seeds[0], members.X.shape[1])
    attribute = label_inference_gap(
        *released, *members[:2], *nonmembers[:2], X_reference=reference.X
    )
    reference_release = None
    if LATENT_SEARCH in names:
        if retrain is not None:
            reference_release = train_clone(retrain, reference.X, reference.y, seeds[1])
        notes += _notes_on_decoder(reference_release)
    elif not isinstance(synthetic, tuple | list) and not has_decoder(synthetic):
        notes.append("The release has no decoder: latent_search was left out.")
    on_samples = SampleAttacks(parts)
    scores = score_records(
        names, synthetic, released, on_samples, reference_release, seeds[2]
    )
    return PrivacyAudit(
        n_members=len(members.X),
        n_nonmembers=len(nonmembers.X),
        n_reference=len(reference.X),
        n_synthetic=len(released.X),
        **audit_membership(scores, on_samples, released, seeds[2]),
        closeness=_audit_closeness(released.X, parts, seeds[3]),
        attribute=attribute,
        extremes=rates,
        formal=formal,
        splits=audit_splits(
            names, retrain, n_repeats, parts, reference_release, seeds[4]
        ),
        notes=tuple(notes),
    )


def _choose_attacks(attacks, synthetic):
    """Return the names of the attacks; refuse unknown and impossible ones."""
    possible = list(SAMPLE_ATTACKS)
    if has_decoder(synthetic):
        possible += DECODER_ATTACKS
    if isinstance(attacks, str):
        return possible
    impossible = sorted(set(map(str, attacks)) - set(possible))
    if impossible or not attacks:
        raise ValueError(
            f"attacks={list(attacks)} must name at least one of those that this "
            f"release allows: {possible}. latent_search and subspace need an object "
            "with make_decoder."
        )
    return list(attacks)


def _warn_about_size(parts):
    notes = []
    small = min(len(parts.members.X), len(parts.nonmembers.X))
    if small < _ENOUGH_RECORDS:
        notes.append(
            f"Few records: with {small} on a side, an AUC of 0.5 has an interval of "
            f"about +-{1.96 * np.sqrt(1 / (6 * small)):.2f}. {_ENOUGH_RECORDS} members "
            "and as many non-members are wanted, and needed for TPR at 1 % FPR."
        )
        warn_user(notes[0])
    for name, part in parts._asdict().items():
        n_repeated = len(part.X) - len(first_of_equals(part.X))
        if n_repeated:
            notes.append(
                f"{n_repeated} samples of X_{name} repeat others: the attacks on "
                "membership count equal samples once."
            )
    return notes


def _notes_on_decoder(reference_release):
    notes = ["latent_search and subspace have no controls, which need other trainings."]
    if reference_release is None:
        notes.append(
            "latent_search is not calibrated, and much weaker for it: pass retrain."
        )
    return notes


def _formal_part(synthetic, statement):
    """Return the formal guarantee, as the user or the release states it."""
    if statement is None:
        if not hasattr(synthetic, "privacy_statement"):
            return {"guarantee": "no formal guarantee"}
        statement = synthetic.privacy_statement()
    if "guarantee" not in statement:
        raise ValueError("The privacy statement must have the key 'guarantee'.")
    return dict(statement)


def _audit_closeness(S, parts, seed):
    """Return copies, the share nearer to members, and medians of distances."""
    members, nonmembers, reference = (part.X for part in parts)
    copies = exact_copies(S, members, nonmembers, X_reference=reference)
    share = distance_to_closest_record_share(
        S, members, nonmembers, X_reference=reference, random_state=seed
    )
    members, nonmembers = same_size(members, nonmembers, np.random.RandomState(seed))
    S, M, H = scale_by(reference, S, members, nonmembers)
    pairs = {
        "synthetic_to_member": (S, M),
        "synthetic_to_nonmember": (S, H),
        "nonmember_to_member": (H, M),
    }
    return {
        "n_copies": copies.n_synthetic,
        "near_members": copies.near_members,
        "near_nonmembers": copies.near_nonmembers,
        "share": share,
        **{n: quantile(nearest_distances(*p)) for n, p in pairs.items()},
    }
