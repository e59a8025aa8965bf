"""Layers as compiled forward and backward functions of tensors and variables' handles.

One TensorFlow graph of a whole supernet step holds tens of thousands of operations, and making it takes longer than many
steps. A supernet repeats itself, though: layers of one configuration differ in nothing but their variables. They share one
pair of functions, traced once; the caller passes the handles of the layer's variables.

The plain way, a `tf.function` a layer under a `tf.GradientTape`, takes 1.5 times as long and almost half as much memory again,
with and without oneDNN (docs/results.md), hence the functions cut out of a graph here.
"""

from __future__ import annotations

import dataclasses
import functools
import gc
from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf

from scarlet_tf.evaluation import kernels
from scarlet_tf.evaluation.graphs import found_by_name, unoptimized
from scarlet_tf.evaluation.layer_functions import signature
from scarlet_tf.models.supernet import Supernet
from scarlet_tf.training.optimizers import move, unscaled

ZERO = tf.UnconnectedGradients.ZERO

Function = Callable[[list], list]

# Operations that are repeated in the backward pass instead of keeping their results: one pass over memory each, and an
# activation such as hard swish consists of four.
# The calls are activations that XLA compiled, and an IdentityN hands on what a kernel with a gradient of its own made.
CHEAP = frozenset(
    {"AddV2", "Cast", "Identity", "IdentityN", "Mul", "Pad", "PartitionedCall", "Relu", "Relu6", "Reshape"}
)


@dataclasses.dataclass(frozen=True)
class Rule:
    """Use of a weight's gradient in a backward function.

    decay: L2, `decay * weight` is added to the gradients of kernels.
    momentum: of SGD, which moves the weight; 0 makes no use of momentum; None: gradients are returned, nothing moves.
    scale: by how much gradients are larger on their way back; those of weights are divided by it.
    frozen: weights have no gradients at all, and BN's statistics stay; it still normalises by the batch in training.
    """

    decay: float = 0.0
    momentum: float | None = None
    scale: float = 1.0
    frozen: bool = False


@dataclasses.dataclass(frozen=True)
class Compiled:
    """Forward and backward function of all layers of one configuration.

    forward: `forward([x, *handles of variables]) -> [y, *residuals]`; moves BN's statistics in training.
    backward: `backward([x, *handles of variables, *residuals, dy, *more]) -> [dx, *gradients]`: with a momentum `more` is
        the learning rate, then the handles of the momentums (none where it is 0), and no gradients are returned.

    Handles are in the order of `variables_of`.
    """

    forward: Function
    backward: Function


def compile_layer(layer: keras.layers.Layer, x: tf.TensorSpec, training: bool, rule: Rule) -> Compiled:
    """Compile a built layer, for all layers of its configuration; x, the input, has a static shape."""
    output = tf.TensorSpec(layer.compute_output_shape(tuple(x.shape)), layer.compute_dtype)

    def trace(x, dy, variables):
        y, moves = call_layer(layer, variables, lambda: layer(x, training=training))
        moved = [] if rule.frozen else variables.weights
        gradients = tf.gradients(y, [x, *moved], dy, unconnected_gradients=ZERO)
        return y, [] if rule.frozen else moves, [tf.convert_to_tensor(g) for g in gradients]

    graph = Graph(trace, [x, output], layer, rule)
    (x, dy), (y, moves, gradients) = graph.inputs, graph.results
    weights = graph.variables.weights
    residuals = residuals_of([x, *weights], y, gradients)
    given, updates = [x, *graph.handles, *residuals, dy], []
    with graph.function.graph.as_default():
        dx, *gradients = gradients
        if not rule.frozen:
            gradients = decayed(unscaled(gradients, rule.scale), weights, rule.decay)
        if rule.momentum is not None:
            given += [graph.learning_rate, *graph.slots]
            gradients, updates = [], graph.updates(gradients, dx)
    forward = graph.pruned([x, *graph.handles], [y, *residuals], moves)
    return Compiled(forward, graph.pruned(given, [dx, *gradients], updates))


