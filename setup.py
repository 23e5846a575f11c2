"""Packaging of GridQuorum: four import packages, one command. Tool settings live in pyproject.toml.

With GRIDQUORUM_COMPILED=1 the wheel is made for this platform: the modules that pyproject.toml names are compiled by
mypyc and lie beside their sources (docs/operate.md, "The compiled build"). Without, as in an editable installation,
there is nothing to compile.
"""

import os
import tomllib
from pathlib import Path

from setuptools import Extension, find_packages, setup

VERSION = "0.1.0"

# One line of reason for each; requirements.lock pins every one of them with hashes.
RUNTIME = [
    "twisted[tls]>=26.4",  # the reactor, endpoints and TLS links of a node and of the client library
    "pycryptodome>=3.20",  # encrypted key files: PKCS#8 with scrypt, readable by OpenSSL
    "pynacl>=1.6",  # the one Ed25519 verifier (libsodium, strict)
    "cryptography>=46",  # X.509 certificates of the TLS links, ECDSA of meter records
    "lmdb>=1.4",  # the ledger of a replica: blocks, state, certificates
    "protobuf>=6.31",  # messages on the wire
    "pyyaml>=6.0",  # network definitions, through a strict loader
    "msgspec>=0.19",  # validation of network definitions with a path to the wrong field
    "structlog>=25.1",  # structured logs
    "click>=8.1",  # the command line
    "rich>=14.0",  # tables and progress on a terminal
    "prometheus-client>=0.22",  # metrics on the loopback port
]
DEVELOPMENT = [
    "pytest>=8.4",  # the test runner
    "pytest-twisted>=1.14",  # tests that wait for Deferreds
    "hypothesis>=6.130",  # properties beside slow references
    "mypy>=1.15",  # strict types
    "ruff>=0.11",  # lint and format
    "grpcio-tools>=1.74",  # protoc, to regenerate pbft/wire/gridquorum_pb2.py
    "mypy-protobuf>=3.6",  # types of the generated code
    "types-PyYAML>=6.0",  # types of the YAML loader
    "types-protobuf>=6.30",  # types of the protobuf runtime
]


def make_extensions() -> list[Extension]:
    """The modules on the path of every request, compiled; none unless GRIDQUORUM_COMPILED=1."""
    if os.environ.get("GRIDQUORUM_COMPILED") != "1":
        return []
    from mypyc.build import mypycify  # only here: who does not compile needs neither it nor a compiler

    settings = tomllib.loads((Path(__file__).parent / "pyproject.toml").read_text(encoding="utf-8"))
    compiled: dict[str, list[str]] = settings["tool"]["gridquorum"]["compiled"]
    paths = [f"{folder}/{name}.py" for folder, names in compiled.items() for name in names]
    return list(mypycify(paths, opt_level="2", debug_level="0", multi_file=True))


setup(
    name="gridquorum",
    version=VERSION,
    description="A permissioned energy ledger: PBFT ordering, sandboxed Python contracts, settlement to the watt-hour",
    long_description=(Path(__file__).parent / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.11",
    packages=find_packages(include=["pbft*", "ledger*", "contracts*", "meters*"]),
    ext_modules=make_extensions(),
    package_data={
        "pbft": ["py.typed", "wire/*.proto", "wire/*.pyi", "simulation/*.contract", "bench/*.contract"],
        "ledger": ["py.typed"],
        "contracts": ["py.typed", "standard/*.py", "examples/*.py"],
        "meters": ["py.typed", "data/*", "*.contract"],
    },
    install_requires=RUNTIME,
    extras_require={"dev": DEVELOPMENT},
    entry_points={
        "console_scripts": ["gridquorum = pbft.cli:main"],
        "pytest11": ["gridquorum = contracts.pytest_plugin"],  # the fixture `chain`, for authors of contracts
        "gridquorum.commands": ["demo = meters.cli:demo"],  # how a room to the right adds commands
        "gridquorum.workloads": ["readings = meters.bench:ReadingsWorkload"],  # and workloads of `bench`
    },
)
