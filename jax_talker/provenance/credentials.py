"""Content credentials (C2PA) in a video file: signed words on what made it. The only importer of c2pa, an optional
extra: ``jax-talker[provenance]``."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jax_talker.errors import UserError
from jax_talker.provenance.certificate import Certificate

SUFFIXES = (".mp4", ".mov")  # files that can hold them
SOURCE = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
HOW_TO_HAVE = "pip install 'jax-talker[provenance]'"
OURS = "org.jax-talker.run"  # the assertion with the run


@dataclass(frozen=True)
class Credentials:
    """What a file's credentials say, and whether its content is what was signed."""

    valid: bool
    trusted: bool  # somebody whom the reader knows vouches for the signer
    synthetic: bool  # it is said to be made by a trained algorithm
    generator: str  # program and version
    signer: str
    run: str  # SHA-256 that names the run; "" where another program made it
    problems: tuple[str, ...]  # codes of what did not fit


def available() -> bool:
    """Whether the extra is installed."""
    try:
        import c2pa  # noqa: F401
    except ImportError:
        return False
    return True


def sign(path: Path, certificate: Certificate, *, program: str, version: str, run: Mapping[str, Any]) -> None:
    """Put credentials into a file that is written; it takes its new content whole or not at all."""
    import c2pa

    maker = {"name": program, "version": version}
    action = {"action": "c2pa.created", "digitalSourceType": SOURCE, "softwareAgent": maker}
    manifest = {
        "claim_generator_info": [maker],
        "title": path.name,
        "assertions": [
            {"label": "c2pa.actions.v2", "data": {"actions": [action]}},
            {"label": OURS, "data": dict(run)},
        ],
    }
    work = path.with_name(f".{path.stem}.{os.getpid()}.signed{path.suffix}")
    info = c2pa.C2paSignerInfo(b"es256", certificate.chain, certificate.key, None)
    try:
        with c2pa.Signer.from_info(info) as signer, c2pa.Builder(json.dumps(manifest)) as builder:
            builder.sign_file(path, work, signer)
        work.replace(path)
    except c2pa.C2paError as error:
        raise UserError(f"{path}: cannot be signed ({str(error).splitlines()[0]}); is the certificate right?") from None
    finally:
        work.unlink(missing_ok=True)


def read(path: Path) -> Credentials | None:
    """A file's credentials; None where it has none, or is of a kind that cannot have any. UserError where they are
    damaged."""
    import c2pa

    try:
        with c2pa.Reader(str(path)) as reader:
            told = json.loads(reader.json())
    except c2pa.C2paError as error:
        if any(sign in str(error) for sign in ("ManifestNotFound", "NotSupported")):
            return None
        raise UserError(f"{path}: its content credentials are damaged ({str(error).splitlines()[0]})") from None
    active = told["manifests"][told["active_manifest"]]
    assertions = {one["label"]: one["data"] for one in active.get("assertions", [])}
    actions = next((data["actions"] for label, data in assertions.items() if label.startswith("c2pa.actions")), [])
    makers = active.get("claim_generator_info") or [{}]
    problems = tuple(one["code"] for one in told.get("validation_status", []))
    state = told.get("validation_state", "")
    return Credentials(
        valid=state in ("Valid", "Trusted"),
        trusted=state == "Trusted",
        synthetic=any(action.get("digitalSourceType") == SOURCE for action in actions),
        generator=f"{makers[0].get('name', '?')} {makers[0].get('version', '')}".strip(),
        signer=active.get("signature_info", {}).get("issuer", "?"),
        run=str(assertions.get(OURS, {}).get("run", "")),
        problems=problems,
    )
