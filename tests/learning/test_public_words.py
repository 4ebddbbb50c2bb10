import subprocess
import sys

import pytest
import torch

from knowledge_transfer import learning
from knowledge_transfer.learning import label, learn, load, predict
from knowledge_transfer.learning.checkpoint_file import dump
from knowledge_transfer.learning.data.augmentation import Augmentation
from knowledge_transfer.learning.models.architecture import Architecture
from knowledge_transfer.learning.train import Normalisation
from knowledge_transfer.learning.training.recipe import Recipe
from tests.conftest import stripes

CPU = torch.device("cpu")


def test_learn_load_predict_and_label_work_together(tmp_path):
    images = stripes(30)
    checkpoint = learn(
        "resnet8",
        Architecture(kind="resnet8", width=0.5),
        images,
        Recipe(epochs=1, batch_size=10, precision="fp32"),
        validation=images,
        normalisation=Normalisation(mean=(0.5,), deviation=(0.3,)),
        seed=0,
        device=CPU,
    )
    (tmp_path / "resnet8.safetensors").write_bytes(dump([checkpoint], single=True))
    loaded = load(tmp_path / "resnet8.safetensors")
    logits = predict(loaded.build(), images, device=CPU, precision="fp32")
    assert logits.equal(predict(checkpoint.build(), images, device=CPU, precision="fp32"))
    soft_labels = label([loaded], images, views=1, view_seed=0, augmentation=Augmentation(), device=CPU)
    torch.testing.assert_close(soft_labels.logits[0, :, 0].float(), logits, atol=0.05, rtol=0.05)


def test_importing_the_package_imports_no_torch():
    code = "import sys, knowledge_transfer.learning; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_other_words_are_no_attributes():
    with pytest.raises(AttributeError, match="has no attribute 'teach'"):
        _ = learning.teach
