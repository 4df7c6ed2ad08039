"""The bench: the same start for all, honest words, nothing hidden when a peer is missing, fails or is cut short."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import labkit
from labkit import bench, cli
from labkit.bench import driver, precision, profiling, report, scaling
from labkit.bench.inputs import Inputs
from labkit.bench.peers import common
from labkit.bench.processes import ask
from labkit.bench.record import BenchRow, Record
from labkit.bench.work import MEAN, STD
from labkit.errors import BenchError
from labkit.runtime import PRECISIONS, Precision

TESTED = ("labkit", "pytorch", "fastai")  # in processes of their own; `test` and `lab` install them


def row(
    work: str, peer: str, seconds: float, correct: tuple[int, ...], seed: int = 0, **more
) -> BenchRow:
    return BenchRow(
        work, peer, seed, seconds=seconds, correct=correct, count=100, peak_mb=500, **more
    )


def described(*rows: BenchRow) -> Record:
    """A record of made-up measurements, with every work and peer described."""
    record = driver._new_record(bench.WORKS, bench.PEERS, None)
    record.rows = list(rows)
    return record


# ---------------------------------------------------------------- the floor's precision


def test_the_fastest_precision_is_chosen_and_remembered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LABKIT_CACHE", str(tmp_path))
    asked: list[Precision] = []

    def trial(one: Precision) -> None:
        asked.append(one)
        time.sleep(0.0 if one == Precision("bf16", "contiguous") else 0.01)

    assert precision.choose_precision("work", trial) == Precision("bf16", "contiguous")
    asked.clear()
    assert precision.choose_precision("work", trial) == Precision("bf16", "contiguous")
    assert asked == []


def test_a_precision_that_is_hardly_faster_does_not_take_the_place_of_a_plainer_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LABKIT_CACHE", str(tmp_path))
    took = dict(zip(PRECISIONS, (0.100, 0.095, 0.093, 0.091), strict=True))
    monkeypatch.setattr(precision, "_seconds", lambda trial: took)
    assert precision.choose_precision("work", lambda _: None) == PRECISIONS[0]


def test_precisions_are_tried_in_turns_so_that_a_busy_moment_meets_them_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LABKIT_CACHE", str(tmp_path))
    tried: list[Precision] = []
    precision.choose_precision("work", tried.append)
    assert tried == list(PRECISIONS) * (len(tried) // len(PRECISIONS))
    assert len(tried) > 2 * len(PRECISIONS)


@pytest.mark.parametrize("content", ["", "not json", "[1]", '{"k": 3}'])
def test_a_damaged_memory_of_precisions_is_measured_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str
) -> None:
    monkeypatch.setenv("LABKIT_CACHE", str(tmp_path))
    (tmp_path / "precision.json").write_text(content)
    assert precision.choose_precision("work", lambda _: None) in PRECISIONS


# ---------------------------------------------------------------- the same for all


@pytest.fixture(scope="module")
def inputs(tmp_path_factory) -> Inputs:
    return Inputs(tmp_path_factory.mktemp("bench"), quick=True)


@pytest.mark.parametrize("seed", [0, 1])
def test_every_peer_starts_from_the_weights_labkit_starts_from(inputs, seed):
    work = inputs.place(bench.find_works(["head"], quick=True)[0], seed)
    ours = labkit.load_backbone(work.backbone, weights=work.weights).build(2, seed).eval()
    theirs = common.network(work).eval()
    images = torch.rand(3, 3, work.size, work.size)
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (MEAN, STD))
    assert torch.equal(ours(images), theirs((images - mean) / std))


def test_every_peer_sees_the_images_labkit_sees(inputs):
    work = inputs.place(bench.find_works(["head"], quick=True)[0], 0)
    data = labkit.load_data(work.folder, size=work.size)
    folders = common.datasets(work)
    assert [len(folders[part]) for part in common.PARTS] == [len(data.train), len(data.valid)]
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (MEAN, STD))
    for index in (0, len(data.train) - 1):
        theirs, label = folders["train"][index]
        ours, labels = data.train.batch([index])
        assert label == int(labels[0])
        assert ((theirs * std + mean) - ours[0]).abs().max() < 0.02  # two ways to round


def test_augmentation_changes_images_and_keeps_their_size(inputs):
    work = inputs.place(bench.find_works(["layer4-augmented"], quick=True)[0], 0)
    train = common.datasets(work)["train"]
    first, again = train[0][0], train[0][0]
    assert first.shape == again.shape == (3, work.size, work.size)
    assert not torch.equal(first, again)


@pytest.mark.parametrize("depth", ["head", "layer4", "all"])
def test_the_two_halves_are_the_whole_network(inputs, depth):
    work = replace(inputs.place(bench.find_works(["head"], quick=True)[0], 0), trainable_from=depth)
    net = common.network(work).eval()
    frozen, trainable = common.split(net, work)
    images = torch.rand(2, 3, work.size, work.size)
    assert torch.equal(trainable(frozen(images)), net(images))
    trains = {id(parameter) for parameter in common.freeze(net, work)}
    assert {id(p) for p in net.parameters() if p.requires_grad} == trains


def test_the_order_of_the_peers_turns_round():
    peers = bench.find_peers(["labkit", "pytorch", "fastai"])
    turns = [
        peer.name for _, peer, _ in driver._turns(bench.find_works(["head", "full"]), peers, 1)
    ]
    assert turns == ["labkit", "pytorch", "fastai", "fastai", "pytorch", "labkit"]


def test_a_peer_is_not_asked_for_what_it_does_not_do():
    turns = list(driver._turns(bench.WORKS, bench.PEERS, 1))
    asked = {(work.name, peer.name) for work, peer, _ in turns}
    assert ("head", "sklearn") in asked
    assert not {("layer4", "sklearn"), ("layer4-augmented", "floor")} & asked


# ---------------------------------------------------------------- measuring


@pytest.fixture(scope="module")
def measured(tmp_path_factory) -> tuple[Record, Path]:
    """Every peer that is installed with the tests, at the smallest work there is."""
    path = tmp_path_factory.mktemp("record") / "bench.json"
    record = bench.measure(
        bench.find_works(["head"], quick=True), bench.find_peers(TESTED), quick=True, out=path
    )
    return record, path


@pytest.mark.slow
@pytest.mark.parametrize("peer", TESTED)
def test_every_peer_does_the_work_and_is_counted(measured, peer):
    found = measured[0].row("head", peer, 0)
    if found.status == "missing":
        pytest.skip(f"left out: {found.problem}")
    assert found.status == "measured", found.problem
    assert (len(found.correct), found.count) == (2, 16)
    assert found.seconds >= sum(found.epoch_seconds) > 0
    assert found.extended_from is None
    assert found.peak_mb > 100


@pytest.mark.parametrize(("peer", "epochs"), [("sklearn", 1), ("floor", 2)])
def test_features_and_floor_do_the_work_and_are_counted(inputs, peer, epochs):
    work = inputs.place(bench.find_works(["head"], quick=True)[0], 0)
    outcome = bench.find_peers([peer])[0].load()(work)
    assert len(outcome.epochs) == len(outcome.correct) == epochs
    assert outcome.count == 16
    assert sum(outcome.parts.values()) == pytest.approx(outcome.setup + sum(outcome.epochs))


@pytest.mark.slow
def test_decoding_in_worker_processes_is_counted(measured):
    record = measured[0]
    assert record.row("head", "pytorch", 0).worker_peak_mb > 50
    assert record.row("head", "labkit", 0).worker_peak_mb is None  # it decodes in threads


@pytest.mark.slow
def test_a_record_is_written_as_it_grows_and_read_as_it_was(measured):
    record, path = measured
    assert bench.read(path) == record


@pytest.mark.slow
def test_the_first_day_is_measured_too_and_told(measured):
    record, path = measured
    again = bench.measure(
        bench.find_works(["head"], quick=True),
        bench.find_peers(["labkit"]),
        quick=True,
        known=bench.read(path),
        cold=True,
    )
    warm, cold = record.row("head", "labkit", 0), again.row("head", "labkit", 0)
    assert cold.seconds == warm.seconds  # that was on record
    assert cold.cold > cold.seconds
    assert f"cold {cold.cold:.2f} s" in bench.readme_section(again)
    assert again.row("head", "pytorch", 0).cold is None


@pytest.mark.slow
def test_a_record_that_is_gone_on_with_keeps_its_order_and_its_versions(measured):
    known = bench.read(measured[1])
    known.versions["a tool that is not installed now"] = "1.0"
    order = [peer["name"] for peer in known.peers]
    again = bench.measure(
        bench.find_works(["head"], quick=True),
        bench.find_peers(["labkit"]),
        quick=True,
        known=known,
    )
    assert [peer["name"] for peer in again.peers] == order
    assert again.versions["a tool that is not installed now"] == "1.0"


@pytest.mark.slow
def test_what_is_on_record_is_not_measured_again(measured):
    record, path = measured
    told: list[str] = []
    again = bench.measure(
        bench.find_works(["head"], quick=True),
        bench.find_peers(["labkit", "pytorch"]),
        quick=True,
        known=bench.read(path),
        tell=told.append,
    )
    assert told == []
    assert again.rows == [r for r in record.rows if r.status == "measured"]


def test_a_peer_that_is_not_installed_is_named_and_no_error():
    absent = replace(bench.find_peers(["keras"])[0], needs=("a_package_that_nobody_has",))
    record = bench.measure(bench.find_works(["head"], quick=True), [absent], quick=True)
    assert record.rows[0].status == "missing"
    assert "not installed: a_package_that_nobody_has" in bench.table(record)


def test_a_peer_that_fails_is_named_with_its_last_words():
    broken = replace(bench.find_peers(["floor"])[0], name="broken")
    record = bench.measure(bench.find_works(["head"], quick=True), [broken], quick=True)
    assert record.rows[0].status == "failed"
    assert "There is no peer 'broken'" in bench.table(record)


def test_a_process_that_takes_too_long_is_ended(tmp_path):
    with pytest.raises(BenchError, match="not done after 0 s"):
        ask("peer", {}, tmp_path, timeout=0.05)


def test_epochs_not_measured_are_extended_from_the_mean_and_marked():
    work = replace(bench.find_works(["head"])[0], epochs=2)
    answer = {"setup": 3.0, "epochs": (10.0, 12.0), "correct": (60, 70), "count": 153}
    answer |= {"parts": {}, "facts": {}, "rehearsal": 1, "cpu_seconds": 40, "peak_mb": 900}
    found = BenchRow.of(work, "pytorch", 25, {**answer, "worker_peak_mb": 300})
    assert found.seconds == 3 + 25 * 11
    assert found.extended_from == 2
    told = bench.table(described(found))
    assert "extended from 2 epochs" in told
    assert "after 2 epochs" in told
    assert "\\* Some epochs were measured" in bench.readme_section(
        described(found, row("head", "labkit", 9, (60, 70)))
    )


# ---------------------------------------------------------------- what it says


def test_targets_are_judged_against_the_faster_rival_and_the_floor():
    record = described(
        row("head", "labkit", 10, (70,)),
        row("head", "pytorch", 210, (70,)),
        row("head", "fastai", 400, (70,)),
        row("head", "floor", 8, (70,)),
        row("first-click", "labkit", 0.9, (70,)),
    )
    against, floor, click = bench.verdicts(record)
    assert (against.value, against.kept) == (21, True)
    assert "as fast as pytorch, the faster of pytorch and fastai" in against.what
    assert (floor.value, floor.kept) == (1.25, False)
    assert (click.value, click.kept) == (0.9, True)
    assert "1.25× (target ≤ 1.15×), MISSED" in bench.table(record)


def test_accuracies_that_differ_are_said_to_differ():
    record = described(
        row("head", "labkit", 10, (50, 90)),
        row("head", "pytorch", 200, (50, 60)),
        row("head", "fastai", 300, (52,), extended_from=1),
        row("head", "sklearn", 12, (88,)),
    )
    same = report.agreements(record)
    assert same["head", "pytorch"] is False
    assert same["head", "fastai"] is True  # both counted after the first epoch
    assert same["head", "sklearn"] is True  # one fit against the last epoch
    assert "ACCURACY DIFFERS" in bench.table(record)
    assert "differ by more than chance in: head by pytorch" in bench.readme_section(record)


def test_several_seeds_give_means_with_intervals():
    seconds, counts = (10.0, 12.0, 11.0), (70, 74, 72)
    ours = [
        row("head", "labkit", s, (c,), seed)
        for seed, (s, c) in enumerate(zip(seconds, counts, strict=True))
    ]
    theirs = [row("head", "pytorch", 200, (c + 1,), seed) for seed, c in enumerate(counts)]
    line, *_ = report.lines(described(*ours, *theirs))
    assert line.seconds.mean == 11
    assert "3 seeds" in line.accuracy
    assert report.agreements(described(*ours, *theirs))["head", "pytorch"] is False


def test_random_weights_are_never_passed_off_as_published_ones():
    record = described(row("head", "labkit", 10, (70,)))
    record.inputs["weights"] = {"resnet18": {"kind": "seeded random", "sha256": "0" * 64}}
    assert "seeded random weights" in bench.table(record)
    assert "seeded random weights" in bench.readme_section(record)


def test_the_figure_tells_its_numbers_in_words_too():
    record = described(
        row("head", "labkit", 10, (70,)), row("head", "pytorch", 210, (70,), extended_from=3)
    )
    figure = bench.draw(record)
    assert figure.axes[0].get_xscale() == "log"
    assert "labkit 10.0 s" in figure.alt
    assert "PyTorch tutorial loop 210 s, extended from 3 epochs" in figure.alt
    assert figure.png().startswith(b"\x89PNG")
    with pytest.raises(BenchError, match="nothing to draw"):
        bench.draw(described())


def test_the_readme_says_what_the_record_says(root):
    path = bench.RECORDS / "bench.json"
    record = bench.read(path) if path.exists() else None
    readme = (root / "README.md").read_text("utf-8")
    section = bench.readme_section(record, bench.read_scaling(bench.RECORDS / "scaling.json"))
    assert bench.with_section(readme, section) == readme


def test_a_readme_without_the_marks_is_refused():
    with pytest.raises(BenchError, match="bench: begin"):
        bench.with_section("# labkit", "fast")


# ---------------------------------------------------------------- the command


def said(capsys, *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as end:
        cli.main(arguments)
    spoken = capsys.readouterr()
    return int(end.value.code or 0), spoken.out, spoken.err


def test_the_command_shows_a_record_as_words_and_as_data(capsys, tmp_path):
    path = bench.write(described(row("head", "labkit", 10, (70,))), tmp_path / "bench.json")
    code, words, _ = said(capsys, "bench", "--show", "--out", str(path))
    assert (code, "10.0 s" in words) == (0, True)
    code, data, _ = said(capsys, "bench", "--show", "--out", str(path), "--json")
    assert json.loads(data)["rows"][0]["seconds"] == 10


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--only", "nothing"], "There is no work 'nothing'"),
        (["--peers", "nobody"], "There is no peer 'nobody'"),
        (["--show", "--out", "absent.json"], "There is no record absent.json"),
        (["scaling", "--sizes", "1"], "2 or more"),
        (["scaling", "--sizes", "many"], "are no numbers"),
        (["profile", "--only", "nothing"], "There is no work 'nothing'"),
    ],
)
def test_what_cannot_be_measured_is_said_in_one_message(capsys, arguments, message):
    code, _, complaint = said(capsys, "bench", *arguments)
    assert code == 2
    assert message in complaint


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"rows": 3}', '{"rows": [{"no": 1}]}'])
def test_a_damaged_record_is_refused_with_its_name(tmp_path, content):
    path = tmp_path / "bench.json"
    path.write_text(content)
    with pytest.raises(BenchError, match=r"bench\.json is not a record"):
        bench.read(path)


# ---------------------------------------------------------------- scaling and the profile


@pytest.fixture(scope="module")
def archive(tmp_path_factory) -> Path:
    """Tiny ImageNet's official layout with two classes of noise."""
    root = tmp_path_factory.mktemp("tiny")
    (root / "wnids.txt").write_text("n1\nn2\n")
    (root / "words.txt").write_text("n1\tfirst\nn2\tsecond\n")
    chance, rows = np.random.default_rng(0), []
    for number in range(24):
        wnid = f"n{number % 2 + 1}"
        train, valid = root / "train" / wnid / "images", root / "val" / "images"
        for folder in (train, valid):
            folder.mkdir(parents=True, exist_ok=True)
            noise = chance.integers(0, 256, (64, 64, 3), dtype=np.uint8)
            Image.fromarray(noise).save(folder / f"{number}.JPEG")
        rows.append(f"{number}.JPEG\t{wnid}\t0\t0\t9\t9")
    (root / "val" / "val_annotations.txt").write_text("\n".join(rows))
    return root


