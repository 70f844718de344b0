"""What LongTailClassifier does for samples that are read in blocks."""

import numpy as np
import torch

from .._block_loader import BlockedSamples, check_unsplit
from .._blocks import check_blocks, refuse_blocks
from .._scaling import scale_of_moments, scale_rows
from .._validation import check_two_classes
from ..generators import ClassMoments


def check_block_fit(classifier, X, y, **given):
    """Return the `Blocks` and weights; refuse what needs all samples at once."""
    refused = {
        **{name: value is not None for name, value in given.items()},
        "calibration": classifier.calibration is not None,
        "memory": classifier.memory is not None,
        "solver='closed_form'": classifier.solver == "closed_form",
        "l2": classifier.l2 != "auto",
    }
    for name, is_given in refused.items():
        if is_given:
            refuse_blocks(f"LongTailClassifier with {name}", "Leave it out")
    check_unsplit(classifier.net_params)
    blocks = check_blocks(X, y)
    classifier.n_features_in_ = blocks.shape[1]
    check_two_classes(np.unique(blocks.y))
    return blocks, np.ones(len(blocks))


def scale_of_blocks(blocks):
    """Return what `estimate_scale` returns for samples in memory."""
    moments = ClassMoments.from_data(blocks, blocks.y)
    return scale_of_moments(
        moments.means, moments.counts, moments.scatter, moments.dtype
    )


class WeightedBlocks(BlockedSamples):
    """Scaled samples on disk, with class codes and weights as `WeightedTensors` has."""

    def __init__(self, blocks, codes, weight, offset, scale, device):
        super().__init__(
            blocks, codes, lambda X, _: scale_rows(X, offset, scale), device
        )
        self.w = torch.from_numpy(weight).to(device)
