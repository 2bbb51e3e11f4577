"""The keys that texts are encrypted with: where they come from, and AES-256-GCM with them.

It knows keys, nonces and what belongs to a text; it does not know caches.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import re
from typing import Self

from xcs_airflow.errors import RuntimeTaskError

_KEY_BYTES = 32
_NONCE_BYTES = 12
_ID_DIGITS = 16
_HEX = re.compile(r"[0-9A-Fa-f]{64}")


class Keyring:
    """One key that encrypts, and all that decrypt.

    Nonces are random, so one key is good for some four billion texts (NIST SP 800-38D, section 8.3).

    Attributes:
        seal: The id of the key that encrypts: a digest of it, which does not tell the key.

    Args:
        keys: Of 32 bytes each, the one that encrypts first.

    Raises:
        RuntimeTaskError: The package is not installed (XCS617).
    """

    def __init__(self, keys: list[bytes]) -> None:
        try:
            from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415  # an extra
        except ImportError:
            raise RuntimeTaskError.because("XCS617", what="encrypting the cache", package="cryptography", extra="encryption") from None
        self._ciphers = {_id(key): AESGCM(key) for key in keys}
        self.seal = _id(keys[0])

    @classmethod
    def from_variable(cls, name: str, text: str | None) -> Self:
        """The keys in an environment variable: base64 or hexadecimal digits of 32 bytes each, with commas between them.

        Args:
            name: Of the variable, for messages.
            text: What it holds, which no message repeats.

        Raises:
            RuntimeTaskError: It holds no such keys (XCS611), or the package is not installed (XCS617).
        """
        keys = [_read(part.strip()) for part in (text or "").split(",")]
        if None in keys:
            reason = "it is not set" if not text else f"key {keys.index(None) + 1} of {len(keys)} is not 32 bytes in base64 or hex"
            raise RuntimeTaskError.because("XCS611", name=name, reason=reason)
        return cls([key for key in keys if key is not None])

    def encrypt(self, text: str, belongs_to: str) -> str:
        """A text that only holders of the key can read, in ASCII.

        Args:
            text: What to encrypt.
            belongs_to: What must be the same when it is read; it is not encrypted.
        """
        nonce = os.urandom(_NONCE_BYTES)
        data = self._ciphers[self.seal].encrypt(nonce, text.encode("utf-8", "surrogatepass"), _bytes(belongs_to))
        return base64.b64encode(nonce + data).decode()

    def decrypt(self, text: str, seal: str, belongs_to: str) -> str:
        """What was encrypted.

        Raises:
            KeyError: The key is not here.
            ValueError: It was not encrypted so, with this key and for this.
        """
        from cryptography.exceptions import InvalidTag  # noqa: PLC0415

        cipher = self._ciphers[seal]
        data = base64.b64decode(text, validate=True)
        try:
            plain = cipher.decrypt(data[:_NONCE_BYTES], data[_NONCE_BYTES:], _bytes(belongs_to))
        except InvalidTag:
            message = "it is not authentic"
            raise ValueError(message) from None
        return plain.decode("utf-8", "surrogatepass")


def _read(text: str) -> bytes | None:
    if _HEX.fullmatch(text):
        return bytes.fromhex(text)
    try:
        key = base64.b64decode(text.replace("-", "+").replace("_", "/"), validate=True)
    except (binascii.Error, ValueError):
        return None
    return key if len(key) == _KEY_BYTES else None


def _id(key: bytes) -> str:
    return hashlib.sha256(b"xcs-airflow, the id of a cache key:" + key).hexdigest()[:_ID_DIGITS]


def _bytes(text: str) -> bytes:
    # Half a surrogate pair and its escape are one thing to some caches.
    return text.encode("utf-8", "backslashreplace")
