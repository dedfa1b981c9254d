"""The tree against a naive one and published vectors; checkpoints against the format's own example."""

import hashlib

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from hawkops.history.domain.checkpoint import Checkpoint, Unproven, Verifier, opened, sign, verifier_of
from hawkops.history.domain.merkle import Frontier, leaf_hash, node_hash, paths, root_by

KEY = Ed25519PrivateKey.from_private_bytes(b"k" * 32)
OTHER = Ed25519PrivateKey.from_private_bytes(b"o" * 32)
NAME = "hawkops.example.com/history"

# the eight leaves of the Certificate Transparency reference tests, and the roots over the first one to eight of them
LEAVES = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"]
ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]


def naive(leaves: list[bytes]) -> bytes:
    """RFC 6962 §2.1, word for word."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return leaf_hash(leaves[0])
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    return node_hash(naive(leaves[:split]), naive(leaves[split:]))


def test_root__published_vectors__agree() -> None:
    tree = Frontier()
    for leaf, root in zip(LEAVES, ROOTS, strict=True):
        tree.append(bytes.fromhex(leaf))
        assert tree.root().hex() == root


@given(st.lists(st.binary(max_size=40), max_size=70), st.integers(0, 70))
def test_root__any_leaves_and_a_pause_anywhere__is_the_naive_one(leaves: list[bytes], pause: int) -> None:
    tree = Frontier()
    for number, leaf in enumerate(leaves):
        if number == pause:
            tree = Frontier(tree.size, tree.nodes)
        tree.append(leaf)
    assert tree.root() == naive(leaves)


def test_frontier__wrong_nodes__is_refused() -> None:
    with pytest.raises(ValueError, match="2 perfect subtrees"):
        Frontier(3, [b"x"])


def test_note__published_verifier_and_note__opens() -> None:
    """The example of golang.org/x/mod/sumdb/note, on which signed-note is built."""
    verifier = Verifier.parse("PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW")
    assert verifier.key_id.hex() == "c74f20a3"
    text = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n"
    signature = "x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM="
    note = f"{text}\n\N{EM DASH} PeterNeumann {signature}\n"
    with pytest.raises(Unproven, match="origin and size"):  # its signature holds, but it is no checkpoint
        opened(note, [verifier])
    with pytest.raises(Unproven, match="PeterNeumann is false"):
        opened(note.replace("answer", "amswer"), [verifier])


def test_checkpoint__signed__opens_with_its_key_only() -> None:
    point = Checkpoint(NAME, 20_852_163, bytes.fromhex(ROOTS[7]))
    note = sign(point, NAME, KEY)
    own = verifier_of(NAME, KEY)
    assert opened(note, [own]) == (point, own)
    assert Verifier.parse(str(own)) == own
    assert note.splitlines()[:2] == [NAME, "20852163"]
    with pytest.raises(Unproven, match="no known key"):
        opened(note, [verifier_of(NAME, OTHER)])
    with pytest.raises(Unproven, match="false"):
        opened(note.replace("20852163", "20852164"), [own])


@pytest.mark.parametrize("text", ["", "x", "a+b+c", "n+00000000+" + "A" * 44, "two words+c74f20a3+ARpc2Qc="])
def test_verifier__unfit__is_refused(text: str) -> None:
    with pytest.raises(Unproven):
        Verifier.parse(text)


@given(st.text(max_size=200))
def test_note__anything__opens_or_is_refused_cleanly(text: str) -> None:
    with pytest.raises(Unproven):
        opened(text, [verifier_of(NAME, KEY)])


@given(size=st.integers(1, 70), at=st.data())
def test_inclusion__any_leaves_of_any_tree__lead_to_its_root_and_no_other_leaf_does(
    size: int, at: st.DataObject
) -> None:
    leaves = [f"leaf {number}".encode() for number in range(size)]
    begun = at.draw(st.integers(0, size - 1))
    start = Frontier()
    for data in leaves[:begun]:
        start.append(data)
    wanted = at.draw(st.sets(st.integers(begun, size - 1), min_size=1))

    root, found = paths(wanted, size, leaves[begun:], start=start, block=at.draw(st.sampled_from([1, 4, 1_024])))

    assert root == naive(leaves)
    assert found.keys() == wanted
    for leaf, path in found.items():
        assert root_by(leaves[leaf], leaf, size, path) == root
        assert root_by(b"another", leaf, size, path) != root
        assert root_by(leaves[leaf], leaf, size, [*path, root]) is None
        if path:
            assert root_by(leaves[leaf], leaf, size, [b"x" * 32, *path[1:]]) != root


def test_inclusion__published_example__is_the_path_of_rfc_6962() -> None:
    leaves = [bytes.fromhex(leaf) for leaf in LEAVES]

    # RFC 6962 §2.1.3 draws this tree of seven: the path of d3 is [c, g, l], that of d6 is [i, k]
    tree = leaves[:7]
    c, i = leaf_hash(tree[2]), naive(tree[4:6])
    g, k = naive(tree[0:2]), naive(tree[0:4])
    root, found = paths([3, 6], 7, tree)

    assert root.hex() == ROOTS[6]
    assert found == {3: [c, g, naive(tree[4:7])], 6: [i, k]}


def test_inclusion__what_is_not_there__is_refused() -> None:
    with pytest.raises(ValueError, match="no leaf 3"):
        paths([3], 3, [b"a", b"b", b"c"])
    with pytest.raises(ValueError, match="there are 2 leaves, not 3"):
        paths([0], 3, [b"a", b"b"])
    with pytest.raises(ValueError, match="lies before leaf 1"):
        paths([0], 2, [b"b"], start=Frontier(1, [leaf_hash(b"a")]))
    assert root_by(b"a", -1, 3, []) is None
    assert root_by(b"a", 5, 3, []) is None
