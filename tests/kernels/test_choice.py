"""The choice between algorithms: by cost, by wish, and never one that cannot be used."""

import threading

import pytest

from convkit_kernels.algorithm import conv_algorithm, of_environment, wanted
from convkit_kernels.cpu.choice import chosen, estimates

NEIGHBOURS = ((0,), (-1, 0, 1), (-1, 0, 1))
ONE = (1, 1, 1)


def found(channels=64, filters=64, images=8, out=(1, 16, 16), taps=NEIGHBOURS, apart=ONE, groups=1, planes=True, which="sums"):
    return estimates(which, images, channels, filters, out, taps, apart, groups, planes, 4)


@pytest.mark.parametrize("which", ["sums", "outer"])
def test_the_cheapest_is_chosen(which):
    assert chosen(found(which=which)) == "winograd"
    assert chosen(found(channels=3, filters=8, which=which)) == "direct"
    assert chosen(found(out=(1, 1, 1), images=1, which=which)) == "direct"  # one pixel: the weights would cost more than the products
    few = found(images=4, which=which)
    assert chosen(few) == "direct" and min(few, key=lambda e: e.cost).algorithm == "winograd"  # compiling it would cost more than it saves
    for estimates_ in (found(which=which), found(channels=3, filters=8, which=which)):
        assert chosen(estimates_) == min(estimates_, key=lambda e: e.cost).algorithm


def test_what_cannot_be_is_said_and_not_chosen():
    for reason, options in (
        ("2 groups", {"groups": 2}),
        ("a window of 1x3x5 taps, not 1x3x3", {"taps": ((0,), (-1, 0, 1), (-2, -1, 0, 1, 2))}),
        ("planes of output that are not planes of input", {"planes": False}),
        ("a stride", {"apart": (1, 2, 1)}),
    ):
        direct, winograd = found(**options)
        assert (direct.refused, winograd.refused) == ("", reason)
        with conv_algorithm("winograd"):
            assert chosen((direct, winograd)) == "direct"


def test_a_wish_holds_in_its_block_and_its_thread():
    with conv_algorithm("direct"):
        assert wanted() == "direct" and chosen(found()) == "direct"
        with conv_algorithm("winograd"):
            assert chosen(found(channels=3, filters=8)) == "winograd"
        assert chosen(found()) == "direct"
        seen = []
        other = threading.Thread(target=lambda: seen.append(wanted()))
        other.start()
        other.join()
        assert seen == ["auto"]
    assert chosen(found()) == "winograd"


@pytest.fixture
def environment(monkeypatch):
    """Sets CONVKIT_CONV_ALGORITHM, for the test, as if the program had started with it."""

    def asks_for(name):
        monkeypatch.setenv("CONVKIT_CONV_ALGORITHM", name)
        of_environment.cache_clear()

    yield asks_for
    of_environment.cache_clear()


def test_the_environment_asks_for_the_whole_program(environment):
    environment("direct")
    assert chosen(found()) == "direct"
    with conv_algorithm("auto"):
        assert chosen(found()) == "winograd"
    environment("fft")
    with pytest.raises(ValueError, match=r"^CONVKIT_CONV_ALGORITHM: must be one of auto, direct, winograd, got 'fft'$"):
        wanted()


def test_an_unknown_name_is_refused():
    with pytest.raises(ValueError, match=r"^conv_algorithm: must be one of auto, direct, winograd, got 'fft'$"), conv_algorithm("fft"):
        pass
