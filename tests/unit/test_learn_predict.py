"""The predict panel's side of the kernel: an image gets classes and a heat map, everything else a reason."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

import labkit
from labkit import learn
from labkit.errors import DataError
from labkit.learn.predict_card import MOST_BYTES
from labkit.runtime import Precision
from labkit.tuning import Run
from tests.small import Clouds, Small


@pytest.fixture(scope="module")
def run() -> Run:
    data = labkit.load_data("digits").subset(per_class=10)
    plan = labkit.partial("layer4", lr=1e-3, epochs=3, batch_size=10)
    net = labkit.load_backbone("resnet10-glyphs")
    return Run(net, data, plan, seed=0, precision=Precision()).fit()


def png(image: torch.Tensor, **how: Any) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image.permute(1, 2, 0).numpy()).save(buffer, "png", **how)
    return buffer.getvalue()


def test_an_image_of_the_data_gets_the_class_the_run_gives_it(run: Run, tmp_path: Path) -> None:
    judged = run.evaluate("valid")
    for at in (0, 40, 80):
        path = tmp_path / f"{at}.png"
        path.write_bytes(png(run.data.valid.images[at]))
        seen = learn.classify(run, path, top=3)
        shares = judged.probabilities[at]
        assert list(seen.table["class"]) == [
            run.data.classes[n] for n in shares.argsort(descending=True)[:3]
        ]
        assert seen.table["probability"][0] == pytest.approx(float(shares.max()), abs=2e-3)
        assert seen.figure is not None
        assert f"{at}.png: {seen.table['class'][0]} at" in seen.figure.alt
        assert seen.remarks == ()


def test_a_photograph_of_another_size_and_kind_is_read_like_any_file(
    run: Run, tmp_path: Path
) -> None:
    path = tmp_path / "big.PNG"
    Image.new("RGBA", (300, 200), (255, 0, 0, 40)).save(path)
    seen = learn.classify(run, path)
    assert "transparent" in seen.remarks[0]
    assert seen.table["probability"].is_monotonic_decreasing
    assert "transparent" in seen._repr_html_()


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.png", b"", "empty file"),
        ("a.jpg", b"<svg onload='x'>", "not an image"),
        ("a.png", png(torch.zeros(3, 8, 8, dtype=torch.uint8))[:45], "cannot be decoded"),
        ("a.svg", b"<svg/>", "ends in none of"),
        ("a", b"GIF89a", "ends in none of"),
        ("../../etc/passwd", b"root", "ends in none of"),
        ("a.gif", b"GIF89a\x01\x00\x01\x00\x00\x00\x00;", "cannot be"),
    ],
)
def test_what_is_no_image_is_refused_with_the_reason(
    run: Run, tmp_path: Path, name: str, content: bytes, said: str
) -> None:
    reply = learn.predict_panel(run).reply({"client": "c", "n": 1, "name": name}, [content])
    assert said in reply["problem"]
    assert reply["seen"] is None
    path = tmp_path / Path(name).name
    path.write_bytes(content)
    with pytest.raises(DataError, match=said):
        learn.classify(run, path)


def test_the_panel_answers_with_plain_values_and_an_image_with_words(run: Run) -> None:
    panel = learn.predict_panel(run)
    content = memoryview(png(run.data.valid.images[3]))
    reply = panel.reply({"client": "c", "n": 7, "name": "C:\\fake\\<b>3.png"}, [content])
    assert (reply["client"], reply["n"], reply["problem"]) == ("c", 7, "")
    seen = reply["seen"]
    assert json.loads(json.dumps(seen)) == seen
    assert seen["name"] == "<b>3.png"
    assert base64.b64decode(seen["image"]).startswith(b"\x89PNG")
    assert "<b>3.png" in seen["alt"]
    assert sum(number for _, _, number in seen["rows"]) <= 1.001


@pytest.mark.parametrize(
    ("message", "buffers"),
    [
        (None, [b"x"]),
        ({"name": 3}, [b"x"]),
        ({"name": "a.png"}, []),
        ({"name": "a.png"}, [b"x", b"y"]),
        ({"name": "a.png"}, [bytes(MOST_BYTES + 1)]),
    ],
)
def test_nonsense_from_the_page_is_answered_in_words(run: Run, message: Any, buffers: Any) -> None:
    reply = learn.predict_panel(run).reply(message, buffers)
    assert reply["problem"]
    assert reply["seen"] is None


def test_looking_changes_nothing_in_the_run(run: Run) -> None:
    before = {key: value.clone() for key, value in run.model.state_dict().items()}
    chance, modes = torch.random.get_rng_state(), [part.training for part in run.model.modules()]
    learn.predict_panel(run).reply({"name": "a.png"}, [png(run.data.valid.images[0])])
    assert all(torch.equal(value, before[key]) for key, value in run.model.state_dict().items())
    assert torch.equal(chance, torch.random.get_rng_state())
    assert modes == [part.training for part in run.model.modules()]
    assert all(parameter.grad is None for parameter in run.model.parameters())


def test_a_run_on_something_else_than_images_is_refused() -> None:
    run = Run(Small(), Clouds(), labkit.full(epochs=1))
    with pytest.raises(DataError, match="holds no images"):
        learn.predict_panel(run)


def test_without_a_page_the_panel_says_how_to_ask_in_words(run: Run) -> None:
    data, _ = learn.predict_panel(run)._repr_mimebundle_()
    assert "labkit.learn.classify" in data["text/plain"]
    assert "labkit.learn.classify" in data["text/html"]
