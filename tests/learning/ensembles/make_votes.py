"""How votes.json was made: random elections and their winners by pref_voting, which is too heavy to depend on.

    python -m venv /tmp/votes && /tmp/votes/bin/pip install pref_voting==1.18.2
    /tmp/votes/bin/python tests/learning/ensembles/make_votes.py

A profile is a ballot a word, the best class first. Winners are all that the rule lets win: of a tie every class, of
eliminations every class that wins under some order of striking tied classes (parallel universes).
"""

import json
import random
from pathlib import Path

from pref_voting import voting_methods as votes
from pref_voting.profiles import Profile
from pref_voting.profiles_with_ties import ProfileWithTies

RULES = {
    "plurality": votes.plurality,
    "borda": votes.borda,
    "symmetric_borda": votes.borda_for_profile_with_ties,
    "dowdall": votes.dowdall,
    "copeland": votes.copeland,
    "simpson": votes.minimax,
    "baldwin": votes.baldwin_put,
    "nanson": votes.weak_nanson,  # strikes what is average or below
    "bucklin": votes.bucklin,
    "single_transferable_vote": votes.instant_runoff_put,
}


def winners(rule: str, ballots: list[list[int]]) -> str:
    """Return the winners' digits."""
    profile = Profile(ballots)
    if rule == "symmetric_borda":
        places = [{each: place for place, each in enumerate(ballot, 1)} for ballot in ballots]
        profile = ProfileWithTies(places)
    return "".join(map(str, sorted(map(int, RULES[rule](profile)))))


def main() -> None:
    """Write the table beside this file."""
    draw = random.Random(0)
    lines = []
    for number in range(200):
        classes, members = draw.randint(2, 6), draw.randint(1, 9)
        ballots = [draw.sample(range(classes), classes) for _ in range(members)]
        if number % 2:  # few different ballots: majorities and ties
            ballots = [list(draw.choice(ballots[:3])) for _ in ballots]
        election = {"ballots": " ".join("".join(map(str, ballot)) for ballot in ballots)}
        lines.append(json.dumps(election | {rule: winners(rule, ballots) for rule in RULES}))
    Path(__file__).with_name("votes.json").write_text("[\n" + ",\n".join(lines) + "\n]\n", encoding="utf-8")


if __name__ == "__main__":
    main()
