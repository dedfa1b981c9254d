"""Writes the small decoder-only language model as .litertlm, without torch, TensorFlow or a model hub.

Weights are random and seeded: the same arguments give the same bytes. Needs `uv sync --group model`; running the model
needs none of it. With `--layers 26 --d 1152 --head-dim 256 --ff 6912 --vocab 32768 --cache 2048` it has the shape of
Gemma 3 1B (748 MB), whose speed on this machine may be compared with published figures.
"""

import argparse
import json
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
from litert_lm_builder import litertlm_builder
from litert_lm_builder.runtime.proto import llm_metadata_pb2

from hawkops.fleet.model import PATH, SHA256, digest
from hawkops.fleet.model.graph import TYPES, Graph, Model, Op, options


@dataclass(frozen=True)
class Shape:
    """The network's sizes; the defaults are those of the committed model."""

    layers: int = 3
    d: int = 128
    heads: int = 4
    head_dim: int = 32
    ff: int = 384
    vocab: int = 512
    cache: int = 512
    prefill: int = 128
    seed: int = 0


class Network:
    """One graph of the decoder (RMS norm, rotary positions, one key-value head, SwiGLU) over `tokens` tokens."""

    def __init__(self, model: Model, signature: str, tokens: int, shape: Shape) -> None:
        self.graph = Graph(model, signature)
        self.signature, self.tokens, self.sizes = signature, tokens, shape

    def build(self) -> None:
        """Add the whole graph to the model."""
        g, s, count = self.graph, self.sizes, self.tokens
        tokens, self.positions = g.input("tokens", [1, count], "int32"), g.input("input_pos", [count], "int32")
        self.mask = g.input("mask", [1, 1, count, s.cache])
        caches = [
            (
                g.input(f"kv_cache_k_{i}", [1, 1, s.cache, s.head_dim]),
                g.input(f"kv_cache_v_{i}", [1, 1, s.head_dim, s.cache]),
            )
            for i in range(s.layers)
        ]
        embedding = self._dense("embedding", s.vocab, s.d)
        looked_up = g.op(Op.EMBEDDING_LOOKUP, [g.reshape(tokens, [count], "int32"), embedding], [count, s.d])
        x = g.reshape(looked_up, [1, count, s.d])
        self._turn_by_position()
        for i, (key_cache, value_cache) in enumerate(caches):
            normed = g.rms_norm(x)
            keys, values = self._remember(i, normed, key_cache, value_cache)
            if self.signature != "decode" and i == s.layers - 1:
                break  # prefill only fills the cache
            x = self._attend(i, x, normed, keys, values)
            x = self._feed_forward(i, x)
        if self.signature == "decode":
            g.outputs["logits"] = g.linear(g.rms_norm(x), embedding)  # tied to the embedding
        g.finish(self.signature)

    def _dense(self, name: str, rows: int, columns: int) -> int:
        return self.graph.weight(name, rows, columns, self.sizes.seed)

    def _turn_by_position(self) -> None:
        """Prepare the rotary positions and where new keys and values go in the caches."""
        g, head_dim, count = self.graph, self.sizes.head_dim, self.tokens
        angle = np.tile(1 / 10000 ** (np.arange(0, head_dim, 2) / head_dim), 2).reshape(1, 1, head_dim)
        cast = options("CastOptions", inDataType=TYPES["int32"], outDataType=TYPES["float32"])
        positions = g.op(Op.CAST, [g.reshape(self.positions, [1, count, 1], "int32")], [1, count, 1], cast)
        turn = g.reshape(g.mul(positions, g.const(angle, "float32")), [1, 1, count, head_dim])
        self.cos = g.op(Op.COS, [turn], [1, 1, count, head_dim])
        self.sin = g.op(Op.SIN, [turn], [1, 1, count, head_dim])
        first = self.positions if count == 1 else g.slice(self.positions, [0], [1], "int32")
        start, zero = g.reshape(first, [], "int32"), g.const(0)

        def offset(axis: int) -> int:
            parts = [start if i == axis else zero for i in range(4)]
            return g.op(Op.PACK, parts, [4], options("PackOptions", valuesCount=4), "int32")

        self.key_offset, self.value_offset = offset(2), offset(3)

    def _rotate(self, x: int) -> int:
        g, half = self.graph, self.sizes.head_dim // 2
        shape = [*g.shape(x)[:3], half]
        left, right = g.slice(x, [0, 0, 0, 0], shape), g.slice(x, [0, 0, 0, half], shape)
        turned = g.concat([g.mul(right, g.const(np.float32(-1), "float32")), left], 3)
        return g.add(g.mul(x, self.cos), g.mul(turned, self.sin))

    def _split(self, x: int, heads: int) -> int:
        """Turn [1, tokens, heads · head_dim] into [1, heads, tokens, head_dim]."""
        g, count, head_dim = self.graph, self.tokens, self.sizes.head_dim
        if count == 1 or heads == 1:
            return g.reshape(x, [1, heads, count, head_dim])
        return g.transpose(g.reshape(x, [1, count, heads, head_dim]), [0, 2, 1, 3])

    def _remember(self, i: int, x: int, key_cache: int, value_cache: int) -> tuple[int, int]:
        """Write this layer's keys and values into its caches."""
        g, s = self.graph, self.sizes
        key = self._rotate(self._split(g.linear(x, self._dense(f"k{i}", s.head_dim, s.d)), 1))
        value = g.transpose(self._split(g.linear(x, self._dense(f"v{i}", s.head_dim, s.d)), 1), [0, 1, 3, 2])
        keys = g.op(Op.DYNAMIC_UPDATE_SLICE, [key_cache, key, self.key_offset], g.shape(key_cache))
        values = g.op(Op.DYNAMIC_UPDATE_SLICE, [value_cache, value, self.value_offset], g.shape(value_cache))
        g.outputs[f"kv_cache_k_{i}"], g.outputs[f"kv_cache_v_{i}"] = keys, values
        return keys, values

    def _attend(self, i: int, x: int, normed: int, keys: int, values: int) -> int:
        g, s, count = self.graph, self.sizes, self.tokens
        rows = s.heads * count
        query = self._rotate(self._split(g.linear(normed, self._dense(f"q{i}", s.heads * s.head_dim, s.d)), s.heads))
        query = g.mul(query, g.const(np.float32(s.head_dim**-0.5), "float32"))
        flat = g.reshape(query, [1, 1, rows, s.head_dim])
        score = g.reshape(g.matmul_transposed(flat, keys), [1, s.heads, count, s.cache])
        softmax = options("SoftmaxOptions", beta=1.0)
        chance = g.op(Op.SOFTMAX, [g.add(score, self.mask)], [1, s.heads, count, s.cache], softmax)
        read = g.matmul_transposed(g.reshape(chance, [1, 1, rows, s.cache]), values)
        read = g.transpose(g.reshape(read, [1, s.heads, count, s.head_dim]), [0, 2, 1, 3])
        joined = g.reshape(read, [1, count, s.heads * s.head_dim])
        return g.add(x, g.linear(joined, self._dense(f"o{i}", s.d, s.heads * s.head_dim)))

    def _feed_forward(self, i: int, x: int) -> int:
        g, s = self.graph, self.sizes
        normed = g.rms_norm(x)
        gate = g.linear(normed, self._dense(f"gate{i}", s.ff, s.d))
        gated = g.mul(gate, g.op(Op.LOGISTIC, [gate], g.shape(gate)))
        raised = g.mul(gated, g.linear(normed, self._dense(f"up{i}", s.ff, s.d)))
        return g.add(x, g.linear(raised, self._dense(f"down{i}", s.d, s.ff)))


