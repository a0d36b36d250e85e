"""The lines with which a machine that has Python installs FedOps from the server that it will join."""

from __future__ import annotations

import shlex

from fedops.core.server_authority import split_fingerprint

#: pip waits for so long until the server has prepared the packages for the device's platform. Seconds.
_WAIT = 120
#: Fetches the server's authority, compares it with the fingerprint, and keeps that one certificate.
_FETCH = (
    "import hashlib,re,ssl,sys,urllib.request as u;"
    "s=ssl.create_default_context();s.check_hostname=False;s.verify_mode=ssl.CERT_NONE;"
    "t=u.urlopen(sys.argv[1]+'/ca.pem',timeout=30,context=s).read(1<<20).decode();"
    "b='-----%s CERTIFICATE-----';"
    "p=[p for p in re.findall(b%'BEGIN'+'.+?'+b%'END',t,re.S)"
    " if 'sha256:'+hashlib.sha256(ssl.PEM_cert_to_DER_cert(p)).hexdigest()==sys.argv[2]];"
    "p or sys.exit('this is not the server that the line is of: nothing was installed');"
    "open(sys.argv[3],'w').write(p[0]+chr(10))"
)


def install_lines(join_url: str) -> list[str]:
    """Shell lines; each goes on only after the one before. FedOps is in the folder ``fedops`` then.

    pip is told of no other index, whatever its configuration says: another project has the name FedOps there.
    An authority of the server's own is compared with the fingerprint of ``join_url`` before pip trusts it.
    """
    url, fingerprint = split_fingerprint(join_url)
    url = url.rstrip("/")
    certificate, fetch, ours = "", [], ""
    if fingerprint is not None:
        words = " ".join(shlex.quote(word) for word in (url, fingerprint, "fedops/ca.pem"))
        fetch = [f'fedops/bin/python -c "{_FETCH}" {words} &&']
        certificate = " --cert fedops/ca.pem"
        ours = "REQUESTS_CA_BUNDLE= CURL_CA_BUNDLE= "  # these stand above --cert
    return [
        "python3 -m venv fedops &&",
        *fetch,
        f"{ours}PIP_CONFIG_FILE=/dev/null fedops/bin/python -m pip --isolated install "
        f"--timeout {_WAIT}{certificate} "
        f"--index-url {shlex.quote(url + '/simple/')} fedops",
    ]
