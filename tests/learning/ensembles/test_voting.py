"""Votes: known elections, every tie, and a slow reference that follows each rule's words."""

import json
import math
import random
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import pytest
import torch
from torch import Tensor

from knowledge_transfer.learning.ensembles import voting
from knowledge_transfer.learning.ensembles.voting import VOTING_RULES, vote

# Wikipedia's election of Tennessee's capital: Memphis, Nashville, Chattanooga, Knoxville.
TENNESSEE = ["MNCK"] * 42 + ["NCKM"] * 26 + ["CKNM"] * 15 + ["KCNM"] * 17
CYCLE = ["ABC", "BCA", "CAB"]


def ballots(rankings: list[str], names: str, sharpness: Sequence[float] | None = None) -> Tensor:
    """Logits [M, 1, C] of members that rank the classes so; a sharper member gives its first more probability."""
    sharpness = sharpness or [1.0] * len(rankings)
    rows = [
        [scale * -ranking.index(name) for name in names] for ranking, scale in zip(rankings, sharpness, strict=True)
    ]
    return torch.tensor(rows).unsqueeze(1)


def elect(rule: str, rankings: list[str], names: str = "ABC", sharpness: Sequence[float] | None = None) -> str:
    winner = vote(ballots(rankings, names, sharpness), rule)
    assert winner.shape == (1,)
    assert winner.dtype == torch.int64
    return names[int(winner)]


@pytest.mark.parametrize("rule", VOTING_RULES)
def test_known_elections(rule: str) -> None:
    winners = {"plurality": "M", "single_transferable_vote": "K"}
    assert elect(rule, TENNESSEE, "MNCK") == winners.get(rule, "N")
    assert elect(rule, ["CAB"] * 3) == "C"
    assert elect(rule, ["BCA"]) == "B"


@pytest.mark.parametrize(
    ("rule", "rankings", "sharpness", "winner"),
    [
        # Borda: A 6, B 7. Dowdall: A 3 + 2/3, B 2 + 3/2.
        ("borda", ["ABC"] * 3 + ["BCA"] * 2, None, "B"),
        ("dowdall", ["ABC"] * 3 + ["BCA"] * 2, None, "A"),
        # A tie of unequal places: A has 1 + 1/4 + 1/4, B three times 1/2; C has 29/20, D and E less.
        ("dowdall", ["ABECD", "CBEAD", "DBEAC"], [3, 1, 1], "A"),
        ("dowdall", ["ABECD", "CBEAD", "DBEAC"], [0.5, 1, 1], "B"),
        # Victories, not margins: A beats B and C by one ballot each; B beats C by five.
        ("copeland", ["ABC"] * 3 + ["BCA"] * 2, None, "A"),
        ("symmetric_borda", ["ABC"] * 3 + ["BCA"] * 2, None, "B"),
        # A split pair counts for neither: A, B and C split their pairs and each beats D.
        ("copeland", ["ABCD", "CBAD"], [1, 2], "C"),
        ("copeland", ["ABCD", "CBAD"], [2, 1], "A"),
        # A cycle: A beats B 6:3, B beats C 7:2, C beats A 5:4. A's worst is 4 of 9, B's 3, C's 2.
        ("simpson", ["ABC"] * 4 + ["BCA"] * 3 + ["CAB"] * 2, None, "A"),
        ("plurality", ["ABC"] * 4 + ["BCA"] * 3 + ["CAB"] * 2, None, "A"),
        # A has one first place of nine, and beats B and C by 5 to 4.
        ("simpson", ["BAC"] * 4 + ["CAB"] * 4 + ["ABC"], None, "A"),
        ("plurality", ["BAC"] * 4 + ["CAB"] * 4 + ["ABC"], [3] * 4 + [1] * 5, "B"),
        # First places: A 2, B 2, C 1. Down to second places: A 2, B 3, C 5.
        ("bucklin", ["ACB"] * 2 + ["BCA"] * 2 + ["CBA"], None, "C"),
        # A majority of first places ends it, though B is on every ballot's first two.
        ("bucklin", ["ABC"] * 3 + ["BCA"] * 2, None, "A"),
        # Half is no majority: A is first on two of four; at depth two B is on all four, A on two.
        ("bucklin", ["ABC", "ABC", "BCA", "CBA"], [3, 3, 1, 1], "B"),
        # Borda: A 4, B 5, C 3 of average 4. Nanson strikes A and C; Baldwin C alone, then A and B split the ballots.
        ("nanson", ["ABC", "ABC", "BCA", "CBA"], None, "B"),
        ("baldwin", ["ABC", "ABC", "BCA", "CBA"], None, "A"),
        # D goes first; A, B and C are then exactly average, and probability decides.
        ("nanson", ["ABCD", "BCAD", "CABD"], [1, 1, 2], "C"),
        # A 3, B 2, C 2: whichever of B and C is struck, the other gets its ballots and beats A by 4 to 3.
        ("single_transferable_vote", ["ABC"] * 3 + ["BCA"] * 2 + ["CBA"] * 2, [1, 1, 1, 1, 1, 3, 3], "C"),
        ("single_transferable_vote", ["ABC"] * 3 + ["BCA"] * 2 + ["CBA"] * 2, [1, 1, 1, 3, 3, 1, 1], "B"),
    ],
)
def test_worked_elections(rule: str, rankings: list[str], sharpness: Sequence[float] | None, winner: str) -> None:
    assert elect(rule, rankings, "".join(sorted(rankings[0])), sharpness) == winner


