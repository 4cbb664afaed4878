"""The shipped networks are models of timm once archspec.timm is imported."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from archspec.figures import shipped_figures
from tests.timm_models import why_not

ROOT = Path(__file__).parents[2]
WHY_NOT = why_not()
needs_timm = pytest.mark.skipif(WHY_NOT is not None, reason=str(WHY_NOT))


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """All that `tests.timm_models.child` found: importing timm takes seconds, so only once."""
    folder = tmp_path_factory.mktemp("timm")
    done = subprocess.run(
        [sys.executable, "-m", "tests.timm_models.child", str(folder)],
        capture_output=True, text=True, check=False, cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1", "ARCHSPEC_CACHE": str(folder / "cache")},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-4000:]
    return json.loads(done.stdout.splitlines()[-1])


@needs_timm
def test_every_network_is_registered_and_no_other_touched(found: Any) -> None:
    registry = found["registry"]
    names = [f"archspec_{row['name']}" for row in shipped_figures() if row["params"] is not None]
    assert sorted(registry["ours"]) == sorted(["archspec", *names])
    assert registry["timm's are let be"]
    assert registry["resnet50 is timm's"]
    assert registry["clash"] == "timm has a model 'resnet50' already, which is not archspec's"
    assert registry["swin"] == ["archspec_swin_t.official", "archspec_swin_t.timm"]
    # how images are prepared is the checkpoint's: timm knows that of its own
    assert registry["means"]["vit_b16"] == registry["means"]["mixer_b16"] == [0.5, 0.5, 0.5]
    assert registry["means"]["swin_t.official"] == [0.485, 0.456, 0.406]
    assert not registry["slash"]


@needs_timm
def test_a_classifier(found: Any) -> None:
    model = found["classifier"]
    assert model["same"] == [True] * 5
    assert model["close"] == [True, True]
    assert model["rates"] == [0.5, 0.1, 0.0]
    assert model["features"] == [2, 64, 2, 3]
    assert model["numbers"] == [7, 4, 64, 64]
    assert model["data"] == [4, 64, 96]
    assert model["classifier"] == "head.classifier"
    assert model["info"] == {"num_chs": 16, "reduction": 8, "module": "stage2", "index": 1}
    assert model["reset"] == [2, 3]
    assert model["without"]
    assert model["tokens"] == [2, 5, 64]
    assert model["pooled"] == [2, 64]


@needs_timm
def test_features(found: Any) -> None:
    assert found["features"] == {
        "shapes": [[2, 16, 8, 12], [2, 64, 2, 3]], "channels": [16, 64], "reduction": [8, 32],
        "head": [], "mean": [0.485, 0.456, 0.406], "classifier": False,
    }  # fmt: skip


@needs_timm
def test_a_spec_and_a_checkpoint_of_ones_own(found: Any) -> None:
    assert found["own"] == {
        "loaded": [True, True], "tuned": [[1, 9], True], "stages": True,
        "plain": [[1, 5, 3], None],
    }  # fmt: skip


@needs_timm
def test_public_weights(found: Any) -> None:
    assert found["public"] == {
        "mean": [0.5, 0.5, 0.5], "logits": True, "stages": True, "tuned": [[1, 7], True],
    }  # fmt: skip


@needs_timm
def test_refusals(found: Any) -> None:
    assert found["refusals"] == [
        "create_model: alpha: there is no variable 'alpha' in mixer_s16\n"
        "  known: channels_hidden, depth, dim, patch, tokens_hidden",
        "mixer_s16 takes no drop_path_rate: it has no variable 'drop_path'\n"
        "  leave it out, or write a spec that extends it and has one",
        "mixer_s16 takes no drop_rate\n  'dropout' in the head of a spec does that",
        "global_pool='max': the head of the spec says how positions are pooled\n"
        "  model.forward_features gives them unpooled",
        "mixer_s16 says of no checkpoint where it can be downloaded\n"
        "  'archspec weights mixer_s16' says whose names it knows",
        "of a checkpoint that the spec does not name, archspec takes the file only\n"
        "  pretrained_cfg_overlay={'file': FILE}",
        "out_indices chooses stage outputs: it needs features_only=True",
        "archspec_mixer_s16 is a shipped spec: another one is timm.create_model('archspec', "
        "spec=…)",
        "'archspec' needs a spec: timm.create_model('archspec', spec=FILE)",
        "odd does not end in a linear map to the classes, as timm's models do\n"
        "  end its head with 'linear: {id: classifier, out: classes}'",
        "there is no spec 'nothing': no such file, and none shipped under that name\n"
        "  'archspec specs' lists the shipped ones",
        "mixer_b16 has no weights called 'official'\n  known: timm",
    ]


def test_without_timm() -> None:
    code = (
        "import sys; sys.modules['timm.models'] = sys.modules['timm'] = None\n"
        "from archspec.errors import ArchspecError\n"
        "try:\n    import archspec.timm\nexcept ArchspecError as error:\n    print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == (
        "timm cannot be imported here (import of timm.models halted; None in sys.modules)\n"
        "  pip install 'archspec-vision[timm]'\n"
    )