def byte_tokenizer(vocab: int) -> dict[str, object]:
    """Describe a byte-level tokenizer without merges: four special tokens, one per byte, then unused ones."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    characters = {byte: chr(byte) for byte in printable}
    for number, byte in enumerate(byte for byte in range(256) if byte not in characters):
        characters[byte] = chr(256 + number)
    special = ["<pad>", "<bos>", "<eos>", "<turn>"]
    names = special + [characters[byte] for byte in range(256)] + [f"<unused{i}>" for i in range(vocab - 260)]
    plain = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [{"id": i, "content": text, **plain} for i, text in enumerate(special)],
        "normalizer": None,
        "pre_tokenizer": byte_level,
        "post_processor": None,
        "decoder": byte_level,
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": False,
            "vocab": {text: i for i, text in enumerate(names)},
            "merges": [],
        },
    }


def metadata(cache: int) -> bytes:
    """Describe the model to the runtime: its tokens, template and limits."""
    described = llm_metadata_pb2.LlmMetadata(
        max_num_tokens=cache, supports_thinking=False, supports_function_calling=False
    )
    described.start_token.token_ids.ids.append(1)
    described.stop_tokens.add().token_ids.ids.append(2)
    described.llm_model_type.generic_model.SetInParent()
    described.jinja_prompt_template = "{% for m in messages %}<turn>{{ m['content'] }}{% endfor %}<turn>"
    return bytes(described.SerializeToString())


def _system_metadata_unchanged(entries: Iterable[object]) -> Iterable[object]:
    """Stand in for the builder's own function, which would add the time and a random id."""
    return entries


def generate(target: Path, shape: Shape) -> None:
    """Write the model to `target`; the same shape gives the same bytes."""
    model = Model()
    Network(model, f"prefill_{shape.prefill}", shape.prefill, shape).build()
    Network(model, "decode", 1, shape).build()
    litertlm_builder.populate_system_metadata = _system_metadata_unchanged
    with tempfile.TemporaryDirectory() as folder:
        parts = {name: Path(folder) / name for name in ("model.tflite", "tokenizer.json", "llm_metadata.pb")}
        parts["model.tflite"].write_bytes(model.pack())
        parts["tokenizer.json"].write_text(json.dumps(byte_tokenizer(shape.vocab)))
        parts["llm_metadata.pb"].write_bytes(metadata(shape.cache))
        builder = litertlm_builder.LitertLmFileBuilder()
        marks = {"Authors": "synthetic, random weights", "uuid": f"00000000-0000-0000-0000-{shape.seed:012d}"}
        for key, value in marks.items():
            text = litertlm_builder.Metadata(key=key, value=value, dtype=litertlm_builder.DType.STRING)
            builder.add_system_metadata(text)
        builder.add_llm_metadata(str(parts["llm_metadata.pb"])).add_hf_tokenizer(str(parts["tokenizer.json"]))
        builder.add_tflite_model(str(parts["model.tflite"]), litertlm_builder.TfLiteModelType.PREFILL_DECODE)
        with target.open("wb") as file:
            builder.build(file)


def main() -> None:
    """Write the model named on the command line, by default the committed one."""
    parser = argparse.ArgumentParser(description="Write a synthetic language model with random weights.")
    parser.add_argument("target", nargs="?", type=Path, default=PATH)
    for field in fields(Shape):
        parser.add_argument("--" + field.name.replace("_", "-"), type=int, default=field.default)
    arguments = vars(parser.parse_args())
    target: Path = arguments.pop("target")
    generate(target, Shape(**arguments))
    written = digest(target)
    note = "the committed model" if written == SHA256 else "not the committed model"
    print(f"{target}: {target.stat().st_size} bytes, sha256 {written} ({note})")


if __name__ == "__main__":
    main()