@pytest.mark.parametrize(("sharpness", "winner"), [([3, 1, 2], "A"), ([1, 3, 2], "B"), ([1, 2, 3], "C")])
@pytest.mark.parametrize("rule", sorted(set(VOTING_RULES) - {"baldwin", "single_transferable_vote"}))
def test_perfect_ties_go_by_probability(rule: str, sharpness: Sequence[float], winner: str) -> None:
    assert elect(rule, CYCLE, sharpness=sharpness) == winner


@pytest.mark.parametrize(("sharpness", "winner"), [([3, 1, 2], "C"), ([1, 3, 2], "B"), ([3, 2, 1], "A")])
@pytest.mark.parametrize("rule", ["baldwin", "single_transferable_vote"])
def test_elimination_strikes_the_least_probable(rule: str, sharpness: Sequence[float], winner: str) -> None:
    # The sums of probabilities order the classes A C B, B C A and A B C. The last is struck, then the pair is decided
    # by ballots: C beats A, B beats C, A beats B, two to one.
    assert elect(rule, CYCLE, sharpness=sharpness) == winner


@pytest.mark.parametrize("rule", VOTING_RULES)
def test_equal_probabilities_go_to_the_lower_class_index(rule: str) -> None:
    # Struck first is the highest index; then A beats B.
    assert elect(rule, CYCLE) == "A"
    assert elect(rule, ["CBA", "BCA"]) == "B"


def test_equal_logits_rank_by_class_index() -> None:
    logits = torch.tensor([[[1.0, 1.0, 0.0]], [[0.0, 1.0, 1.0]]])
    # Ballots A B C and B C A: B has the higher Borda score.
    assert int(vote(logits, "borda")) == 1


@pytest.mark.parametrize("order", [[0, 1, 2], [2, 0, 1], [1, 2, 0]])
def test_ties_ignore_the_order_of_members(order: list[int]) -> None:
    # Each class is given 0.1, 0.2 and 0.7 once: sums that floating point adds to different last bits.
    logits = torch.tensor([[[0.1, 0.2, 0.7]], [[0.2, 0.7, 0.1]], [[0.7, 0.1, 0.2]]]).log()[order]
    assert int(vote(logits, "plurality")) == 0


def test_symmetric_borda_is_borda_on_full_ballots() -> None:
    logits = torch.randint(0, 3, (5, 500, 6), generator=torch.Generator().manual_seed(1)).float()
    assert torch.equal(vote(logits, "symmetric_borda"), vote(logits, "borda"))


@pytest.mark.parametrize("rule", VOTING_RULES)
def test_chunks_change_nothing(rule: str, monkeypatch: pytest.MonkeyPatch) -> None:
    logits = torch.randn(4, 23, 5, generator=torch.Generator().manual_seed(2))
    whole = vote(logits, rule)
    monkeypatch.setattr(voting, "_CHUNK_ELEMENTS", 5 * 5 * 4)
    assert torch.equal(vote(logits, rule), whole)


def test_unknown_vote_names_the_near_match() -> None:
    with pytest.raises(ValueError, match="did you mean 'copeland'"):
        vote(torch.zeros(2, 1, 3), "copland")


