import numpy as np
import pytest

from segcgan.inference.store import DiskStore, MemoryStore

LAYERS = {"coarse": np.arange(6, dtype=np.uint8).reshape(1, 2, 3), "p_coarse": np.ones((2, 1, 2, 3), np.uint8)}


@pytest.mark.parametrize("kind", ["memory", "disk"])
def test_strips_come_back_as_they_were(kind, tmp_path):
    store = MemoryStore() if kind == "memory" else DiskStore(tmp_path / "s", "tag")
    assert not store.has(0)
    store.put(0, LAYERS)
    store.put(7, {"coarse": LAYERS["coarse"] + 1})
    assert [store.has(i) for i in (0, 1, 7)] == [True, False, True]
    for name, layer in LAYERS.items():
        np.testing.assert_array_equal(store.get(0)[name], layer)
    np.testing.assert_array_equal(store.get(7)["coarse"], LAYERS["coarse"] + 1)


def test_strips_survive_and_those_of_another_tag_do_not(tmp_path):
    DiskStore(tmp_path / "s", "weights 1").put(0, LAYERS)
    assert DiskStore(tmp_path / "s", "weights 1").has(0)
    assert not DiskStore(tmp_path / "s", "weights 2").has(0)
    assert not DiskStore(tmp_path / "s", "weights 1").has(0)


def test_a_folder_without_a_tag_is_not_trusted(tmp_path):
    DiskStore(tmp_path / "s", "tag").put(0, LAYERS)
    (tmp_path / "s/tag.json").unlink()
    assert not DiskStore(tmp_path / "s", "tag").has(0)


@pytest.mark.parametrize("share", [0.0, 0.5, 0.99])
def test_half_written_strips_do_not_count(tmp_path, share):
    store = DiskStore(tmp_path / "s", "tag")
    store.put(0, LAYERS)
    path = tmp_path / "s/strip_000000.npz"
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    assert not DiskStore(tmp_path / "s", "tag").has(0)
    path.unlink()
    path.with_suffix(".part").write_bytes(content)
    assert not DiskStore(tmp_path / "s", "tag").has(0)


def test_a_strip_written_again_is_read_again(tmp_path):
    store = DiskStore(tmp_path / "s", "tag")
    store.put(0, LAYERS)
    store.get(0)
    store.put(0, {"coarse": LAYERS["coarse"] + 5})
    np.testing.assert_array_equal(store.get(0)["coarse"], LAYERS["coarse"] + 5)


def test_close_leaves_nothing(tmp_path):
    store = DiskStore(tmp_path / "s", "tag")
    store.put(0, LAYERS)
    store.close()
    assert list(tmp_path.iterdir()) == []
