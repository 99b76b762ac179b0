"""Both generators once more in PyTorch, under the original's tensor names: what the JAX versions are measured against.

Functional and plain: each function follows its specification in the original's own layout (NCHW, [out, in]) and its
order of operations, in the precision of the tensors it is given. Used by tests marked ``torch``, by ``verify --torch``
and by the benchmarks.
"""
