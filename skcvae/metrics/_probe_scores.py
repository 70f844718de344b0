"""Scores of the linear head of the utility probe."""

import numpy as np
import torch
from sklearn.metrics import (
    accuracy_score,
    cohen_kappa_score,
    f1_score,
    recall_score,
    roc_auc_score,
)


@torch.inference_mode()
def score_levels(head, data, levels, seed, average):
    """Return predictions at the first noise level, and scores at each, of one draw."""
    noise = np.random.RandomState(seed).standard_normal(data.x_test.shape)
    noise = torch.from_numpy(noise.astype(np.float32)).to(data.x_test.device)
    has_auroc = not missing_classes(data.classes, data.y_test)
    scores, predictions = [], []
    for level in levels:
        logits = head(data.x_test + level * noise)
        probability = logits.double().softmax(dim=1).cpu().numpy()
        predicted = data.classes[probability.argmax(axis=1)]
        row = _label_scores(data.y_test, predicted, average)
        row["auroc"] = np.nan
        if has_auroc:
            row["auroc"] = _auroc(data.y_test, probability, data.classes, average)
        scores.append(row)
        predictions.append(predicted)
    return predictions[0], scores


def _label_scores(y_true, y_pred, average):
    """Return the scores of predicted labels, over the classes of the true ones."""
    classes = np.unique(y_true)
    return {
        "accuracy": float(accuracy_score(y_true, y_pred)),
        "balanced_accuracy": float(
            recall_score(y_true, y_pred, labels=classes, average="macro")
        ),
        "f1": float(
            f1_score(y_true, y_pred, labels=classes, average=average, zero_division=0)
        ),
        "kappa": float(cohen_kappa_score(y_true, y_pred)),
    }


def _auroc(y_true, probability, classes, average):
    """Return the area under the ROC curve; every class has test rows."""
    if len(classes) == 2:
        return float(roc_auc_score(y_true == classes[1], probability[:, 1]))
    return float(
        roc_auc_score(
            y_true, probability, multi_class="ovr", average=average, labels=classes
        )
    )


def missing_classes(classes, y_test):
    """Say which classes the test rows or the head lack; empty where they agree."""
    head, test = set(classes.tolist()), set(y_test.tolist())
    reasons = []
    if absent := sorted(head - test):
        reasons.append(f"the test rows lack the classes {absent[:5]}")
    if unseen := sorted(test - head):
        reasons.append(f"the head never saw the classes {unseen[:5]}")
    return "; ".join(reasons)
