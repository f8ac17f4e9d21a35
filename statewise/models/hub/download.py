"""Where a model is that is named by a folder, or by `owner/name` on the hub."""

import re
from pathlib import Path

FILES = ("config.json", "*.safetensors", "*.safetensors.index.json", "tokenizer.json")
"""What is downloaded: no pickles, and no programs."""

_NAME = re.compile(r"[\w][\w.-]*/[\w][\w.-]*")


def local(name: str | Path, revision: str | None = None) -> Path:
    """Return the folder of a model, which is downloaded if it is on the hub and not here yet.

    Args:
        name: a folder, or `owner/name` on the hub, where no folder is called so.
        revision: a branch, a tag or a commit on the hub; its main branch if absent.

    Raises:
        FileNotFoundError: if there is neither, the hub cannot be reached, or the library that would
            (huggingface_hub) is not installed.
    """
    folder = Path(name)
    if folder.exists() or not isinstance(name, str) or not _NAME.fullmatch(name):
        return folder
    try:
        from huggingface_hub import snapshot_download
    except ImportError:
        raise FileNotFoundError(
            f"there is no folder {name}, and models of the hub need `pip install statewise[hub]`"
        ) from None
    try:
        return Path(snapshot_download(name, revision=revision, allow_patterns=list(FILES)))
    except (OSError, ValueError) as error:
        why = " ".join(str(error).split())
        raise FileNotFoundError(f"there is no folder {name}, and from the hub: {why}") from error
