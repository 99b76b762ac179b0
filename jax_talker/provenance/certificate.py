"""A certificate of one's own, made on first use, by which this machine's videos can be told from others' – no more.

Nobody vouches for it, so readers call such a signature valid and its signer untrusted. Who has a certificate that
somebody vouches for gives its files instead (docs/ethics.md).
"""

import datetime
import os
from dataclasses import dataclass
from pathlib import Path

from jax_talker.errors import UserError

CHAIN, KEY = "chain.pem", "key.pem"
YEARS = 10
NAME = "jax_talker, self-made"


@dataclass(frozen=True)
class Certificate:
    """Both as PEM; the chain begins with the signer's own certificate. The key is of the curve P-256 (ES256)."""

    chain: bytes
    key: bytes


def own_certificate(folder: Path) -> Certificate:
    """The one in ``folder``, which is made if need be."""
    if not ((folder / CHAIN).is_file() and (folder / KEY).is_file()):
        _make(folder)
    return read_certificate(folder / CHAIN, folder / KEY)


def read_certificate(chain: Path, key: Path) -> Certificate:
    """UserError where a file is missing."""
    try:
        return Certificate(chain.read_bytes(), key.read_bytes())
    except OSError as error:
        raise UserError(
            f"{error.filename}: cannot be read ({error.strerror}); a certificate is a chain and a key"
        ) from None


def _make(folder: Path) -> None:
    """An authority of one's own, and a signer whom it vouches for: C2PA takes no signer who vouches for himself."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    now = datetime.datetime.now(datetime.UTC)

    def name(role: str) -> x509.Name:
        pairs = ((NameOID.ORGANIZATION_NAME, NAME), (NameOID.COMMON_NAME, f"{NAME} ({role})"))
        return x509.Name([x509.NameAttribute(kind, value) for kind, value in pairs])

    def usage(*, signs: bool, vouches: bool) -> x509.KeyUsage:
        return x509.KeyUsage(
            digital_signature=signs, key_cert_sign=vouches, crl_sign=vouches, content_commitment=False,
            key_encipherment=False, data_encipherment=False, key_agreement=False, encipher_only=False,
            decipher_only=False,
        )  # fmt: skip

    def begun(subject: x509.Name, public: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(name("authority"))
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=365 * YEARS))
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.public_key()), critical=False)
        )

    authority, signer = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    root = (
        begun(name("authority"), authority.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage(signs=False, vouches=True), critical=True)
        .sign(authority, hashes.SHA256())
    )
    leaf = (
        begun(name("signer"), signer.public_key())
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(usage(signs=True, vouches=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), critical=True)
        .sign(authority, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    key = signer.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    folder.mkdir(parents=True, exist_ok=True)
    _store(folder / KEY, key, 0o600)
    _store(folder / CHAIN, leaf.public_bytes(pem) + root.public_bytes(pem), 0o644)


def _store(path: Path, content: bytes, mode: int) -> None:
    work = path.with_name(f".{path.name}.{os.getpid()}")
    with os.fdopen(os.open(work, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "wb") as file:
        file.write(content)
    work.replace(path)
