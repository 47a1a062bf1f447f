"""joserfc with all its checks."""

import json
import warnings

from joserfc import jwt
from joserfc.errors import SecurityWarning
from joserfc.jwk import KeySet
from joserfc.jws import JWSRegistry
from joserfc.jwt import JWTClaimsRegistry
from joserfc.registry import HeaderParameter, in_choices

from judge import REQUIRED, judge

HEADER = {
    "typ": HeaderParameter("Type", in_choices(["at+jwt"]), required=True),
    "kid": HeaderParameter("Key ID", "str", required=True),
}
REGISTRY = JWSRegistry(header_registry=HEADER, algorithms=["ES256", "EdDSA", "RS256"])
REGISTRY.max_header_length = 1366  # of base64, which are our 1024 bytes


def verify(case, keys):
    claims = {name: {"essential": True} for name in REQUIRED}
    claims["iss"]["value"] = case["iss"]
    claims["aud"]["value"] = case["aud"]
    token = jwt.decode(case["token"], keys, registry=REGISTRY)
    JWTClaimsRegistry(now=case["now"], leeway=case["leeway"], **claims).validate(token.claims)


# RFC 9864 prefers the name Ed25519 to EdDSA, which few verifiers know.
warnings.filterwarnings("ignore", category=SecurityWarning)
judge(lambda jwks: KeySet.import_key_set(json.loads(jwks)), verify)
