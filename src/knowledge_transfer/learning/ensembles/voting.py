"""Votes: each member ranks the classes, a rule elects one class per image.

A ballot is a member's ranking by logit, equal logits by class index. A rule takes `positions` int64 [M, B, C], 0 for
the class that is first on a ballot, and `support` int64 [B, C], which breaks every tie at every step: the number of
classes with a lower sum of the members' probabilities, or an equal sum and a higher index. It returns the winners,
int64 [B].
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from knowledge_transfer.learning.config import did_you_mean

# Sums that should be equal differ in the last bits when they were added in another order: these many steps are one tie.
_STEPS_PER_VOTE = 10**9
_CHUNK_ELEMENTS = 2**22


@torch.no_grad()
def vote(logits: Tensor, rule: str) -> Tensor:
    """Return the class that `rule` elects for each image, int64 [B], from the members' logits [M, B, C]."""
    if rule not in _RULES:
        raise ValueError(f"unknown vote '{rule}'{did_you_mean(rule, _RULES)}")
    members, _, classes = logits.shape
    # The largest intermediates are M·B·C and B·C² integers; images are independent, so memory is bounded by chunks.
    size = max(1, _CHUNK_ELEMENTS // (classes * max(members, classes)))
    return torch.cat([_RULES[rule](*_ballots(chunk)) for chunk in torch.split(logits, size, dim=1)])


def _ballots(logits: Tensor) -> tuple[Tensor, Tensor]:
    """Return `positions` [M, B, C] and `support` [B, C]."""
    positions = logits.argsort(dim=2, descending=True, stable=True).argsort(dim=2)
    probabilities = _exact(logits.double().softmax(dim=2).sum(dim=0))
    behind = probabilities.argsort(dim=1, descending=True, stable=True).argsort(dim=1)
    return positions, logits.shape[2] - 1 - behind


def _exact(votes: Tensor) -> Tensor:
    return (votes * _STEPS_PER_VOTE).round().long()


def _first(scores: Tensor, support: Tensor) -> Tensor:
    """Return the class of highest score [B], ties by support."""
    return (scores * scores.shape[1] + support).argmax(dim=1)


def _beats(positions: Tensor) -> Tensor:
    """Return int32 [B, C, C]: on how many ballots the row's class is ahead of the column's."""
    beats = torch.zeros(*positions.shape[1:], positions.shape[2], dtype=torch.int32, device=positions.device)
    for ballot in positions:
        beats += ballot.unsqueeze(2) < ballot.unsqueeze(1)
    return beats


def plurality(positions: Tensor, support: Tensor) -> Tensor:
    """Elect the class that most ballots put first."""
    return _first((positions == 0).sum(dim=0), support)


def borda(positions: Tensor, support: Tensor) -> Tensor:
    """Elect the highest sum of points: a class gets one point per class behind it on a ballot."""
    return _first((positions.shape[2] - 1 - positions).sum(dim=0), support)


def dowdall(positions: Tensor, support: Tensor) -> Tensor:
    """Elect the highest sum of points: 1 for a first position, 1/2 for a second, 1/3 for a third."""
    return _first(_exact((1 / (positions.double() + 1)).sum(dim=0)), support)


def copeland(positions: Tensor, support: Tensor) -> Tensor:
    """Elect the class with most pairwise victories less defeats; a pair split evenly counts for neither."""
    beats = _beats(positions)
    return _first((beats - beats.transpose(1, 2)).sign().sum(dim=2), support)


def simpson(positions: Tensor, support: Tensor) -> Tensor:
    """Elect the class whose worst pairwise result, ballots ahead of one opponent, is best (minimax)."""
    itself = torch.eye(positions.shape[2], dtype=torch.bool, device=positions.device)
    return _first(_beats(positions).masked_fill(itself, len(positions)).amin(dim=2), support)


def baldwin(positions: Tensor, support: Tensor) -> Tensor:
    """Strike the class of lowest Borda score, ties by support, count again among the rest, until one is left."""
    beats = _beats(positions)
    running = torch.ones_like(support, dtype=torch.bool)
    for _ in range(support.shape[1] - 1):
        running = _strike_last(_borda_among(running, beats), support, running)
    return running.int().argmax(dim=1)


def nanson(positions: Tensor, support: Tensor) -> Tensor:
    """Strike all classes of average Borda score or below, count again; where all are average, support decides."""
    beats = _beats(positions)
    running = torch.ones_like(support, dtype=torch.bool)
    while True:
        scores, left = _borda_among(running, beats), running.sum(dim=1, keepdim=True)
        # Scores add up to M·n(n - 1)/2 over the n classes that are left.
        above = running & (2 * scores > len(positions) * (left - 1))
        if not above.any():
            return _first(running.long(), support)
        running = torch.where(above.any(dim=1, keepdim=True), above, running)


def bucklin(positions: Tensor, support: Tensor) -> Tensor:
    """Elect the class on most ballots at the first depth at which a class is on more than half of them."""
    classes = positions.shape[2]
    at_position = torch.stack([(positions == position).sum(dim=0) for position in range(classes)])
    reached = at_position.cumsum(dim=0)
    depth = (2 * reached > len(positions)).any(dim=2).int().argmax(dim=0)
    return _first(reached[depth, torch.arange(len(support), device=depth.device)], support)


def single_transferable_vote(positions: Tensor, support: Tensor) -> Tensor:
    """Strike the class that fewest ballots put first among the rest, until one is left (one seat: instant run-off).

    Of several with fewest, the one of lowest support is struck, alone. Stopping at a majority elects the same class.
    """
    # Classes that no ballot puts first go before all others, and their going moves no ballot.
    running = (positions == 0).any(dim=0)
    for _ in range(min(len(positions), positions.shape[2]) - 1):
        choices = positions.masked_fill(~running, positions.shape[2]).argmin(dim=2)
        firsts = torch.zeros_like(support).scatter_add_(1, choices.T, torch.ones_like(choices.T))
        running = _strike_last(firsts, support, running)
    return running.int().argmax(dim=1)


def _borda_among(running: Tensor, beats: Tensor) -> Tensor:
    """Return the Borda scores [B, C] of ballots from which all but the running classes are crossed out."""
    return (beats * running.unsqueeze(1)).sum(dim=2)


def _strike_last(scores: Tensor, support: Tensor, running: Tensor) -> Tensor:
    """Return `running` [B, C] less the class of lowest score, ties by support; the last one running stays."""
    keys = (scores * scores.shape[1] + support).masked_fill(~running, torch.iinfo(torch.int64).max)
    struck = torch.zeros_like(running).scatter_(1, keys.argmin(dim=1, keepdim=True), True)
    return running & ~(struck & (running.sum(dim=1, keepdim=True) > 1))


_RULES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "plurality": plurality,
    "borda": borda,
    # Classes behind minus classes ahead (Zuchniak 2023, 2302.07215): twice Borda's points less a constant.
    "symmetric_borda": borda,
    "dowdall": dowdall,
    "copeland": copeland,
    "simpson": simpson,
    "baldwin": baldwin,
    "nanson": nanson,
    "bucklin": bucklin,
    "single_transferable_vote": single_transferable_vote,
}
VOTING_RULES = tuple(_RULES)
