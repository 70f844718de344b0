"""The Python file that `compare` writes: the best pipeline, cross-validated again."""

from pathlib import Path
from textwrap import fill

from .._files import write_whole
from ._comparison import Comparison, Plan
from ._methods import code_of
from ._sources import Source

_WIDTH = 88
_IMPORTS = (
    "import numpy as np",
    "from sklearn.metrics import balanced_accuracy_score",
    "from skcvae.long_tail import LongTailShuffleSplit",
)
_SCRIPT = '''\
"""{title} on {name}, written by `skcvae compare`.

{recommendation}
"""

{imports}

{read}
model = {model}

{rank}scores = []
for train, test in LongTailShuffleSplit({n_splits}, random_state={seed}).split(X, y):
{thin}    model.fit(X[train], y[train])
    scores.append(balanced_accuracy_score(y[test], model.predict(X[test])))
print(f"balanced accuracy: {{100 * np.mean(scores):.1f}} %")

# The model for new samples is trained on all.
model.fit(X, y)
'''
_RANK = """\
# The training parts are thinned: classes become exponentially smaller by their rank.
_, codes, counts = np.unique(y, return_inverse=True, return_counts=True)
rank = np.argsort(np.argsort(-counts, kind="stable"))[codes]

"""
_THIN = """\
    train, _ = make_long_tailed(
        train, rank[train], imbalance_ratio={ratio}, random_state={seed}
    )
"""


def write_script(
    path: Path, source: Source, comparison: Comparison, plan: Plan
) -> None:
    """Write a Python file with the best method, completely or not at all.

    It reads the same samples, repeats the splits, and prints the same score.
    """
    imports, model = code_of(comparison.models[comparison.best])
    imports = [*imports, *source.imports, *_IMPORTS]
    rank = thin = ""
    if plan.imbalance_ratio is not None:
        imports.append("from skcvae.datasets import make_long_tailed")
        rank = _RANK
        thin = _THIN.format(ratio=plan.imbalance_ratio, seed=plan.seed)
    code = _SCRIPT.format(
        title=comparison.best,
        name=_in_docstring(source.name),
        recommendation=fill(_in_docstring(comparison.recommendation()), _WIDTH),
        imports=_sorted_imports(imports),
        read=source.code,
        model=model.replace("\n", "\n" + " " * len("model = ")),
        rank=rank,
        n_splits=plan.n_splits,
        seed=plan.seed,
        thin=thin,
    )
    write_whole(path, code.encode())


def _sorted_imports(imports):
    """Return import statements, modules of Python's own first."""
    plain = sorted({line for line in imports if line.startswith("import")})
    named = {}
    for line in imports:
        if line.startswith("from"):
            module, _, found = line.removeprefix("from ").partition(" import ")
            named.setdefault(module, set()).update(found.split(", "))
    for module, names_of_module in sorted(named.items()):
        names = sorted(names_of_module)
        line = f"from {module} import {', '.join(names)}"
        if len(line) > _WIDTH:
            items = "".join(f"    {name},\n" for name in names)
            line = f"from {module} import (\n{items})"
        plain.append(line)
    return "\n".join(plain)


def _in_docstring(text):
    """Return text that cannot end a docstring."""
    return text.replace("\\", "/").replace('"', "'")