def test_growing_data_is_trained_on_and_what_is_kept_stays_in_its_budget(archive, tmp_path):
    kept = tmp_path / "kept"
    assert scaling.keep_photographs(archive, kept, 16, 8) == {"train": 16, "valid": 8}
    found = asdict(scaling.train(scaling.Size(str(kept), 16, "head", epochs=2)))
    assert found["count"] == 8
    assert found["pixels_mb"] == pytest.approx(24 * 3 * 64 * 64 / 1e6)
    assert 0 < found["facts"]["kept_mb"] <= found["facts"]["budget_mb"]
    record = {"epochs": 2, "rows": [{**found, "peak_mb": 600.0}]}
    assert "16  head" in scaling.scaling_table(record)
    assert "| photographs at 64 px | 16 |" in bench.readme_section(described(), record)


def test_more_photographs_than_there_are_is_an_error_that_says_so(archive, tmp_path):
    with pytest.raises(BenchError, match="has 24 photographs to train on, not 100"):
        scaling.keep_photographs(archive, tmp_path / "kept", 100, 8)


def test_a_profile_accounts_for_the_epoch():
    found = profiling.profile(["full"], quick=True, top=1000)["epochs"][0]
    assert found["unprofiled_seconds"] > 0
    names = {cost["name"] for cost in found["costs"]}
    assert "Python between the operations" in names
    assert any("convolution" in name for name in names)
    assert 0.95 <= sum(cost["share"] for cost in found["costs"]) <= 1.3
    assert "one warm epoch" in profiling.profile_table({"epochs": [found]})
