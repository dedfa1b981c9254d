"""A LiteRT flatbuffer under construction: shared weights, and one graph per signature. Knows operators, not networks.

Operators and their versions are those that litert-torch emits, so that the runtime meets what it knows.
"""

import zlib
from collections.abc import Iterable, Sequence
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

Op = schema.BuiltinOperator
TYPES = {"float32": schema.TensorType.FLOAT32, "int32": schema.TensorType.INT32, "int8": schema.TensorType.INT8}
INTEGER_SPREAD = 73.3  # standard deviation of integers spread evenly over -127…127


def options(name: str, **values: object) -> tuple[Any, Any]:
    """Make an operator's options: the union's tag and its filled table."""
    table = getattr(schema, name + "T")()
    for key, value in values.items():
        setattr(table, key, value)
    return getattr(schema.BuiltinOptions, name), table


class Model:
    """What the graphs share: operator codes and constant buffers. A weight is stored once for all graphs."""

    def __init__(self) -> None:
        self.codes: dict[tuple[int, int], int] = {}
        self.buffers: list[Any] = [schema.BufferT()]
        self.graphs: list[Any] = []
        self.signatures: list[Any] = []
        self._weights: dict[str, tuple[Any, int, Any]] = {}

    def buffer(self, array: Any) -> int:
        """Store a constant and return its number."""
        buffer = schema.BufferT()
        buffer.data = np.frombuffer(np.ascontiguousarray(array).tobytes(), np.uint8)
        self.buffers.append(buffer)
        return len(self.buffers) - 1

    def weight(self, key: str, rows: int, columns: int, seed: int) -> tuple[Any, int, Any]:
        """Make a random int8 weight with one scale per row: its shape, buffer number and scales.

        numpy has frozen RandomState's integer stream, so the bytes are the same on every machine.
        """
        if key not in self._weights:
            stream = np.random.RandomState(zlib.crc32(f"{seed} {key}".encode()))
            values = stream.randint(-127, 128, (rows, columns), np.int8)
            scale = np.full(rows, columns**-0.5 / INTEGER_SPREAD, np.float32)
            self._weights[key] = (values.shape, self.buffer(values), scale)
        return self._weights[key]

    def pack(self) -> bytes:
        """Serialise everything as a .tflite file."""
        model = schema.ModelT()
        model.version, model.description = 3, "tiny synthetic decoder-only LM"
        model.subgraphs, model.buffers, model.signatureDefs = self.graphs, self.buffers, self.signatures
        model.operatorCodes = []
        for code, version in sorted(self.codes, key=self.codes.__getitem__):
            operator_code = schema.OperatorCodeT()
            operator_code.builtinCode, operator_code.version = code, version
            operator_code.deprecatedBuiltinCode = min(code, 127)
            model.operatorCodes.append(operator_code)
        builder = flatbuffers.Builder(1 << 20)
        builder.Finish(model.Pack(builder), b"TFL3")
        return bytes(builder.Output())


