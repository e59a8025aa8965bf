"""fold: removes the linear transformations (LETs) from a path by rewrites that leave its function as it is.

A path taken out of a supernet carries a 1x1 convolution W (no bias, BN or activation) for every skipped layer. Rules,
tried in this order for each LET; a rule is used only where it saves multiply-adds:

1. LET, LET: multiply the two.
2. LET, then a layer that begins with a convolution and has no shortcut (lemma 2 of SCARLET-NAS): the convolution E
   becomes E W. The layer's subsampling, if it has any, stays.
3. a projection without shortcut, then a LET of stride 1: the projection P and its BN become W P.
4. LET between blocks with shortcuts: change the basis of the stream. With x = T z the stream keeps z, readers take
   E T and writers add T+ f, until a convolution without shortcut reads E T. T is W, completed by scaled orthonormal
   columns where it widens (the stream is zero-padded, which costs nothing). T+ multiplies rounding errors, so this is
   done only while T's condition number is below a limit.
5. otherwise the LET stays, and the report says why.

Everything is computed in float64 on a NetworkSpec with its arrays; no framework takes part.
"""

from __future__ import annotations

import copy
import dataclasses

import numpy as np

from scarlet_tf.base.errors import InputError
from scarlet_tf.base.settings import as_settings
from scarlet_tf.models.network import Arrays, Network, get_arrays, set_arrays
from scarlet_tf.space.cost import count_spec
from scarlet_tf.space.spec import BlockSpec, Conventions, IdentitySpec, NetworkSpec

MAX_CONDITION = 1e4
"""Default limit of rule 4; tests/export/test_folding.py bounds the error in float32 that it leaves."""

MAX_CONDITION_INT8 = 30.0
"""Limit for networks that are to be quantised to 8 bits."""

RULES = {
    1: "multiplied with the LET after it",
    2: "merged into the convolution after it",
    3: "merged into the projection in front of it",
    4: "basis of the residual stream changed",
    5: "stays",
}


@dataclasses.dataclass(frozen=True)
class FoldRow:
    """Outcome of one LET: the applied rule, the saved multiply-adds, T's condition for rules 4 and 5."""

    name: str
    rule: int
    saved_multiply_adds: int
    condition: float | None = None
    reason: str = ""

    def to_dict(self) -> dict:
        return {**dataclasses.asdict(self), "description": RULES[self.rule]}


def fold(model: Network, max_condition: float = MAX_CONDITION) -> tuple[Network, list[FoldRow]]:
    """A network without the LETs of `model`, as far as exact, and one row a LET.

    `model`: from `extract`, or any Network, else InputError. A skip of kind "relu" is not linear and is left alone.
    """
    if not isinstance(model, Network):
        raise InputError(f"fold: expected a Network, such as from extract or build_network, got {type(model).__name__}")
    spec, arrays, rows = fold_arrays(model.spec, get_arrays(model), max_condition)
    folded = Network(spec, name=f"{model.name}_folded")
    set_arrays(folded, arrays)
    return folded, rows


def fold_arrays(spec: NetworkSpec, arrays: Arrays, max_condition: float = MAX_CONDITION):
    """The same on a spec with its arrays: (spec, float32 arrays, rows)."""
    shortened = spec.replace(blocks=tuple(block for block in spec.blocks if not _is_nothing(block)))
    network = _Weighted(shortened.to_dict(), {key: np.asarray(value, np.float64) for key, value in arrays.items()})
    rows: list[FoldRow] = []
    kept: set[str] = set()
    while (name := network.first_let(kept)) is not None:
        network, row = _fold_one(network, name, max_condition)
        rows.append(row)
        if row.rule == 5:
            kept.add(name)
    return network.spec, {key: value.astype(np.float32) for key, value in network.arrays.items()}, rows


def _is_nothing(block: BlockSpec) -> bool:
    """True for a skip that keeps its input as it is."""
    return isinstance(block, IdentitySpec) and block.stride == 1 and block.in_channels == block.out_channels


