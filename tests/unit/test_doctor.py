"""The doctor says in words what works, finds what does not, and survives whatever it looks at."""

from __future__ import annotations

import json

import pytest

from labkit import doctor, runtime
from labkit.doctor import Check, Checks


@pytest.fixture(scope="module")
def diagnosis() -> Checks:
    return doctor.examine()


def test_this_machine_can_run_the_lab(diagnosis):
    assert [check for check in diagnosis.checks if check.status == "fail"] == []
    assert diagnosis.ok


def test_every_part_of_the_lab_is_looked_at(diagnosis):
    machine = ["Python", "PyTorch", "Device", "Threads", "Memory", "Precision"]
    lab = ["Widgets", "Weights", "Data", "Disk", "Network"]
    assert [check.name for check in diagnosis.checks] == machine + lab


def test_findings_are_sentences_and_data(diagnosis):
    assert diagnosis.summary in str(diagnosis)
    for check in diagnosis.checks:
        assert check.detail in " ".join(str(diagnosis).split())
    assert json.loads(json.dumps(diagnosis.to_dict()))["ok"] is True


def test_a_report_fits_a_narrow_notebook() -> None:
    found = Check(
        "Precision", "warn", "a convolution " * 9 + "/a/very/long/path/" * 9, "Do this. " * 20
    )
    assert all(len(line) <= 79 for line in str(found).splitlines() if "path" not in line)
    assert {len(line) - len(line.lstrip()) for line in str(found).splitlines()} == {0, 20}


def test_what_is_not_well_comes_with_advice(diagnosis):
    assert all(check.advice for check in diagnosis.checks if check.status != "ok")


@pytest.mark.parametrize(
    "error", [RuntimeError("boom"), OSError(), ImportError("no such thing\nat all")]
)
def test_a_check_that_breaks_becomes_a_finding(monkeypatch, error):
    def broken():
        raise error

    monkeypatch.setattr(doctor, "LOOKS", {"Device": broken, "Threads": doctor.threads})
    found = doctor.examine()
    assert found.checks[0].status == "fail"
    assert len(found.checks) == 2
    assert "Device" in found.summary
    assert not found.ok


def test_a_mismatched_torchvision_is_recognised(monkeypatch):
    def missing(*_):
        raise RuntimeError("operator torchvision::nms does not exist")

    monkeypatch.setattr("torchvision.ops.nms", missing)
    status, detail, advice = doctor.torch_pair()
    assert (status, "nms" in detail, "one source" in advice) == ("fail", True, True)


@pytest.mark.parametrize(
    ("versions", "status"),
    [
        ({"ipywidgets": "8.1.9", "jupyterlab-widgets": "3.0.17"}, "ok"),
        ({"ipywidgets": "8.1.9", "jupyterlab-widgets": "1.1.4"}, "fail"),
        ({"ipywidgets": "7.7.1", "jupyterlab-widgets": "1.1.4"}, "ok"),
        ({"ipywidgets": "8.1.9", "anywidget": None}, "fail"),
        ({"ipywidgets": "7.7.1", "jupyterlab": None}, "warn"),
    ],
)
def test_halves_of_the_widgets_that_do_not_fit_are_found(monkeypatch, versions, status):
    there = {"anywidget": "0.11.0", "ipykernel": "7.4.0", "jupyterlab": "4.6.6", **versions}
    monkeypatch.setattr(doctor, "_version", there.get)
    assert doctor.widgets()[0] == status


def test_little_memory_and_one_core_are_warned_of(monkeypatch):
    monkeypatch.setattr(runtime, "memory_limit", lambda: 10**9)
    monkeypatch.setattr(runtime, "threads", lambda: 1)
    assert doctor.memory()[0] == "warn"
    assert doctor.threads()[0] == "warn"


def test_a_cache_that_cannot_be_written_is_warned_of(monkeypatch, tmp_path):
    monkeypatch.setattr(runtime, "cache_dir", lambda: tmp_path / "not" / "yet" / "there")
    assert doctor.disk()[0] == "ok"
    monkeypatch.setattr("os.access", lambda *_: False)
    assert doctor.disk()[0] == "warn"


def test_being_offline_is_no_fault(no_network):
    status, detail, _ = doctor.network()
    assert (status, detail.startswith("offline")) == ("ok", True)


def test_damaged_weights_fail_by_name(monkeypatch):
    import labkit

    def nonsense(name):
        raise labkit.LabkitError(f"{name}: the checksum does not fit")

    monkeypatch.setattr(labkit, "load_backbone", nonsense, raising=False)
    check = doctor._guarded("Weights", doctor.weights)
    assert check == Check("Weights", "fail", check.detail, check.advice)
    assert "checksum" in check.detail


@pytest.mark.parametrize(
    ("place", "variable"), [("colab", "COLAB_RELEASE_TAG"), ("binder", "BINDER_SERVICE_HOST")]
)
def test_advice_fits_the_place(monkeypatch, place, variable):
    """Nobody on Colab or Binder has make, and Colab must keep its own front end."""
    monkeypatch.setenv(variable, "here")
    there = {"ipywidgets": "7.7.1", "anywidget": "0.9.21", "ipykernel": "6.17.1"}
    if place == "colab":
        monkeypatch.setattr(doctor, "_version", there.get)
        assert doctor.widgets()[0] == "ok"
        monkeypatch.setattr(doctor, "_version", {**there, "anywidget": None}.get)
        assert "[" not in doctor.widgets()[2]

    def broken():
        raise RuntimeError("operator torchvision::nms does not exist")

    monkeypatch.setattr("torchvision.ops.nms", lambda *_: broken())
    for check in (doctor.torch_pair()[2], doctor._guarded("Device", broken).advice):
        assert "make" not in check
        assert "Install" not in check
