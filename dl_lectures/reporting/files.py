"""Files that are either whole or absent."""

import os
import pathlib

from dl_lectures import errors


def write_atomically(path: os.PathLike | str, content: bytes) -> pathlib.Path:
    """Writes `content` to `path` so that a reader finds the old file or the new one, never a part.

    The bytes go to a neighbour of `path`, are forced to the disk and renamed over it.

    Args:
        path: the file; missing directories above it are made.
        content: the whole file.

    Returns:
        `path`.

    Raises:
        UsageError: the disk is full or the directory cannot be written.
    """
    path = pathlib.Path(path)
    # The process id keeps two writers of one path from sharing a temporary file.
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with open(temporary, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise errors.UsageError(
            f"Cannot write {path}: {error.strerror}. Free the disk or choose another --workdir."
        ) from error
    return path