def tail_function(tail, loss: Callable, x, targets: list, training: bool, rule: Rule) -> Function:
    """`function([x, *targets, *handles, *sums]) -> [loss, *others, dx, *sums plus the weights' gradients]`.

    `loss(*targets, logits)` returns the loss and others, such as the accuracy. Under a frozen rule there are no sums.
    """

    def trace(x, *rest):
        *given, variables = rest
        targets, sums = given[:num_targets], given[num_targets:]
        (value, *others), moves = call_layer(tail, variables, lambda: loss(*targets, tail(x, training=training)))
        moved = variables.weights if sums else []
        dx, *gradients = tf.gradients(value * rule.scale, [x, *moved], unconnected_gradients=ZERO)
        gradients = unscaled(gradients, rule.scale)
        added = [a + b for a, b in zip(sums, gradients, strict=True)]
        return value, *others, dx, *added, [] if rule.frozen else moves

    num_targets, weights = len(targets), [] if rule.frozen else tail.trainable_variables
    specs = [tf.TensorSpec(t.shape, t.dtype) for t in (x, *targets, *(v.value for v in weights))]
    graph = Graph(trace, specs, tail, Rule())
    *outputs, moves = graph.results
    (x, *targets), sums = graph.inputs[: 1 + num_targets], graph.inputs[1 + num_targets :]
    return graph.pruned([x, *targets, *graph.handles, *sums], outputs, moves)


@dataclasses.dataclass(frozen=True)
class Bound:
    """A layer's compiled functions with the handles of its own variables and momentums.

    `backward` is None of the tail, whose forward function returns gradients, too.
    """

    forward: Function
    backward: Any
    handles: list
    slots: list


class CompiledLayers:
    """The layers of one supernet, compiled when first asked for; layers of one configuration share their functions.

    Args:
        loss: a Loss, or another function of targets and logits; see `tail_function`.
        rule: use of the gradients of the choices' weights. Those of stem and tail are never moved here.
        slots: {variable path: momentum variable}, for a rule with a momentum above 0.
    """

    def __init__(
        self,
        supernet: Supernet,
        loss: Callable,
        rule: Rule,
        slots: dict | None = None,
        training: bool = True,
    ):
        self.supernet, self.loss, self.rule, self.training = supernet, loss, rule, training
        self._slots = slots or {}
        self._compiled: dict[str, Any] = {}  # for all layers of one configuration, and replicas
        self._bound: dict[tuple, Bound] = {}

    def layer(self, layer, x) -> Bound:
        """The stem or a candidate that reads x, with the current replica's variables."""
        return self._once(layer, [x], lambda: self._bind(layer, x))

    def tail(self, x, *targets) -> Bound:
        """The tail with the loss; see `tail_function`."""
        tail = self.supernet.tail
        return self._once(tail, [x, *targets], lambda: self._bind_tail(tail, x, list(targets)))

    def _once(self, layer, inputs: list, bind: Callable[[], Bound]) -> Bound:
        key = (_replica(), id(layer), *[tuple(x.shape) for x in inputs])
        if key not in self._bound:
            self._bound[key] = bind()
        return self._bound[key]

    def _bind(self, layer, x) -> Bound:
        stem = layer is self.supernet.stem
        key = f"{signature(layer)} {x.dtype} {x.shape}"
        if key not in self._compiled:
            rule = dataclasses.replace(self.rule, momentum=None) if stem else self.rule
            self._compiled[key] = compile_layer(layer, tf.TensorSpec(x.shape, x.dtype), self.training, rule)
            gc.collect(1)  # the whole graph is a cycle, and larger than what the layer's step takes
        moved = layer.trainable_variables if self.rule.momentum and not stem else []
        compiled, slots = self._compiled[key], [self._slots[v.path] for v in moved]
        return Bound(compiled.forward, compiled.backward, _handles(variables_of(layer)), _handles(slots))

    def _bind_tail(self, tail, x, targets: list) -> Bound:
        key = " ".join(["tail", *(f"{t.dtype} {t.shape}" for t in (x, *targets))])
        if key not in self._compiled:
            self._compiled[key] = tail_function(tail, self.loss, x, targets, self.training, self.rule)
        return Bound(self._compiled[key], None, _handles(variables_of(tail)), [])