def _fold_one(network: _Weighted, name: str, max_condition: float) -> tuple[_Weighted, FoldRow]:
    before = count_spec(network.spec).multiply_adds
    index = network.index(name)
    follower = network.block(index + 1)
    condition, reason = None, "folding it would not save multiply-adds"
    if not network.reaches_conv(index + 1):
        candidates = [(3, _merge_backward)] if _can_merge_backward(network, index) else []
        reason = "an identity or a block without expansion, not a 1x1 convolution, ends the stream after it"
    elif not _has_shortcut(follower):
        candidates = [(1 if _is_let(follower) else 2, _merge_forward)]
    else:
        candidates = [(3, _merge_backward)] if _can_merge_backward(network, index) else []
        condition = condition_number(network.let(name))
        if condition <= max_condition:
            candidates.append((4, _change_basis))
        elif not candidates:
            reason = f"condition {condition:.3g} is above the limit {max_condition:.3g}"
    for rule, rewrite in candidates:
        rewritten = rewrite(network.copy(), index)
        saved = before - count_spec(rewritten.spec).multiply_adds
        if saved > 0:
            return rewritten, FoldRow(name, rule, saved, condition if rule == 4 else None)
    return network, FoldRow(name, 5, 0, condition, reason)


def condition_number(matrix: np.ndarray) -> float:
    """Largest over smallest singular value, of the min(rows, columns) that there are; infinite for rank deficiency."""
    values = np.linalg.svd(matrix, compute_uv=False)
    return float(values[0] / values[-1]) if values[-1] > 0 else float("inf")


# -- the rules; each edits the network that it is given -------------------------------------------------------------------


def _merge_forward(network: _Weighted, index: int) -> _Weighted:
    """Rules 1 and 2: the convolution after the LET takes it in."""
    let, follower = network.blocks[index], network.block(index + 1)
    network.read_through(index + 1, network.let(let["name"]), let["in_channels"])
    if follower is not None and follower["kind"] == "linear":  # a strided 1x1 convolution subsamples by itself
        follower["stride"] *= let["stride"]
        let["stride"] = 1
    network.drop_let(index, let["in_channels"])
    return network


def _can_merge_backward(network: _Weighted, index: int) -> bool:
    previous = network.block(index - 1)
    if previous is None:
        projects = network.fields["first_channels"] is not None  # else the stem has no projection
    else:
        projects = previous["kind"] == "inverted_residual"
    return network.blocks[index]["stride"] == 1 and projects and not _has_shortcut(previous)


def _merge_backward(network: _Weighted, index: int) -> _Weighted:
    """Rule 3: the projection in front takes it in."""
    let = network.blocks[index]
    network.write_through(index - 1, network.let(let["name"]), let["out_channels"])
    let["in_channels"] = let["out_channels"]
    network.drop_let(index, let["out_channels"])
    return network


def _change_basis(network: _Weighted, index: int) -> _Weighted:
    """Rule 4: the blocks with shortcuts after the LET work on z, where x = T z."""
    transform = completed(network.let(network.blocks[index]["name"]))
    width = transform.shape[1]
    inverse = np.linalg.pinv(transform)
    reader = index + 1
    while _has_shortcut(network.block(reader)):
        network.read_through(reader, transform, width)
        network.write_through(reader, inverse, width)
        reader += 1
    network.read_through(reader, transform, width)
    network.drop_let(index, width)
    return network


def completed(matrix: np.ndarray) -> np.ndarray:
    """W [c_out, c_in] itself, or where it widens [W Q] with Q an orthonormal basis of what W does not reach.

    Q is scaled to the geometric mean of W's extreme singular values, so the condition number stays W's.
    """
    rows, columns = matrix.shape
    if rows <= columns:
        return matrix
    left, values, _ = np.linalg.svd(matrix, full_matrices=True)
    return np.concatenate([matrix, left[:, columns:] * np.sqrt(values[0] * values[-1])], axis=1)


def _is_let(block: dict | None) -> bool:
    if block is None or block["kind"] != "linear":
        return False
    return block["activation"] is None and not block.get("batch_norm")


def _expands(block: dict) -> bool:
    """True unless a block begins with a depthwise convolution, which reads every channel by itself."""
    return block.get("expand", True)