class Election:
    """One image's ballots, as lists of classes, and who is ahead when all else is equal."""

    def __init__(self, logits: list[list[float]]) -> None:
        self.classes = range(len(logits[0]))
        self.rankings = [sorted(self.classes, key=lambda c: (-member[c], c)) for member in logits]
        shares = [[math.exp(z) / math.fsum(map(math.exp, member)) for z in member] for member in logits]
        self.support = [round(math.fsum(share[c] for share in shares), 9) for c in self.classes]

    def best(self, score: Callable[[int], Fraction | int], among: list[int] | None = None) -> int:
        return max(among or self.classes, key=lambda c: (score(c), self.support[c], -c))

    def worst(self, score: Callable[[int], int], among: list[int]) -> int:
        return min(among, key=lambda c: (score(c), self.support[c], -c))

    def ahead(self, a: int, b: int) -> int:
        return sum(ranking.index(a) < ranking.index(b) for ranking in self.rankings)

    def margin(self, a: int, b: int) -> int:
        return self.ahead(a, b) - self.ahead(b, a)

    def plurality(self) -> int:
        return self.best(lambda c: sum(ranking[0] == c for ranking in self.rankings))

    def borda(self) -> int:
        return self.best(lambda c: sum(len(ranking) - 1 - ranking.index(c) for ranking in self.rankings))

    def symmetric_borda(self) -> int:
        return self.best(lambda c: sum(self.margin(c, other) for other in self.classes))

    def dowdall(self) -> int:
        return self.best(lambda c: sum(Fraction(1, ranking.index(c) + 1) for ranking in self.rankings))

    def copeland(self) -> int:
        def score(c: int) -> int:
            margins = [self.margin(c, other) for other in self.classes]
            return sum(m > 0 for m in margins) - sum(m < 0 for m in margins)

        return self.best(score)

    def simpson(self) -> int:
        return self.best(lambda c: min(self.ahead(c, other) for other in self.classes if other != c))

    def _left(self, among: list[int]) -> list[list[int]]:
        return [[c for c in ranking if c in among] for ranking in self.rankings]

    def baldwin(self) -> int:
        among = list(self.classes)
        while len(among) > 1:
            left = self._left(among)
            points = {c: sum(len(ranking) - 1 - ranking.index(c) for ranking in left) for c in among}
            among.remove(self.worst(points.__getitem__, among))
        return among[0]

    def nanson(self) -> int:
        among = list(self.classes)
        while True:
            points = {c: sum(len(r) - 1 - r.index(c) for r in self._left(among)) for c in among}
            average = Fraction(sum(points.values()), len(points))
            above = [c for c in among if points[c] > average]
            if not above:
                return self.best(lambda _: 0, among)
            among = above

    def bucklin(self) -> int:
        for depth in range(1, len(self.classes) + 1):
            reached = [sum(c in ranking[:depth] for ranking in self.rankings) for c in self.classes]
            if 2 * max(reached) > len(self.rankings):
                return self.best(reached.__getitem__)
        raise AssertionError

    def single_transferable_vote(self) -> int:
        among = list(self.classes)
        while True:
            firsts = [ranking[0] for ranking in self._left(among)]
            for c in among:
                if 2 * firsts.count(c) > len(firsts):
                    return c
            if len(among) == 1:
                return among[0]
            among.remove(self.worst(firsts.count, among))


@pytest.mark.parametrize("rule", VOTING_RULES)
@pytest.mark.parametrize(("members", "classes"), [(1, 2), (2, 3), (3, 4), (4, 5), (5, 3), (6, 7), (9, 4)])
def test_every_vote_follows_its_words(rule: str, members: int, classes: int) -> None:
    generator = torch.Generator().manual_seed(members)
    # Few levels of logits: ties on ballots, between scores and between sums of probabilities.
    tied = torch.randint(0, 3, (members, 60, classes), generator=generator).float()
    logits = torch.cat([tied, torch.randn(members, 60, classes, generator=generator)], dim=1)
    expected = [getattr(Election(image), rule)() for image in logits.transpose(0, 1).tolist()]
    assert vote(logits, rule).tolist() == expected


# pref_voting's winners of random elections: see make_votes.py.
ELECTIONS = json.loads(Path(__file__).with_name("votes.json").read_text(encoding="utf-8"))
ELIMINATIONS = {"baldwin", "single_transferable_vote"}


@pytest.mark.parametrize("rule", VOTING_RULES)
def test_a_library_of_votes_agrees(rule: str) -> None:
    draw = random.Random(0)
    ties = 0
    for election in ELECTIONS:
        rankings, winners = election["ballots"].split(), [int(each) for each in election[rule]]
        names = "".join(sorted(rankings[0]))
        logits = ballots(rankings, names, [draw.choice((1, 2, 3)) for _ in rankings])
        elected = int(vote(logits, rule))
        assert elected in winners, election
        if rule not in ELIMINATIONS:
            # Of several winners the one rule for ties chooses; in eliminations it chooses whom to strike on the way.
            assert elected == Election(logits[:, 0].tolist()).best(lambda _: 0, winners), election
        ties += len(winners) > 1
    assert ties > 15