class Graph:
    """One signature: tensors and operators in the order of execution. A tensor is known by its number."""

    def __init__(self, model: Model, name: str) -> None:
        self.model = model
        self.graph = schema.SubGraphT()
        self.graph.name, self.graph.tensors, self.graph.operators = name, [], []
        self.inputs: dict[str, int] = {}
        self.outputs: dict[str, int] = {}

    def tensor(
        self, shape: Iterable[int], dtype: str = "float32", *, buffer: int = 0, scale: Any = None, name: str = ""
    ) -> int:
        """Add a tensor. A scale makes it quantised per row."""
        tensor = schema.TensorT()
        tensor.shape, tensor.type, tensor.buffer, tensor.hasRank = list(shape), TYPES[dtype], buffer, True
        tensor.name = name or f"t{len(self.graph.tensors)}"
        if scale is not None:
            tensor.quantization = schema.QuantizationParametersT()
            tensor.quantization.scale, tensor.quantization.zeroPoint = scale, np.zeros(len(scale), np.int64)
        self.graph.tensors.append(tensor)
        return len(self.graph.tensors) - 1

    def shape(self, tensor: int) -> list[int]:
        """Return a tensor's shape."""
        return list(self.graph.tensors[tensor].shape)

    def input(self, name: str, shape: Sequence[int], dtype: str = "float32") -> int:
        """Add an input of the signature."""
        self.inputs[name] = self.tensor(shape, dtype, name=name)
        return self.inputs[name]

    def const(self, value: Any, dtype: str = "int32") -> int:
        """Add a constant."""
        array = np.asarray(value, dtype)
        return self.tensor(array.shape, dtype, buffer=self.model.buffer(array))

    def weight(self, key: str, rows: int, columns: int, seed: int) -> int:
        """Add a weight that the graphs share."""
        shape, buffer, scale = self.model.weight(key, rows, columns, seed)
        return self.tensor(shape, "int8", buffer=buffer, scale=scale)

    def op(
        self,
        code: int,
        inputs: Sequence[int],
        shape: Iterable[int],
        option: tuple[Any, Any] | None = None,
        dtype: str = "float32",
        version: int = 1,
    ) -> int:
        """Add an operator with one output and return that output."""
        operator = schema.OperatorT()
        operator.opcodeIndex = self.model.codes.setdefault((code, version), len(self.model.codes))
        output = self.tensor(shape, dtype)
        operator.inputs, operator.outputs = list(inputs), [output]
        if option:
            operator.builtinOptionsType, operator.builtinOptions = option
        self.graph.operators.append(operator)
        return output

    def add(self, a: int, b: int) -> int:
        """Add two tensors."""
        return self.op(Op.ADD, [a, b], np.broadcast_shapes(self.shape(a), self.shape(b)), options("AddOptions"))

    def mul(self, a: int, b: int) -> int:
        """Multiply two tensors element by element."""
        return self.op(Op.MUL, [a, b], np.broadcast_shapes(self.shape(a), self.shape(b)), options("MulOptions"))

    def reshape(self, x: int, shape: Sequence[int], dtype: str = "float32") -> int:
        """Give a tensor another shape."""
        option = options("ReshapeOptions", newShape=list(shape))
        return self.op(Op.RESHAPE, [x, self.const(shape)], shape, option, dtype)

    def transpose(self, x: int, order: Sequence[int]) -> int:
        """Reorder a tensor's axes."""
        shape = [self.shape(x)[axis] for axis in order]
        return self.op(Op.TRANSPOSE, [x, self.const(order)], shape, options("TransposeOptions"))

    def slice(self, x: int, begin: Sequence[int], size: Sequence[int], dtype: str = "float32") -> int:
        """Cut a block out of a tensor."""
        return self.op(Op.SLICE, [x, self.const(begin), self.const(size)], size, options("SliceOptions"), dtype)

    def concat(self, parts: Sequence[int], axis: int) -> int:
        """Join tensors along an axis."""
        shape = self.shape(parts[0])
        shape[axis] = sum(self.shape(part)[axis] for part in parts)
        return self.op(Op.CONCATENATION, parts, shape, options("ConcatenationOptions", axis=axis))

    def linear(self, x: int, weight: int) -> int:
        """Multiply by a weight's rows, keeping the leading axes."""
        shape = [*self.shape(x)[:-1], self.shape(weight)[0]]
        option = options("FullyConnectedOptions", keepNumDims=True)
        return self.op(Op.FULLY_CONNECTED, [x, weight, -1], shape, option, version=5)

    def matmul_transposed(self, a: int, b: int) -> int:
        """Multiply a by b transposed, over the last two axes."""
        shape = [*self.shape(a)[:-1], self.shape(b)[-2]]
        return self.op(Op.BATCH_MATMUL, [a, b], shape, options("BatchMatMulOptions", adjY=True))

    def rms_norm(self, x: int) -> int:
        """Scale every row to a root mean square of one."""
        shape = [*self.shape(x)[:-1], 1]
        mean = self.op(Op.MEAN, [self.mul(x, x), self.const([2])], shape, options("ReducerOptions", keepDims=True))
        epsilon = self.const(np.full((1, 1, 1), 1e-6), "float32")
        return self.mul(x, self.op(Op.RSQRT, [self.add(mean, epsilon)], self.shape(mean)))

    def finish(self, signature: str) -> None:
        """Close the graph under its signature's name."""
        self.graph.inputs, self.graph.outputs = list(self.inputs.values()), list(self.outputs.values())
        definition = schema.SignatureDefT()
        definition.signatureKey, definition.subgraphIndex = signature, len(self.model.graphs)
        definition.inputs, definition.outputs = [], []
        for source, target in ((self.inputs, definition.inputs), (self.outputs, definition.outputs)):
            for name in sorted(source):
                mapped = schema.TensorMapT()
                mapped.name, mapped.tensorIndex = name, source[name]
                target.append(mapped)
        self.model.graphs.append(self.graph)
        self.model.signatures.append(definition)
