"""State dictionaries of random numbers under which activations keep their size from layer to layer."""

from collections import OrderedDict

import torch


class RandomState(OrderedDict):
    """Filled layer by layer, under the original's names."""

    def __init__(self, seed=0):
        super().__init__()
        self._generator = torch.Generator().manual_seed(seed)

    def layer(self, name, *shape, bias=False, gain=2.0):
        """A convolution or linear layer: weight [out, in, …]."""
        fan_in = torch.Size(shape[1:]).numel()
        self[f"{name}.weight"] = torch.randn(shape, generator=self._generator) * (gain / fan_in) ** 0.5
        if bias:
            self[f"{name}.bias"] = 0.1 * torch.randn(shape[0], generator=self._generator)

    def norm(self, name, width, *, affine=True):
        if affine:
            self[f"{name}.weight"] = 0.5 + torch.rand(width, generator=self._generator)
            self[f"{name}.bias"] = 0.3 * torch.randn(width, generator=self._generator)
        self[f"{name}.running_mean"] = 0.3 * torch.randn(width, generator=self._generator)
        self[f"{name}.running_var"] = 0.5 + torch.rand(width, generator=self._generator)
        self[f"{name}.num_batches_tracked"] = torch.tensor(80_000)

    def slopes(self, name, width):
        """A PReLU's."""
        self[f"{name}.weight"] = 0.25 + 0.1 * torch.randn(width, generator=self._generator)

    def __reduce__(self):  # a plain dictionary, as programs save it
        return OrderedDict, (), None, None, iter(self.items())
