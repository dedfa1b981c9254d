"""The Merkle tree over the entries' hashes, as RFC 6962 §2.1 has it (the tree of Certificate Transparency logs)."""

import hashlib
from collections.abc import Iterable

Node = bytes


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
