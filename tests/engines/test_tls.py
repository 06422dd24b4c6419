"""TLS towards the database, in every mode, with authorities and names that fit and do not."""
import datetime
import ipaddress
import os

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from database import Postgres
from lakebed_server import Server
from test_servers import migrate

DAY = datetime.timedelta(days=1)


def certificate(name, issuer=None, ip=None):
    """(certificate, key): its own authority without an issuer."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.timezone.utc)
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer[0].subject if issuer else subject)
    builder = builder.public_key(key.public_key()).serial_number(x509.random_serial_number())
    builder = builder.not_valid_before(now - DAY).not_valid_after(now + DAY)
    builder = builder.add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
    if ip:
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(ip))]), critical=False)
    return builder.sign(issuer[1] if issuer else key, hashes.SHA256()), key


def save(pair, at, owner=None):
    at.with_suffix(".crt").write_bytes(pair[0].public_bytes(serialization.Encoding.PEM))
    key = pair[1].private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    at.with_suffix(".key").write_bytes(key)
    at.with_suffix(".key").chmod(0o600)
    if owner:
        for suffix in (".crt", ".key"):
            os.chown(at.with_suffix(suffix), owner.pw_uid, owner.pw_gid)


@pytest.fixture(scope="module")
def postgres(tmp_path_factory):
    """It shows a certificate for another address, signed by an authority of its own, and takes clients with one of theirs."""
    with Postgres() as running:
        authority, stranger = certificate("authority"), certificate("stranger")
        save(authority, running.directory / "authority", running.user)
        save(stranger, running.directory / "stranger", running.user)
        save(certificate("lakebed", authority), running.directory / "client", None)
        save(certificate("here", authority, "127.0.0.1"), running.directory / "here", running.user)
        save(certificate("elsewhere", authority, "192.0.2.1"), running.directory / "elsewhere", running.user)
        yield running


def show(postgres, name, hba="hostssl all all 127.0.0.1/32 trust\n"):
    """The server shows this certificate, and takes connections with TLS alone; psql speaks TLS by itself."""
    (postgres.directory / "data" / "pg_hba.conf").write_text(hba)
    postgres.crash()
    at = postgres.directory
    postgres.settings |= {"ssl": "on", "ssl_cert_file": at / f"{name}.crt", "ssl_key_file": at / f"{name}.key", "ssl_ca_file": at / "authority.crt"}
    postgres.start()


def attempt(postgres, tmp_path, options):
    address = f"postgres://lakebed@127.0.0.1:{postgres.port}/postgres?{options}"
    return migrate(Server(tmp_path, database={"type": "postgres", "postgres": {"connection_string": address}}), "up")


@pytest.mark.parametrize("shown", ["here", "elsewhere"])
def test_modes(postgres, tmp_path, shown):
    show(postgres, shown)
    authority, stranger = postgres.directory / "authority.crt", postgres.directory / "stranger.crt"
    refused = {
        "sslmode=disable": "28000",
        f"sslmode=require&sslrootcert={stranger}": "ertificate",
        f"sslmode=verify-ca&sslrootcert={stranger}": "ertificate",
        f"sslmode=verify-full&sslrootcert={stranger}": "ertificate",
        "sslmode=verify-full&sslrootcert=/nowhere.crt": "/nowhere.crt",
    }
    accepted = ["sslmode=prefer", "sslmode=require", f"sslmode=require&sslrootcert={authority}", f"sslmode=verify-ca&sslrootcert={authority}"]
    full = f"sslmode=verify-full&sslrootcert={authority}"
    if shown == "here":
        accepted.append(full)
    else:
        refused[full] = "ertificate"
    for options in accepted:
        result = attempt(postgres, tmp_path, options)
        assert result.returncode == 0, (options, result.stderr)
    for options, said in refused.items():
        result = attempt(postgres, tmp_path, options)
        assert result.returncode == 1 and said in result.stderr, (options, result)


def test_a_client_certificate(postgres, tmp_path):
    client = postgres.directory / "client"
    # psql, which the fixture asks whether the server is up, has no certificate: only another database wants one.
    show(postgres, "here", "hostssl postgres all 127.0.0.1/32 trust\nhostssl template1 all 127.0.0.1/32 cert\n")
    address = f"postgres://lakebed@127.0.0.1:{postgres.port}/template1?sslmode=verify-full&sslrootcert={postgres.directory}/authority.crt"
    for more, code in [("", 1), (f"&sslcert={client}.crt&sslkey={client}.key", 0)]:
        section = {"type": "postgres", "postgres": {"connection_string": address + more}}
        result = migrate(Server(tmp_path, database=section), "up")
        assert result.returncode == code, result
