"""From text to tokens, and from tokens to the bytes of text.

A token stands for bytes, not for characters: one character may take several tokens, and generation
joins their bytes. So every tokenizer here answers `bytes_of(token)`, such that the bytes of tokens,
joined, are the text.
"""

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Protocol, runtime_checkable


@runtime_checkable
class Tokenizer(Protocol):
    """What a language model asks of a tokenizer."""

    vocab: int
    """How many tokens there are."""

    def encode(self, text: str | bytes) -> list[int]:
        """Return the tokens of a text.

        Raises:
            ValueError: for a text that the tokens cannot spell; it names the place.
        """
        ...

    def bytes_of(self, token: int) -> bytes:
        """Return what a token adds to the text before it."""
        ...

    def decode_bytes(self, tokens: Iterable[int]) -> bytes:
        """Return the bytes of tokens, joined."""
        ...


class ByteTokenizer:
    """Bytes are the tokens."""

    vocab = 256

    def encode(self, text: str | bytes) -> list[int]:
        """Return the bytes of a text, in UTF-8.

        A byte that Python could not decode (a surrogate escape, as in command line arguments) is
        that byte.

        Raises:
            ValueError: for half a surrogate pair, which no encoding has; it names the place.
        """
        return list(_utf8(text))

    def bytes_of(self, token: int) -> bytes:
        """Return the token as a byte."""
        return bytes((token,))

    def decode_bytes(self, tokens: Iterable[int]) -> bytes:
        """Return the tokens as bytes."""
        return bytes(tokens)


class FileTokenizer:
    """The tokenizer of a `tokenizer.json`, as the library tokenizers writes it.

    Special tokens, such as an end of text, add nothing to the text.

    Args:
        path: the file.

    Raises:
        FileNotFoundError: if there is no such file.
        ImportError: without the extra `lm`.
        ValueError: if the file is none, or if its decoder does not write the text token by token.
    """

    def __init__(self, path: str | Path):
        try:
            from tokenizers import Tokenizer
        except ImportError:
            raise ImportError(
                f"{path} needs the library tokenizers: pip install 'statewise[lm]'"
            ) from None
        path = Path(path)
        if not path.is_file():
            raise FileNotFoundError(f"there is no file {path}")
        try:
            self._text = path.read_text(encoding="utf-8")
            self._tokenizer = Tokenizer.from_str(self._text)
        except Exception as error:  # the library raises bare Exception
            raise ValueError(f"{path} is no tokenizer.json: {error}") from None
        description = json.loads(self._text)
        self.vocab = max(self._tokenizer.get_vocab().values(), default=-1) + 1
        self._unknown = _unknown_token(self._tokenizer, description["model"])
        self._bytes = _spell(self._tokenizer, description, str(path))

    def encode(self, text: str | bytes) -> list[int]:
        """Return the tokens of a text.

        Raises:
            ValueError: for a character that no token spells, or bytes that are not UTF-8; it names
                the place.
        """
        raw = _utf8(text)
        try:
            text = raw.decode("utf-8")
        except UnicodeDecodeError as error:
            raise ValueError(
                f"byte 0x{raw[error.start]:02x} at position {error.start} of the text is not "
                "UTF-8, and this tokenizer reads characters"
            ) from None
        encoding = self._tokenizer.encode(text, add_special_tokens=False)
        place = 0
        for token, (start, end) in [
            *zip(encoding.ids, encoding.offsets, strict=True),
            (None, (len(text), len(text))),
        ]:
            if text[place:start].strip():
                # A model without an unknown token leaves out silently what it cannot spell. The
                # offsets behind are then too small: they say that there is such, not where.
                raise self._lacks(text, 0, len(text))
            if token is not None and token == self._unknown:
                raise self._lacks(text, start, end)
            place = max(place, end)
        return encoding.ids

    def _lacks(self, text: str, start: int, end: int) -> ValueError:
        at = next((at for at in range(start, end) if self._is_unknown(text[at])), start)
        return ValueError(
            f"the tokenizer has no token for {text[at]!r} at position {at} of the text"
        )

    def _is_unknown(self, character: str) -> bool:
        if character.isspace():
            return False
        tokens = self._tokenizer.encode(character, add_special_tokens=False).ids
        # Some put a space in front, which is a token although the character is none.
        return self._unknown in tokens or not self.decode_bytes(tokens).strip()

    def bytes_of(self, token: int) -> bytes:
        """Return what a token adds to the text before it."""
        return self._bytes[token]

    def decode_bytes(self, tokens: Iterable[int]) -> bytes:
        """Return the bytes of tokens, joined."""
        return b"".join(map(self.bytes_of, tokens))

    def save(self, path: str | Path) -> None:
        """Write the file that was read."""
        Path(path).write_text(self._text, encoding="utf-8")


