"""The Merkle tree over the entries' hashes, as RFC 6962 §2.1 has it (the tree of Certificate Transparency logs)."""

import hashlib
from collections.abc import Iterable, Sequence
from itertools import islice

Node = bytes
# the leaves under a node: from the first, up to the one after the last
Span = tuple[int, int]
# so many leaves, a power of two, are hashed at once where they fill a subtree
BLOCK = 1_024


def leaf_hash(data: bytes) -> Node:
    """Return the hash of a leaf."""
    return hashlib.sha256(b"\x00" + data).digest()


def node_hash(left: Node, right: Node) -> Node:
    """Return the hash of a node over two others."""
    return hashlib.sha256(b"\x01" + left + right).digest()


class Frontier:
    """A tree that only grows, kept as the roots of its perfect subtrees, largest first: at most one per bit of its size.

    `nodes` is what must be stored to go on later; appending costs amortised one hash, whatever the size.
    """

    def __init__(self, size: int = 0, nodes: Iterable[Node] = ()) -> None:
        self.size = size
        self.nodes = list(nodes)
        if len(self.nodes) != size.bit_count():
            raise ValueError(f"a tree of {size} leaves has {size.bit_count()} perfect subtrees, not {len(self.nodes)}")

    def append(self, data: bytes) -> None:
        """Add a leaf."""
        node, size = leaf_hash(data), self.size
        while size & 1:
            node = node_hash(self.nodes.pop(), node)
            size >>= 1
        self.nodes.append(node)
        self.size += 1

    def root(self) -> Node:
        """Return the tree's hash; that of the empty text for an empty tree."""
        if not self.nodes:
            return hashlib.sha256().digest()
        root = self.nodes[-1]
        for node in reversed(self.nodes[:-1]):
            root = node_hash(node, root)
        return root


def siblings(leaf: int, size: int) -> list[Span]:
    """Return what stands beside the way from a leaf (the first is 0) up to the root, lowest first (§2.1.1)."""
    if not 0 <= leaf < size:
        raise ValueError(f"a tree of {size} leaves has no leaf {leaf}")
    low, high, found = 0, size, list[Span]()
    while high - low > 1:
        middle = low + (1 << ((high - low - 1).bit_length() - 1))
        if leaf < middle:
            found.append((middle, high))
            high = middle
        else:
            found.append((low, middle))
            low = middle
    return found[::-1]


def paths(
    leaves: Iterable[int], size: int, data: Iterable[bytes], *, start: Frontier | None = None, block: int = BLOCK
) -> tuple[Node, dict[int, list[Node]]]:
    """Return the root over `size` leaves and the inclusion proof of each leaf asked for, reading `data` once.

    `data` begins after `start`, a tree of which no leaf is asked for. Memory is that of the proofs, whatever the size.
    Raises ValueError for a leaf that is not there, or when `data` is too short.
    """
    wanted = {leaf: siblings(leaf, size) for leaf in leaves}
    spans = {span for beside in wanted.values() for span in beside}
    # the blocks within which a node is wanted
    looked_into = {low // block for low, high in spans if high - low < block}
    known: dict[Span, Node] = {}
    begun = start or Frontier()
    if wanted and min(wanted) < begun.size:
        raise ValueError(f"leaf {min(wanted)} lies before leaf {begun.size}, where the reading begins")
    stack: list[tuple[int, int, Node]] = []

    def stand(low: int, high: int, node: Node) -> None:
        if (low, high) in spans:
            known[low, high] = node
        stack.append((low, high, node))
        while len(stack) > 1 and stack[-1][1] - stack[-1][0] == stack[-2][1] - stack[-2][0]:
            (_, high, right), (low, _, left) = stack.pop(), stack.pop()
            node = node_hash(left, right)
            if (low, high) in spans:
                known[low, high] = node
            stack.append((low, high, node))

    at = 0
    for node, width in zip(begun.nodes, _widths(begun.size), strict=True):
        stand(at, at + width, node)
        at += width
    rest = iter(data)
    while at < size:
        whole = at % block == 0 and size - at >= block
        taken = list(islice(rest, block if whole else 1))
        if not taken:
            raise ValueError(f"there are {at} leaves, not {size}")
        if len(taken) == block:
            node = _subtree(taken, at, spans if at // block in looked_into else set(), known)
            stand(at, at + block, node)
        else:
            for number, leaf in enumerate(taken):
                stand(at + number, at + number + 1, leaf_hash(leaf))
        at += len(taken)
    # what does not fill a perfect subtree stands at the right edge, folded from its end
    node = hashlib.sha256().digest()
    for index, (low, _high, left) in enumerate(reversed(stack)):
        node = node_hash(left, node) if index else left
        if (low, size) in spans:
            known[low, size] = node
    return node, {leaf: [known[span] for span in beside] for leaf, beside in wanted.items()}


def _subtree(data: Sequence[bytes], at: int, spans: set[Span], known: dict[Span, Node]) -> Node:
    """Return the root over leaves that fill a subtree, from leaf `at` on; keep the wanted nodes within it."""
    level, width, sha256 = [leaf_hash(leaf) for leaf in data], 1, hashlib.sha256
    while True:
        if spans:
            for number, node in enumerate(level):
                span = (at + number * width, at + (number + 1) * width)
                if span in spans:
                    known[span] = node
        if len(level) == 1:
            return level[0]
        pairs = iter(level)
        level = [sha256(b"\x01" + left + right).digest() for left, right in zip(pairs, pairs, strict=True)]
        width *= 2


def _widths(size: int) -> list[int]:
    return [1 << bit for bit in range(size.bit_length() - 1, -1, -1) if size >> bit & 1]


def root_by(data: bytes, leaf: int, size: int, path: Sequence[Node]) -> Node | None:
    """Return the root that a leaf's inclusion proof leads to; None when the proof has not as many nodes as it must."""
    if not 0 <= leaf < size:
        return None
    beside = siblings(leaf, size)
    if len(beside) != len(path):
        return None
    node = leaf_hash(data)
    for (low, _high), other in zip(beside, path, strict=True):
        node = node_hash(node, other) if leaf < low else node_hash(other, node)
    return node