def _replica() -> int:
    return int(tf.distribute.get_replica_context().replica_id_in_sync_group)


def _handles(variables) -> list:
    """Handles of the current replica's variables."""
    return [v.value.handle for v in variables]


class Graph:
    """Graph that `trace(*inputs, variables)` builds from placeholders; functions are cut out of it."""

    def __init__(self, trace: Callable, specs: list, layer, rule: Rule):
        self.rule = rule
        self.inputs: list = []
        self.handles: list = []
        self.slots: list = []
        self.variables: Any = None
        self.results: Any = None
        self.learning_rate: Any = None
        # In 16 bits optimisation stays: without it a gate's rounding error was 20 % of the greatest gate instead of 3 %.
        self._options = unoptimized() if layer.compute_dtype == "float32" else b""
        self._definition = functools.cache(lambda: self.function.graph.as_graph_def())

        def build():
            placeholder = tf.compat.v1.placeholder
            self.inputs = [placeholder(spec.dtype, spec.shape) for spec in specs]
            self.handles = [placeholder(tf.resource, []) for _ in variables_of(layer)]
            self.learning_rate = placeholder(tf.float32, [])
            self.variables = Values.read(layer, self.handles)
            self.slots = [placeholder(tf.resource, []) for _ in self.variables.weights] if rule.momentum else []
            with kernels.in_step(), found_by_name():
                self.results = trace(*self.inputs, self.variables)

        with tf.init_scope(), tf.device(None):
            self.function = tf.compat.v1.wrap_function(build, [])

    def updates(self, gradients: list, dx) -> list:
        """Operations that move the weights, when nothing reads them any more."""
        with tf.control_dependencies([dx, *gradients]):
            if not self.rule.momentum:
                pairs = zip(self.handles, gradients, strict=False)
                return [move(handle, None, g, self.learning_rate, 0.0) for handle, g in pairs]
            triples = zip(self.handles, self.slots, gradients, strict=False)
            return [move(h, slot, g, self.learning_rate, self.rule.momentum) for h, slot, g in triples]

    def pruned(self, inputs: list, outputs: list, effects: Sequence = ()) -> Function:
        """Function of `inputs` that returns `outputs` and runs the operations `effects`, as one call; the graph is complete."""
        # TensorFlow keeps `run`; what that needs only once is taken out of here, so that the whole graph can be let go.
        parts = [(self._between(inputs, outputs, effects), inputs, outputs, effects)]

        def run(*arguments):
            definition, inputs, outputs, effects = parts.pop()
            used = {name for node in definition.node for name in node.input}
            given = {tensor.ref(): argument for tensor, argument in zip(inputs, arguments, strict=True)}
            # Inputs that nothing reads may not be named.
            named = {t.name: given[t.ref()] for t in inputs if {t.name, t.op.name} & used}
            wanted = [t for t in outputs if t.ref() not in given]
            names = [*(t.name for t in wanted), *(operation.name for operation in effects)]
            made = tf.graph_util.import_graph_def(definition, input_map=named, return_elements=names, name="")
            given |= dict(zip([t.ref() for t in wanted], made, strict=False))
            first, *others = [given[t.ref()] for t in outputs]
            with tf.control_dependencies(made[len(wanted) :]):
                # The call below runs what its outputs need and nothing else.
                return [tf.identity(first), *others]

        specs, types = [tf.TensorSpec(t.shape, t.dtype) for t in inputs], [tensor.dtype for tensor in outputs]
        with tf.init_scope(), tf.device(None):
            function = tf.compat.v1.wrap_function(run, specs)
        config = self._options

        def call(arguments: list) -> list:
            # Calling `function` itself would run more Python than some layers take to compute.
            return tf.raw_ops.StatefulPartitionedCall(args=arguments, Tout=types, f=function, config_proto=config)

        return call

    def _between(self, inputs: list, outputs: list, effects: Sequence) -> tf.compat.v1.GraphDef:
        """The operations that make `outputs` and `effects` from `inputs`.

        TensorFlow's own `prune` copies operation by operation in Python, which makes the first step much longer.
        """
        stop, needed = {t.ref() for t in inputs}, set()
        queue = [*(t.op for t in outputs if t.ref() not in stop), *effects]
        while queue:
            operation = queue.pop()
            if operation.name not in needed:
                needed.add(operation.name)
                queue += [t.op for t in operation.inputs if t.ref() not in stop]
                queue += operation.control_inputs
        whole = self._definition()
        found = tf.compat.v1.GraphDef(versions=whole.versions, library=whole.library)
        nodes = [node for node in whole.node if node.name in needed]
        names = _of_equal_constants(nodes, {t.op.name for t in outputs})
        found.node.extend(node for node in nodes if names.get(node.name, node.name) == node.name)
        for node in found.node:
            node.input[:] = [names.get(name, name) for name in node.input]
            node.attr.pop("_class", None)  # "at the same place as", of operations that may be left out
        return found


