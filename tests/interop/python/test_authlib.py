"""A client and a resource server on Authlib."""

import unittest

import requests
from authlib.integrations.base_client import OAuthError
from authlib.oauth2.rfc6750.errors import InsufficientScopeError, InvalidTokenError
from authlib.oauth2.rfc8414 import AuthorizationServerMetadata
from authlib.oauth2.rfc9068 import JWTBearerTokenValidator
from joserfc import jwt
from joserfc.errors import ExpiredTokenError, SecurityWarning
from joserfc.jwk import KeySet

from issuer import AUDIENCES, OURS, STRANGER, kid, rotate, tampered

# What its resource server verifies without being told of an algorithm.
DEFAULT = ["gateway-es", "gateway-rs"]


class ResourceServer(JWTBearerTokenValidator):
    """Fetches the key set when it meets an unknown key, else never again."""

    def __init__(self, audience, issuer=OURS.metadata["issuer"]):
        super().__init__(issuer, audience)
        self.fetch()

    def fetch(self):
        reply = requests.get(OURS.metadata["jwks_uri"], timeout=5)
        self.keys = KeySet.import_key_set(reply.json())

    def get_jwks(self):
        return self.keys

    def verify(self, token, scope="llm:chat"):
        if all(key.kid != kid(token) for key in self.keys):
            self.fetch()
        claims = self.authenticate_token(token)
        self.validate_token(claims, [scope], None)
        return claims


class Authlib(unittest.TestCase):
    def test_the_metadata_are_valid(self):
        # Authlib takes an empty list for a missing one; nothing is issued by redirection here.
        self.assertEqual(OURS.metadata["response_types_supported"], [])
        metadata = {**OURS.metadata, "response_types_supported": ["none"]}
        AuthorizationServerMetadata(metadata).validate()

    def test_good_tokens_are_accepted(self):
        for audience in DEFAULT:
            with self.subTest(audience):
                claims = ResourceServer(audience).verify(OURS.token(audience))
                self.assertEqual(claims.header["alg"], AUDIENCES[audience])

    def test_eddsa_is_accepted_where_it_is_allowed(self):
        server, token = ResourceServer("gateway-ed"), OURS.token("gateway-ed")
        with self.assertRaises(InvalidTokenError):
            server.verify(token)
        # RFC 9864 prefers the name Ed25519, which few verifiers know.
        with self.assertWarns(SecurityWarning):
            decoded = jwt.decode(token, server.keys, algorithms=["EdDSA"])
        self.assertEqual(decoded.claims["aud"], "gateway-ed")

    def test_another_audience_is_refused(self):
        with self.assertRaises(InvalidTokenError):
            ResourceServer("gateway-ed").verify(OURS.token("gateway-es"))

    def test_another_issuer_is_refused(self):
        other = ResourceServer("gateway-es", STRANGER.metadata["issuer"])
        with self.assertRaises(InvalidTokenError):
            other.verify(OURS.token("gateway-es"))
        with self.assertRaises(InvalidTokenError):
            ResourceServer("gateway-es").verify(STRANGER.token("gateway-es"))

    def test_an_expired_token_is_refused(self):
        claims = ResourceServer("gateway-es").verify(OURS.token("gateway-es", ttl=60))
        claims.validate(now=claims["exp"] - 1)
        with self.assertRaises(ExpiredTokenError):
            claims.validate(now=claims["exp"] + 1)

    def test_a_missing_scope_is_refused(self):
        token = OURS.token("gateway-es", scope="llm:chat")
        with self.assertRaises(InsufficientScopeError):
            ResourceServer("gateway-es").verify(token, "llm:embed")

    def test_what_was_tampered_with_is_refused(self):
        for audience in DEFAULT:
            server = ResourceServer(audience)
            for forged in tampered(OURS.token(audience)):
                with self.subTest(forged), self.assertRaises(InvalidTokenError):
                    server.authenticate_token(forged)

    def test_a_rotation_is_followed(self):
        server = ResourceServer("gateway-es")
        before = OURS.token("gateway-es")
        server.verify(before)
        known = {key.kid for key in server.keys}
        rotate()
        after = OURS.token("gateway-es")
        self.assertNotIn(kid(after), known)
        server.verify(after)
        server.verify(before)

    def test_errors_are_understood(self):
        for parameters, error in [
            ({"scope": "db:all"}, "invalid_scope"),
            ({"audience": "elsewhere"}, "invalid_target"),
            ({"ttl": 86400}, "invalid_authorization_details"),
        ]:
            with self.subTest(error), self.assertRaises(OAuthError) as refused:
                OURS.token(**{"audience": "gateway-es", **parameters})
            self.assertEqual(refused.exception.error, error)

    def test_a_token_is_introspected_and_revoked(self):
        token = OURS.token("gateway-es")
        introspect, revoke = (
            OURS.metadata[f"{what}_endpoint"] for what in ("introspection", "revocation")
        )
        claims = OURS.session.introspect_token(introspect, token).json()
        self.assertTrue(claims["active"])
        self.assertEqual(claims["aud"], "gateway-es")
        self.assertEqual(OURS.session.revoke_token(revoke, token).status_code, 200)
        claims = OURS.session.introspect_token(introspect, token).json()
        self.assertEqual(claims, {"active": False})


if __name__ == "__main__":
    unittest.main()
