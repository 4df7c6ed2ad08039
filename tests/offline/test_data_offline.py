"""Without a network: what ships works, and what is missing says how to get it."""

from __future__ import annotations

import pytest

import labkit
from labkit.data import cards, fetch
from labkit.errors import FetchError


def test_digits_load_without_a_network(no_network):
    assert len(labkit.load_data("digits").train) == 1079


def test_a_missing_set_says_what_to_fetch_where_it_was_looked_for_and_what_works_without(
    no_network, tmp_path, monkeypatch
):
    monkeypatch.setenv("LABKIT_DATA", str(tmp_path / "mine"))
    monkeypatch.setenv("LABKIT_CACHE", str(tmp_path / "cache"))
    with pytest.raises(FetchError) as caught:
        labkit.load_data("ants-bees")
    message = str(caught.value)
    assert "https://download.pytorch.org/tutorial/hymenoptera_data.zip (47 MB)" in message
    assert str(tmp_path / "mine" / "hymenoptera_data") in message
    assert str(tmp_path / "cache" / "data" / "hymenoptera_data") in message
    assert "LABKIT_OFFLINE" in message
    assert "load_data('digits')" in message


@pytest.mark.parametrize("name", [name for name, card in cards().items() if card.archives])
def test_a_dead_line_is_a_fetch_error_and_not_a_stack_trace(
    no_network, tmp_path, monkeypatch, name
):
    monkeypatch.delenv("LABKIT_OFFLINE")  # labkit does not know that there is no network, and tries
    monkeypatch.delenv("LABKIT_DATA", raising=False)
    monkeypatch.setenv("LABKIT_CACHE", str(tmp_path))
    with pytest.raises(FetchError, match=r"cannot be fetched(.|\n)*digits"):
        fetch(name)


def test_the_table_of_data_sets_needs_no_network(no_network):
    assert len(labkit.data.datasets()) == len(cards())


@pytest.mark.photos
def test_photographs_at_hand_load_without_a_network(no_network, photos):
    assert len(labkit.load_data("ants-bees").train) == 244
