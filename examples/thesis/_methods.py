"""The rows of the tables: what is trained, and what the thesis has beside it."""

import numpy as np
from _thesis import (
    ARCHITECTURES,
    Method,
    algorithm_1,
    cvae_note,
    generators,
    thesis_head,
)
from imblearn.over_sampling import ADASYN, SMOTE

from skcvae.long_tail import LogLinearPool, LongTailClassifier

VARIANCES = (0.25, 0.5, 0.75, 1, 2, 3)
# Of tables 4 and 5. The time to fit is measured.
_COLUMNS = {"thesis_variance": "", "variance": "", "fit_time": ""}

_LDAM = {"loss": "ldam", "loss_params": {"scale": 30.0, "max_margin": 0.5}}

# The settings of the thesis's program.
LOSSES = {
    "softmax": {"loss": "cross_entropy"},
    "balanced softmax": {"loss": "balanced_softmax"},
    "class-balanced softmax": {
        "loss": "class_balanced",
        "loss_params": {"beta": 0.99},
    },
    "focal": {"loss": "focal", "loss_params": {"gamma": 2.0}},
    "equalization": {
        "loss": "equalization",
        "loss_params": {"threshold": 1e-3, "gamma": 0.95},
    },
    "LDAM (as in the program)": _LDAM,
    "LDAM (cosine head)": {**_LDAM, "head": "cosine"},
}
# A number of steps of its own.
DEFAULT_HEAD = {"max_epochs": "auto"}
PRIOR_AWARE = ("balanced softmax", "class-balanced softmax", "equalization")

_REMIX_NOTE = "instance sampling, as in the program; compare with Remix + CBS"

# Without steps, epochs or generated samples; all settings are the defaults.
CLOSED_FORM = {
    "LongTailClassifier, closed form": LongTailClassifier,
    "LogLinearPool": LogLinearPool,
}

_LOSS_NOTES = {
    "LDAM (as in the program)": "plain logits times 30, no re-weighting",
    "LDAM (cosine head)": "normalised head, as its authors have it; not in the thesis",
}


def variance_methods(setup):
    """Return the rows of tables 4 and 5: architectures and variances, and ours."""
    of_thesis = [
        variance_method(architecture, v, setup)
        for architecture in ARCHITECTURES
        for v in VARIANCES
    ]
    ours = [
        Method(name, algorithm_1(), columns=_COLUMNS, **generators(setup)[name])
        for name in ("CVAE (ours)", "ClassGaussian")
    ]
    return of_thesis + ours + closed_form_methods(_COLUMNS)


def closed_form_methods(columns=None):
    """Return rows of ours that have no batches."""
    return [
        Method(
            name,
            {},
            note="all defaults, no steps; ours, not in the thesis",
            columns=columns or {},
            classifier=lambda seed, kind=kind: kind(random_state=seed),
        )
        for name, kind in CLOSED_FORM.items()
    ]


def variance_method(architecture, thesis_variance, setup):
    """Return the row of one CVAE of the thesis."""
    variances = {"thesis_variance": thesis_variance, "variance": thesis_variance**2}
    return Method(
        f"CVAE (thesis), {architecture}",
        algorithm_1(),
        lambda seed: setup.thesis_cvae(architecture, thesis_variance, seed),
        thesis=f"{architecture} {thesis_variance}",
        note=cvae_note(setup),
        columns={**_COLUMNS, **variances},
        trainings=setup.cvaes[architecture],
    )


def resampling_methods(setup):
    """Return the rows of table 6: resampling and augmentation."""
    rows = [
        Method("Baseline", thesis_head(), thesis="Baseline"),
        Method("CBS", thesis_head(sampling="balanced"), thesis="CBS"),
        offline_method("SMOTE", make_smote, setup),
        offline_method("ADASYN", make_adasyn, setup),
        Method("Remix", thesis_head(remix=True), thesis="Remix", note=_REMIX_NOTE),
        Method(
            "Remix + CBS",
            thesis_head(sampling="balanced", remix=True),
            note="not in the thesis under this name",
        ),
    ]
    for name, generator in generators(setup).items():
        of_thesis = name == "CVAE (thesis)"
        for remix, suffix in ((False, ""), (True, " + Remix")):
            thesis = f"CVAE{suffix}" if of_thesis else None
            head = algorithm_1(remix=remix)
            rows.append(Method(name + suffix, head, thesis=thesis, **generator))
    return rows + closed_form_methods()


def make_smote(y, seed):
    """Return SMOTE with as many neighbours as the smallest class has, at most 5."""
    smallest = np.unique(y, return_counts=True)[1].min()
    return SMOTE(k_neighbors=max(1, min(5, smallest - 1)), random_state=seed)


def make_adasyn(y, seed):
    """Return ADASYN."""
    return ADASYN(random_state=seed)


def offline_method(name, sampler, setup):
    """Return the row of a sampler that fills up the classes before the training."""
    counts = np.unique(setup.data.y_train, return_counts=True)[1]
    passes = setup.epochs(len(counts) * counts.max())
    nearest = f"the nearest to {setup.n_steps} steps"
    note = f"{passes} passes over the filled-up samples, {nearest}"
    return Method(name, thesis_head(), sampler=sampler, thesis=name, note=note)


def loss_methods(setup):
    """Return the rows of tables 7 and 8: losses, and the repair of the prior."""
    rows = []
    for name, loss in LOSSES.items():
        rows += one_loss(name, loss, setup)
    return rows + effective_prior_methods(setup)


def one_loss(name, loss, setup):
    """Return the rows of a loss: alone, and with each generator."""
    note = _LOSS_NOTES.get(name, "")
    # The thesis knows one LDAM.
    key = {"LDAM (as in the program)": "LDAM", "LDAM (cosine head)": None}.get(
        name, name
    )
    rows = [Method(name, thesis_head(**loss), thesis=key, note=note)]
    for generator_name, generator in generators(setup).items():
        of_thesis = key is not None and generator_name == "CVAE (thesis)"
        notes = note, generator["note"]
        rows.append(
            Method(
                f"{name} + {generator_name}",
                algorithm_1(**loss),
                thesis=f"{key} + CVAE" if of_thesis else None,
                **{**generator, "note": "; ".join(filter(None, notes))},
            )
        )
    return rows


def effective_prior_methods(setup):
    """Return rows that correct what is left of the prior, and our defaults."""
    sources = generators(setup)
    thesis, cvae = sources["CVAE (thesis)"], sources["CVAE (ours)"]
    effective = {"prior_correction": "effective", "target_prior": "uniform"}
    own = {**effective, "sampling": "sqrt", "augment": "inverse", "p_min": 0.2}
    once = f"prior corrected once; not in the thesis; {thesis['note']}"
    our_batches = "our default batches, the thesis's head; not in the thesis"
    defaults = "all defaults, about 2,000 steps; not in the thesis"
    rows = []
    for name in PRIOR_AWARE:
        loss = LOSSES[name]
        rows.append(
            Method(
                f"{name} + CVAE (thesis), effective prior",
                algorithm_1(**loss, **effective),
                **{**thesis, "note": once},
            )
        )
        rows.append(
            Method(
                f"{name} + CVAE (ours), effective prior, sqrt sampling",
                thesis_head(**loss, **own),
                **{**cvae, "note": our_batches},
            )
        )
    for name in ("CVAE (ours)", "ClassGaussian"):
        rows.append(
            Method(
                f"LongTailClassifier, defaults, {name}",
                DEFAULT_HEAD,
                **{**sources[name], "note": defaults},
            )
        )
    return rows
