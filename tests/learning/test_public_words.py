import subprocess
import sys

import pytest
import torch

from knowledge_transfer import learning
from knowledge_transfer.learning import label, learn, load, predict
from knowledge_transfer.learning.checkpoint_file import dump
from knowledge_transfer.learning.data.augmentation import Augmentation
from knowledge_transfer.learning.train import FitData, LearnOptions
from tests.conftest import stripes
from tests.models import CPU, NARROW, NORMALISATION, QUICK


def test_learn_load_predict_and_label_work_together(tmp_path):
    images = stripes(30)
    checkpoint = learn("resnet8", NARROW, FitData(images, images, NORMALISATION), QUICK, LearnOptions(0, CPU))
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
