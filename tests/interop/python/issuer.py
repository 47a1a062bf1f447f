"""An issuer, of which nothing is known but the address of its metadata and a client's credential."""

import base64
import os

import jwt
import requests
from authlib.integrations.requests_client import OAuth2Session

# What each audience's tokens are signed with; the service is set up so.
AUDIENCES = {"gateway-es": "ES256", "gateway-ed": "EdDSA", "gateway-rs": "RS256"}


class Issuer:
    def __init__(self, prefix):
        self.metadata = requests.get(os.environ[prefix + "METADATA"], timeout=5).json()
        self.session = OAuth2Session(
            os.environ[prefix + "CLIENT_ID"],
            os.environ[prefix + "CLIENT_SECRET"],
            **self.metadata,
        )

    def obtain(self, audience, **parameters):
        """The reply of the token endpoint."""
        return self.session.fetch_token(
            grant_type="client_credentials", audience=audience, **parameters
        )

    def token(self, audience, **parameters):
        return self.obtain(audience, **parameters)["access_token"]


OURS = Issuer("SCRIP_")
STRANGER = Issuer("STRANGER_")


def kid(token):
    return jwt.get_unverified_header(token)["kid"]


def tampered(token):
    """The token in each way that somebody may have written into it."""
    header, claims, signature = token.split(".")
    wider = base64.urlsafe_b64decode(claims + "==").replace(b'"llm:chat"', b'"llm:chat db:all"')
    assert b"db:all" in wider
    yield f"{header}.{base64.urlsafe_b64encode(wider).decode().rstrip('=')}.{signature}"
    none = base64.urlsafe_b64encode(b'{"alg":"none","typ":"at+jwt"}').decode().rstrip("=")
    yield f"{none}.{claims}."
    flipped = "B" if signature[9] != "B" else "C"
    yield f"{header}.{claims}.{signature[:9]}{flipped}{signature[10:]}"


def rotate():
    """Has the operator rotate the keys so often that none of those published now signs."""
    print("rotate", flush=True)
    assert input() == "rotated"
