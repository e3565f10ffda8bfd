"""Certificates for the servers of one installation, by an authority of its own whose key is thrown away once it has signed them.

    python -m shared.crypto.certificates FOLDER kafka=kafka,127.0.0.1 postgres=postgres,127.0.0.1

Writes `FOLDER/ca.pem` for clients, and for each server `FOLDER/<server>/server.pem` with its key and certificate. What is there and
lasts is left alone, so this may run before every start. For new ones delete the folder; clients then need the new `ca.pem`.
"""

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

LIFE = timedelta(days=3650)
LEFT_MIN = timedelta(days=30)
CLOCK_TOLERANCE = timedelta(days=1)
CA_FILE = "ca.pem"
SERVER_FILE = "server.pem"

OF_AUTHORITIES = x509.KeyUsage(
    key_cert_sign=True,
    crl_sign=True,
    digital_signature=False,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    encipher_only=False,
    decipher_only=False,
)
"""What the certificate of an authority must say, since Python 3.13 asks for it."""


def ensure(folder: Path, servers: Mapping[str, Sequence[str]], *, now: datetime | None = None) -> bool:
    """Make the certificates for these servers' names and addresses, unless all are there and last. Whether any was made."""
    now = now or datetime.now(UTC)
    files = [folder / CA_FILE, *(folder / server / SERVER_FILE for server in servers)]
    if all(_lasts(file, now + LEFT_MIN) for file in files):
        return False
    folder.mkdir(parents=True, exist_ok=True)
    key = ec.generate_private_key(ec.SECP256R1())
    authority = _name("Waybill")
    certificate = (
        _builder(authority, authority, key, now)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(OF_AUTHORITIES, critical=True)
        .sign(key, hashes.SHA256())
    )
    for server, hosts in servers.items():
        _write(folder / server / SERVER_FILE, _issue(server, hosts, key, authority, now), mode=0o600)
    # Last: with it everything is complete.
    _write(folder / CA_FILE, certificate.public_bytes(Encoding.PEM), mode=0o644)
    return True


def _issue(
    server: str, hosts: Sequence[str], authority_key: ec.EllipticCurvePrivateKey, authority: x509.Name, now: datetime
) -> bytes:
    """A server's key and its certificate. Brokers are clients of each other, so it is good for both ends."""
    key = ec.generate_private_key(ec.SECP256R1())
    uses = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    issuer_key = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key())
    certificate = (
        _builder(_name(server), authority, key, now)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([_alternative(host) for host in hosts]), critical=False)
        .add_extension(x509.ExtendedKeyUsage(uses), critical=False)
        .add_extension(issuer_key, critical=False)
        .sign(authority_key, hashes.SHA256())
    )
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return private + certificate.public_bytes(Encoding.PEM)


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, now: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCK_TOLERANCE)
        .not_valid_after(now + LIFE)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _lasts(file: Path, until: datetime) -> bool:
    try:
        certificates = x509.load_pem_x509_certificates(file.read_bytes())
    except (OSError, ValueError):
        return False
    return all(certificate.not_valid_after_utc > until for certificate in certificates)


def _write(file: Path, content: bytes, *, mode: int) -> None:
    """Whole or not at all, and with these permissions from the first byte."""
    file.parent.mkdir(parents=True, exist_ok=True)
    unfinished = file.with_name(f"{file.name}.new")
    unfinished.unlink(missing_ok=True)
    with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as opened:
        os.fchmod(opened.fileno(), mode)
        opened.write(content)
    unfinished.replace(file)


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _alternative(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line. Returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m shared.crypto.certificates", description=__doc__.split("\n", 1)[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("servers", nargs="+", metavar="SERVER=HOST[,HOST…]")
    parser.add_argument(
        "--owner", action="append", default=[], metavar="SERVER=UID", help="who may read this server's key (as root)"
    )
    options = parser.parse_args(arguments)
    servers = {name: hosts.split(",") for name, _, hosts in (one.partition("=") for one in options.servers)}
    made = ensure(options.folder, servers)
    for one in options.owner:
        server, _, uid = one.partition("=")
        os.chown(options.folder / server / SERVER_FILE, int(uid), int(uid))
    sys.stdout.write(f"{'made' if made else 'already there'}: {options.folder / CA_FILE}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
