"""torchdistill (Matsubara 2021): its DistillationBox, configured and driven as in its examples."""

from __future__ import annotations

from typing import Any

from torch import nn
from torch.utils.data import RandomSampler
from torchdistill.core.distillation import get_distillation_box
from torchdistill.optim.registry import register_optimizer

from benchmarks.common import ours
from benchmarks.speed.peers.fit import EpochClock
from benchmarks.speed.peers.task import Task

# Its alpha weighs the hard loss.
KD_LOSS = {
    "key": "KDLoss",
    "kwargs": {
        "student_module_path": ".",
        "student_module_io": "output",
        "teacher_module_path": ".",
        "teacher_module_io": "output",
        "temperature": ours.TEMPERATURE,
        "alpha": 1 - ours.ALPHA,
        "reduction": "batchmean",
    },
}


def config_of(task: Task) -> dict[str, Any]:
    """Return the `train` block of a configuration such as its samples have."""
    register_optimizer(lambda parameters: task.optimizer(nn.ParameterList(parameters)), key="same_for_all")
    return {
        "num_epochs": task.epochs,
        "train_data_loader": {
            "dataset_id": "train",
            "sampler": {"class_or_func": RandomSampler},
            "kwargs": task.loader_options(),
        },
        "teacher": {"forward_proc": "forward_batch_only", "requires_grad": False},
        "student": {"forward_proc": "forward_batch_only", "requires_grad": True},
        "optimizer": {"key": "same_for_all", "kwargs": {}},
        "scheduler": {"key": "LambdaLR", "kwargs": {"lr_lambda": task.factor}, "scheduling_step": 1},
        "criterion": {"key": "WeightedSumLoss", "kwargs": {"sub_terms": {"kd": {"criterion": KD_LOSS, "weight": 1.0}}}},
    }


def torchdistill(task: Task, clock: EpochClock) -> None:
    """Train as the examples of torchdistill do."""
    box = get_distillation_box(
        task.teacher(),
        task.student.body,
        {"train": task.pil_images()},
        config_of(task),
        task.device,
        device_ids=None,
        distributed=False,
        lr_factor=1,
    )
    for epoch in range(box.num_epochs):
        clock.start()
        box.pre_epoch_process(epoch=epoch)
        for sample_batch, targets, supp_dict in box.train_data_loader:
            loss = box.forward_process(sample_batch.to(task.device), targets.to(task.device), supp_dict)
            box.post_forward_process(loss=loss)
        clock.stop()
        box.post_epoch_process()
    box.clean_modules()