def _of_equal_constants(nodes: list, kept: set[str]) -> dict[str, str]:
    """{name of a constant: name of the first one that equals it}; a graph has hundreds. Those named in `kept` stay."""
    firsts: dict[bytes, str] = {}
    return {
        node.name: firsts.setdefault(node.attr["value"].SerializeToString(), node.name)
        for node in nodes
        if node.op == "Const" and node.name not in kept
    }


@dataclasses.dataclass(frozen=True)
class Values:
    """The values of a layer's variables, as tensors in a graph."""

    weights: list
    statistics: list
    handles: list

    @classmethod
    def read(cls, layer, handles: list) -> Values:
        """Reads variables of the layer's shapes and types through the handles."""
        values = []
        for variable, handle in zip(variables_of(layer), handles, strict=True):
            value = tf.raw_ops.ReadVariableOp(resource=handle, dtype=variable.dtype)
            value.set_shape(variable.shape)
            values.append(value)
        count = len(layer.trainable_variables)
        return cls(values[:count], values[count:], handles)


def variables_of(layer) -> list:
    """A layer's variables, the trainable ones first."""
    return [*layer.trainable_variables, *layer.non_trainable_variables]


def call_layer(layer, values: Values, call: Callable):
    """(the result of `call()` while the layer's variables hold `values`, operations that store what it assigned)."""
    variables, before = variables_of(layer), [*values.weights, *values.statistics]
    with keras.StatelessScope(state_mapping=list(zip(variables, before, strict=True))) as scope:
        y = call()
    moves = []
    for variable, value, handle in zip(variables, before, values.handles, strict=True):
        after = scope.get_current_value(variable)
        if after is not value:
            moves.append(tf.raw_ops.AssignVariableOp(resource=handle, value=tf.cast(after, variable.dtype)))
    return y, moves


def decayed(gradients: list, weights: list, decay: float) -> list:
    """The gradients, with L2 for kernels (weights of two dimensions and more)."""
    if not decay:
        return gradients
    pairs = zip(gradients, weights, strict=True)
    return [g + tf.cast(decay, g.dtype) * w if w.shape.rank >= 2 else g for g, w in pairs]


def residuals_of(inputs: list, y, gradients: list) -> list:
    """Tensors that y's computation makes from the inputs and from which the gradients can be computed.

    What a cheap operation made is made again from what it was made of.
    """
    made = (_reached([y], _makers) & _reached(inputs, _readers)) - {x.op for x in inputs}
    found: dict = {}
    seen, queue = set(), [g.op for g in gradients]
    while queue:
        operation = queue.pop()
        if operation not in seen:
            seen.add(operation)
            kept = {t.ref(): t for t in operation.inputs if t.op in made and t.op.type not in CHEAP}
            found |= kept
            queue += [t.op for t in operation.inputs if t.ref() not in kept]
    return list(found.values())


def _makers(operation) -> list:
    return [tensor.op for tensor in operation.inputs]


def _readers(operation) -> list:
    return [reader for output in operation.outputs for reader in output.consumers()]


def _reached(tensors, neighbours: Callable) -> set:
    """The tensors' operations and all that `neighbours(operation)` leads to from them."""
    reached, queue = set(), [tensor.op for tensor in tensors]
    while queue:
        operation = queue.pop()
        if operation not in reached:
            reached.add(operation)
            queue += neighbours(operation)
    return reached
