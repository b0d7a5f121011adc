"""The bytes of a path, an open file or bytes in memory, read from any place without moving the file's own position."""

import io
import os


class ByteView(io.RawIOBase):
    """A binary file of its own over somebody's file: libsndfile reads the descriptor behind Python's back, so nobody's place may move."""

    def __init__(self, file):
        super().__init__()
        self._file, self._place = file, 0
        self._owned = None
        if isinstance(file, bytes):
            self._file = io.BytesIO(file)
        elif not hasattr(file, "read"):
            self._file = self._owned = open(file, "rb")  # noqa: SIM115 (closed with the view)
        try:
            self.descriptor = self._file.fileno() if hasattr(os, "pread") else None
        except (AttributeError, OSError):  # in memory
            self.descriptor = None
        if self.descriptor is not None:
            self.size = os.fstat(self.descriptor).st_size
        else:
            self.size = self._file.seek(0, io.SEEK_END)

    def at(self, offset, size):
        """Up to `size` bytes from `offset` on."""
        if self.descriptor is not None:
            return os.pread(self.descriptor, size, offset)  # of no effect on where the descriptor stands
        self._file.seek(offset)
        return self._file.read(size)

    # --- a file -----------------------------------------------------------------------------------------------------

    def readable(self):
        return True

    def seekable(self):
        return True

    def read(self, size=-1):
        data = self.at(self._place, self.size - self._place if size is None or size < 0 else size)
        self._place += len(data)
        return data

    def readinto(self, buffer):
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def tell(self):
        return self._place

    def seek(self, offset, whence=io.SEEK_SET):
        self._place = max(0, offset + (0, self._place, self.size)[whence])
        return self._place

    def close(self):
        if self._owned is not None:
            self._owned.close()
        super().close()
