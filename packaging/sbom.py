#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Writes the software bill of materials of a built outboxd, as CycloneDX 1.5 JSON, to standard output.

It asks the program itself: what the loader finds for it, what each of those needs, and which Debian package each came
from. A header that was compiled in (uthash) is known to no loader and is named with --header. The time is
SOURCE_DATE_EPOCH, and the serial number follows from the content, so that the same build gives the same bytes.

    packaging/sbom.py --version 0.1.0 [--header /usr/include/uthash.h] PROGRAM
"""
import argparse
import datetime
import hashlib
import json
import os
import pathlib
import platform
import re
import subprocess
import urllib.parse
import uuid


def say(*command):
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env={**os.environ, "LC_ALL": "C"}).stdout


def needed(path):
    """The sonames that a program or library asks for by itself."""
    return re.findall(r"\(NEEDED\)\s+Shared library: \[(.+)\]", say("readelf", "-d", path))


def loaded(program):
    """soname -> path, of everything that the loader finds for the program."""
    lines = say("ldd", program)
    if "not found" in lines:
        raise SystemExit(f"sbom.py: a library is missing:\n{lines}")
    libraries = dict(re.findall(r"^\s(\S+) => (/\S+) \(", lines, re.MULTILINE))
    return libraries | {path.rsplit("/", 1)[1]: path for path in re.findall(r"^\s(/\S+) \(", lines, re.MULTILINE)}


def owner(path):
    """The package that a file came from. dpkg knows it with or without /usr in front, and perhaps by its real name."""
    names = dict.fromkeys([path, os.path.realpath(path)])
    for name in [variant for name in names for variant in (name, "/usr" + name, name.removeprefix("/usr"))]:
        found = subprocess.run(["dpkg-query", "-S", name], capture_output=True, text=True, check=False)
        if found.returncode == 0:
            return found.stdout.splitlines()[0].rpartition(": ")[0]
    raise SystemExit(f"sbom.py: no package has {path}")


def package_url(name, version, architecture, source):
    qualifiers = {"arch": architecture}
    try:
        release = platform.freedesktop_os_release()
    except OSError:
        release = {}
    vendor = release.get("ID", "debian")
    if "VERSION_ID" in release:
        qualifiers["distro"] = f"{vendor}-{release['VERSION_ID']}"
    if source != name:
        qualifiers["upstream"] = source  # advisories name the source package
    return f"pkg:deb/{vendor}/{name}@{urllib.parse.quote(version, safe=':~')}?{urllib.parse.urlencode(sorted(qualifiers.items()))}"


def component(package, files):
    query = say("dpkg-query", "-W", "-f=${Package}\\t${Version}\\t${Architecture}\\t${source:Package}\\t${Homepage}", package)
    name, version, architecture, source, homepage = query.split("\t")
    url = package_url(name, version, architecture, source)
    return {
        "type": "library", "bom-ref": url, "name": name, "version": version, "scope": "required", "purl": url,
        **({"externalReferences": [{"type": "website", "url": homepage}]} if homepage else {}),
        "properties": [{"name": "outboxd:file", "value": file} for file in sorted(files)],
    }


def bill(program, version, headers):
    libraries = loaded(program)
    package_of = {soname: owner(path) for soname, path in libraries.items()}
    files = {}
    for soname, package in package_of.items():
        files.setdefault(package, set()).add(soname)
    for header in headers:
        files.setdefault(owner(header), set()).add(os.path.basename(header))
    components = {package: component(package, names) for package, names in sorted(files.items())}
    reference = {package: c["bom-ref"] for package, c in components.items()}

    me = "outboxd"
    edges = {ref: set() for ref in [me, *reference.values()]}
    edges[me] = {reference[package_of[soname]] for soname in needed(program)} | {reference[owner(h)] for h in headers}
    for soname, path in libraries.items():
        own = reference[package_of[soname]]
        edges[own] |= {reference[package_of[other]] for other in needed(path)} - {own}

    content = pathlib.Path(program).read_bytes()
    made = datetime.datetime.fromtimestamp(int(os.environ["SOURCE_DATE_EPOCH"]), datetime.timezone.utc)
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.5.schema.json",
        "bomFormat": "CycloneDX", "specVersion": "1.5", "version": 1,
        "metadata": {
            "timestamp": made.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "lifecycles": [{"phase": "build"}],
            "component": {
                "type": "application", "bom-ref": me, "name": "outboxd", "version": version,
                "licenses": [{"license": {"id": "MIT"}}],
                "hashes": [{"alg": "SHA-256", "content": hashlib.sha256(content).hexdigest()}],
            },
        },
        "components": sorted(components.values(), key=lambda c: c["bom-ref"]),
        "dependencies": [{"ref": ref, "dependsOn": sorted(edges[ref])} for ref in sorted(edges)],
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--version", required=True)
    parser.add_argument("--header", action="append", default=[])
    parser.add_argument("program")
    arguments = parser.parse_args()
    document = bill(arguments.program, arguments.version, arguments.header)
    document["serialNumber"] = uuid.uuid5(uuid.NAMESPACE_OID, json.dumps(document)).urn
    print(json.dumps(document, indent=1))


main()
