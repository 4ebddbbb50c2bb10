"""What students of one domain each can do together without a target: ask the one that is right for an image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from knowledge_transfer.learning.data.domains import within_block
from knowledge_transfer.learning.data.image_set import ImageSet
from knowledge_transfer.learning.ensembles.fusion import fuse

ORACLE_ROUTED, MOST_CONFIDENT = "ensemble_oracle_routed", "ensemble_most_confident"


def routed(
    logits: Mapping[str, Tensor], keys: Sequence[str], domains: Mapping[str, str], images: ImageSet
) -> tuple[Tensor, Tensor]:
    """Return the distributions, float32 [images, classes], of students routed by an oracle and by the most confident.

    `logits` and `domains` are by key, `keys` those of the students. The oracle knows each image's domain; the other
    takes the domain whose student gives its first class the highest probability. Students of one domain answer as the
    mean of their probabilities.
    """
    everyone = torch.zeros_like(logits[keys[0]])
    sure = []
    for block in images.blocks:
        members = torch.stack([logits[key][:, block.classes] for key in keys if domains[key] == block.domain])
        everyone[:, block.classes] = fuse(members, "mean_probabilities")
        # In double precision: in single, sure students would tie at 1 and the first domain would have it.
        sure.append(members.double().softmax(2).mean(0).max(1).values)
    oracle = within_block(everyone.log(), images.domains, images.blocks).exp()
    return oracle, within_block(everyone.log(), torch.stack(sure).argmax(0), images.blocks).exp()