def _utf8(text: str | bytes) -> bytes:
    if isinstance(text, bytes):
        return text
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError as error:
        raise ValueError(
            f"{text[error.start]!r} at position {error.start} of the text is half a surrogate "
            "pair, not a character"
        ) from None


def _unknown_token(tokenizer: Any, model: dict[str, Any]) -> int | None:
    if model.get("unk_token") is not None:
        return tokenizer.token_to_id(model["unk_token"])
    return model.get("unk_id")


def _spell(tokenizer: Any, description: dict[str, Any], path: str) -> list[bytes]:
    """Return the bytes of every token."""
    vocab = max(tokenizer.get_vocab().values()) + 1
    names = [tokenizer.id_to_token(token) or "" for token in range(vocab)]
    special = {
        token for token, added in tokenizer.get_added_tokens_decoder().items() if added.special
    }
    decoders = _kinds(description["decoder"])
    if "ByteLevel" in decoders:
        return [b"" if i in special else _unmap(name) for i, name in enumerate(names)]
    # Any other decoder works on strings; what a token adds is what it makes longer. A first token
    # loses its space, so one stands before it.
    spelled: dict[int, bytes] = dict.fromkeys(special, b"")
    if "ByteFallback" in decoders:
        for token, name in enumerate(names):
            if re.fullmatch("<0x[0-9A-F]{2}>", name):
                spelled[token] = bytes((int(name[3:5], 16),))
    plain = [i for i, name in enumerate(names) if name and i not in spelled]
    first = next((i for i in plain if tokenizer.decode([i]).strip()), None)
    if first is None:
        raise ValueError(f"{path} has no token that writes text")
    before = tokenizer.decode([first])
    plain.append(first)  # so that no token is tried at the end alone, where some end otherwise
    pairs = tokenizer.decode_batch([[first, token] for token in plain])
    added = [pair[len(before) :] for pair in pairs]
    if tokenizer.decode([first, *plain]) != before + "".join(added):
        raise ValueError(
            f"{path} does not write its text token by token (decoder: {', '.join(decoders)}), so "
            "it cannot stream"
        )
    spelled.update(zip(plain, (text.encode() for text in added), strict=True))
    return [spelled.get(token, b"") for token in range(vocab)]


def _kinds(decoder: dict[str, Any] | None) -> list[str]:
    if decoder is None:
        return ["none"]
    if decoder["type"] == "Sequence":
        return [kind for part in decoder["decoders"] for kind in _kinds(part)]
    return [decoder["type"]]


def _byte_level_alphabet() -> dict[str, int]:
    # Printable Latin-1 stands for itself, every other byte for the next character from 256 on.
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(b): b for b in printable} | {chr(256 + i): b for i, b in enumerate(others)}


_ALPHABET = _byte_level_alphabet()


def _unmap(name: str) -> bytes:
    if all(character in _ALPHABET for character in name):
        return bytes(_ALPHABET[character] for character in name)
    return name.encode()  # added by hand, as text
