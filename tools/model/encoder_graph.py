"""The ONNX graph of a BERT sentence encoder: token ids in, one unit vector per row out.

Inputs   input_ids, attention_mask   int64 [batch, sequence], padded to the right
Output   sentence_embedding          float [batch, hidden]

One segment only, so its embedding is added to the position table once, here, and not on every run.
"""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

OPSET = 17
IR_VERSION = 8
MASKED = -10000.0  # added to the score of a padding token before softmax


class Graph:
    """Collects nodes and constants; every operation returns the name of its result."""

    def __init__(self, weights):
        self.weights, self.nodes, self.constants = weights, [], {}

    def constant(self, name, value):
        if name not in self.constants:
            self.constants[name] = numpy_helper.from_array(np.ascontiguousarray(value), name)
        return name

    def ints(self, *values):
        return self.constant("ints_" + "_".join(map(str, values)), np.array(values, np.int64))

    def scalar(self, value):
        return self.constant(f"scalar_{float(value)!r}", np.array(value, np.float32))

    def apply(self, operator, *inputs, **attributes):
        result = f"{operator.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, list(inputs), [result], name=result, **attributes))
        return result

    def linear(self, x, prefix):
        weight = self.constant(prefix + ".weight", self.weights[prefix + ".weight"].T)
        bias = self.constant(prefix + ".bias", self.weights[prefix + ".bias"])
        return self.apply("Add", self.apply("MatMul", x, weight), bias)

    def layer_norm(self, x, prefix, epsilon):
        scale = self.constant(prefix + ".weight", self.weights[prefix + ".weight"])
        bias = self.constant(prefix + ".bias", self.weights[prefix + ".bias"])
        return self.apply("LayerNormalization", x, scale, bias, axis=-1, epsilon=epsilon)


def embed_tokens(g, epsilon):
    words = g.weights["embeddings.word_embeddings.weight"]
    positions = g.weights["embeddings.position_embeddings.weight"]
    positions = positions + g.weights["embeddings.token_type_embeddings.weight"][0]
    length = g.apply("Slice", g.apply("Shape", "input_ids"), g.ints(1), g.ints(2))
    used = g.apply("Slice", g.constant("positions", positions), g.ints(0), length, g.ints(0))
    x = g.apply("Add", g.apply("Gather", g.constant("words", words), "input_ids"), used)
    return g.layer_norm(x, "embeddings.LayerNorm", epsilon)


def attend(g, x, bias, prefix, heads, width):
    def split(name, order):
        parts = g.apply("Reshape", g.linear(x, f"{prefix}.self.{name}"), g.ints(0, 0, heads, width))
        return g.apply("Transpose", parts, perm=order)

    query, value = split("query", [0, 2, 1, 3]), split("value", [0, 2, 1, 3])
    scores = g.apply("MatMul", query, split("key", [0, 2, 3, 1]))
    scores = g.apply("Add", g.apply("Div", scores, g.scalar(np.sqrt(width))), bias)
    mixed = g.apply("MatMul", g.apply("Softmax", scores, axis=-1), value)
    merged = g.apply("Reshape", g.apply("Transpose", mixed, perm=[0, 2, 1, 3]), g.ints(0, 0, heads * width))
    return g.linear(merged, prefix + ".output.dense")


def gelu(g, x):
    """x/2 * (1 + erf(x / sqrt 2)); the approximation by tanh gives other vectors."""
    erf = g.apply("Erf", g.apply("Div", x, g.scalar(np.sqrt(2))))
    return g.apply("Mul", g.apply("Mul", x, g.apply("Add", erf, g.scalar(1))), g.scalar(0.5))


def layer(g, x, bias, prefix, config):
    heads, epsilon = config["num_attention_heads"], config["layer_norm_eps"]
    attended = attend(g, x, bias, prefix + ".attention", heads, config["hidden_size"] // heads)
    x = g.layer_norm(g.apply("Add", attended, x), prefix + ".attention.output.LayerNorm", epsilon)
    wide = gelu(g, g.linear(x, prefix + ".intermediate.dense"))
    narrow = g.apply("Add", g.linear(wide, prefix + ".output.dense"), x)
    return g.layer_norm(narrow, prefix + ".output.LayerNorm", epsilon)


def pool(g, x):
    """Mean over the tokens that are not padding, then length 1."""
    mask = g.apply("Cast", g.apply("Unsqueeze", "attention_mask", g.ints(2)), to=TensorProto.FLOAT)
    total = g.apply("ReduceSum", g.apply("Mul", x, mask), g.ints(1), keepdims=0)
    mean = g.apply("Div", total, g.apply("Max", g.apply("ReduceSum", mask, g.ints(1), keepdims=0), g.scalar(1e-9)))
    length = g.apply("Max", g.apply("ReduceL2", mean, axes=[1], keepdims=1), g.scalar(1e-12))
    g.nodes.append(helper.make_node("Div", [mean, length], ["sentence_embedding"], name="sentence_embedding"))


def build_encoder(weights, config):
    g = Graph(weights)
    x = embed_tokens(g, config["layer_norm_eps"])
    mask = g.apply("Cast", g.apply("Unsqueeze", "attention_mask", g.ints(1, 2)), to=TensorProto.FLOAT)
    bias = g.apply("Mul", g.apply("Sub", g.scalar(1), mask), g.scalar(MASKED))
    for number in range(config["num_hidden_layers"]):
        x = layer(g, x, bias, f"encoder.layer.{number}", config)
    pool(g, x)

    def ids(name):
        return helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "sequence"])

    output = helper.make_tensor_value_info("sentence_embedding", TensorProto.FLOAT, ["batch", config["hidden_size"]])
    inputs = [ids("input_ids"), ids("attention_mask")]
    graph = helper.make_graph(g.nodes, "encoder", inputs, [output], list(g.constants.values()))
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], producer_name="weir")
    model.ir_version = IR_VERSION
    onnx.checker.check_model(model)
    return model
