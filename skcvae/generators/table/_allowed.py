"""Samples of a table that keep its constraints: drawn again, or moved."""

import numpy as np

from ..._constraints import find_allowed, move_to_allowed

# Rounds of drawing again.
_MAX_ROUNDS = 20


def draw_allowed(generator, labels, rng):
    """Return states and numbers that a `TableGenerator` draws, and may draw.

    What the rounds leave moves towards the training samples that had its states, or is
    refused where there are none.
    """
    states, numbers, parents = generator._draw(labels, rng)
    if not generator.constraints:
        return states, numbers
    broken = np.flatnonzero(~_find_allowed(generator, states, numbers))
    n_drawn, n_broken = len(labels), len(broken)
    for _ in range(_MAX_ROUNDS):
        if not len(broken):
            break
        again = None if parents is None else parents[broken]
        drawn = generator._draw(labels[broken], rng, again)
        states[broken], numbers[broken], _ = drawn
        held = _find_allowed(generator, *drawn[:2])
        n_drawn, n_broken = n_drawn + len(held), n_broken + (~held).sum()
        broken = broken[~held]
    if len(broken) and parents is None:
        raise ValueError(
            f"{len(broken)} of {len(labels)} samples still break the constraints "
            f"after {_MAX_ROUNDS} rounds: {1 - n_broken / n_drawn:.2%} of all "
            "samples drawn keep them. Give weaker ones."
        )
    if len(broken):
        goal = generator._training_numbers[parents[broken]]
        numbers[broken] = _move(generator, states[broken], numbers[broken], goal)
    return states, numbers


def _find_allowed(generator, states, numbers):
    """Mark the samples that keep the constraints."""
    table = generator._encoding.to_table(states, numbers)
    return find_allowed(generator.constraints, table)


def _move(generator, states, numbers, goal):
    """Return numbers on the way to those of training samples that are allowed."""
    encoding = generator._encoding

    def is_allowed(numbers):
        return _find_allowed(generator, states, encoding.snap(numbers))

    scored = encoding.is_scored(states)
    start, goal = (np.where(scored, values, 0.0) for values in (numbers, goal))
    return encoding.snap(move_to_allowed(start, goal, is_allowed))
