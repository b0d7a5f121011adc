"""How many bytes of tensors are alive, counted where PyTorch has no counter of its own: on a CPU."""

from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class LiveBytes(TorchDispatchMode):
    """Counts the memory of tensors made inside; `peak` is the most that was alive after any operation, `now` what is."""

    def __init__(self):
        super().__init__()
        self._storages, self.peak = {}, 0

    @property
    def now(self):
        self._storages = {key: kept for key, kept in self._storages.items() if not kept[0].expired()}
        return sum(size for _, size in self._storages.values())

    def __torch_dispatch__(self, function, types, arguments=(), keywords=None):
        made = function(*arguments, **keywords or {})
        for tensor in tree_leaves(made):
            if isinstance(tensor, Tensor):
                storage = tensor.untyped_storage()
                reference = StorageWeakRef(storage)
                self._storages[reference.cdata] = reference, storage.nbytes()
        self.peak = max(self.peak, self.now)
        return made
