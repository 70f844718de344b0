from ._cvae import CVAEAnonymizer
from ._generative import GenerativeAnonymizer
from ._k_same import KSameAnonymizer
from ._merged_release import MergedRelease, merge_releases
from ._release import Release, load
from ._streams import SyntheticDataset

__all__ = [
    "CVAEAnonymizer",
    "GenerativeAnonymizer",
    "KSameAnonymizer",
    "MergedRelease",
    "Release",
    "SyntheticDataset",
    "load",
    "merge_releases",
]