def _has_shortcut(block: dict | None) -> bool:
    return block is not None and block["kind"] == "inverted_residual" and block["residual"]


# -- a spec with its arrays ----------------------------------------------------------------------------------------------


@dataclasses.dataclass
class _Weighted:
    """A NetworkSpec in its dict form, which can be edited, and its arrays; `spec` is the checked value."""

    fields: dict
    arrays: Arrays

    @property
    def spec(self) -> NetworkSpec:
        return NetworkSpec.from_dict(self.fields)

    @property
    def blocks(self) -> list[dict]:
        return self.fields["blocks"]

    def copy(self) -> _Weighted:
        return _Weighted(copy.deepcopy(self.fields), dict(self.arrays))

    def first_let(self, kept: set[str]) -> str | None:
        return next((b["name"] for b in self.blocks if _is_let(b) and b["name"] not in kept), None)

    def index(self, name: str) -> int:
        return [block["name"] for block in self.blocks].index(name)

    def block(self, index: int) -> dict | None:
        """The block at `index`; None for the stem before them and the tail after them."""
        return self.blocks[index] if 0 <= index < len(self.blocks) else None

    def reaches_conv(self, index: int) -> bool:
        """True if a 1x1 convolution ends the stream that begins at `index`, after only blocks with shortcuts.

        An identity may end it, which an earlier folding left of a LET with a stride, or a block without expansion.
        """
        block = self.block(index)
        while block is not None and _has_shortcut(block) and _expands(block):
            index += 1
            block = self.block(index)
        return block is None or (block["kind"] != "identity" and _expands(block))

    def let(self, name: str) -> np.ndarray:
        """A LET as the matrix [c_out, c_in] that it multiplies pixels by."""
        return self.arrays[f"{name}_let/kernel"][0, 0].T

    def drop_let(self, index: int, out_channels: int) -> None:
        """Leaves of a LET only its subsampling, and zero channels up to `out_channels`; nothing if neither is needed."""
        let = self.blocks.pop(index)
        del self.arrays[f"{let['name']}_let/kernel"]
        if let["stride"] > 1 or out_channels > let["in_channels"]:
            rest = IdentitySpec(let["name"], let["in_channels"], out_channels, let["stride"])
            self.blocks.insert(index, dataclasses.asdict(rest))

    def read_through(self, index: int, transform: np.ndarray, width: int) -> None:
        """Lets the first convolution at `index` read `width` channels z instead of x = transform z."""
        block = self.block(index)
        key = "tail_conv/kernel"
        if block is not None:
            key = f"{block['name']}_{'let' if block['kind'] == 'linear' else 'expand'}/kernel"
            block["in_channels"] = width
        self.arrays[key] = (transform.T @ self.arrays[key][0, 0])[None, None]  # kernels are [1, 1, in, out]

    def write_through(self, index: int, transform: np.ndarray, width: int) -> None:
        """Lets the projection and BN at `index` (-1: the stem's) write transform times what they wrote."""
        if index < 0:
            name = "stem"
            self.fields["first_channels"] = width
        else:
            name = self.blocks[index]["name"]
            self.blocks[index]["out_channels"] = width
        bn = {
            part: self.arrays[f"{name}_project_bn/{part}"]
            for part in ("gamma", "beta", "moving_mean", "moving_variance")
        }
        epsilon = as_settings(Conventions, self.fields.get("conventions")).bn_epsilon
        scale = bn["gamma"] / np.sqrt(bn["moving_variance"] + epsilon)
        kernel = self.arrays[f"{name}_project/kernel"][0, 0] * scale
        self.arrays[f"{name}_project/kernel"] = (kernel @ transform.T)[None, None]
        self.arrays[f"{name}_project_bn/gamma"] = np.full(width, np.sqrt(1.0 + epsilon))
        self.arrays[f"{name}_project_bn/beta"] = transform @ (bn["beta"] - bn["moving_mean"] * scale)
        self.arrays[f"{name}_project_bn/moving_mean"] = np.zeros(width)
        self.arrays[f"{name}_project_bn/moving_variance"] = np.ones(width)
