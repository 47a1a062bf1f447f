"""A resource server on PyJWT."""

import unittest
from datetime import datetime, timezone
from unittest import mock

import jwt

from issuer import AUDIENCES, OURS, STRANGER, kid, rotate, tampered

CLAIMS = ["iss", "sub", "aud", "exp", "nbf", "iat", "jti", "client_id", "scope"]


class PyJWT(unittest.TestCase):
    def setUp(self):
        self.jwks = jwt.PyJWKClient(OURS.metadata["jwks_uri"], cooldown_duration=0)

    def verify(self, token, audience, issuer=OURS.metadata["issuer"]):
        key = self.jwks.get_signing_key_from_jwt(token)
        return jwt.decode(
            token,
            key,
            algorithms=[key.algorithm_name],
            audience=audience,
            issuer=issuer,
            options={"require": CLAIMS},
        )

    def test_good_tokens_are_accepted(self):
        for audience, algorithm in AUDIENCES.items():
            with self.subTest(algorithm):
                reply = OURS.obtain(audience, ttl=60)
                token = reply["access_token"]
                claims = self.verify(token, audience)
                header = jwt.get_unverified_header(token)
                self.assertEqual(header, {"alg": algorithm, "typ": "at+jwt", "kid": kid(token)})
                self.assertEqual(claims["scope"], reply["scope"])
                self.assertEqual(claims["jti"], reply["jti"])
                self.assertEqual(claims["exp"] - claims["iat"], 60)

    def test_another_audience_is_refused(self):
        with self.assertRaises(jwt.InvalidAudienceError):
            self.verify(OURS.token("gateway-es"), "gateway-ed")

    def test_another_issuer_is_refused(self):
        with self.assertRaises(jwt.InvalidIssuerError):
            self.verify(OURS.token("gateway-es"), "gateway-es", STRANGER.metadata["issuer"])
        with self.assertRaises(jwt.PyJWKClientError):
            self.verify(STRANGER.token("gateway-es"), "gateway-es")

    def test_an_expired_token_is_refused(self):
        token = OURS.token("gateway-es", ttl=60)
        expires = self.verify(token, "gateway-es")["exp"]
        self.verify_at(expires - 1, token)
        with self.assertRaises(jwt.ExpiredSignatureError):
            self.verify_at(expires, token)

    def verify_at(self, seconds, token):
        with mock.patch("jwt.api_jwt.datetime") as clock:
            clock.now.return_value = datetime.fromtimestamp(seconds, timezone.utc)
            return self.verify(token, "gateway-es")

    def test_what_was_tampered_with_is_refused(self):
        for audience, algorithm in AUDIENCES.items():
            key = self.jwks.get_signing_key_from_jwt(OURS.token(audience))
            for forged in tampered(OURS.token(audience)):
                with self.subTest(algorithm, token=forged), self.assertRaises(jwt.InvalidTokenError):
                    jwt.decode(forged, key, algorithms=[algorithm], audience=audience)

    def test_a_rotation_is_followed(self):
        before = OURS.token("gateway-es")
        self.verify(before, "gateway-es")
        known = {key.key_id for key in self.jwks.get_signing_keys()}
        rotate()
        after = OURS.token("gateway-es")
        self.assertNotIn(kid(after), known)
        self.verify(after, "gateway-es")
        self.verify(before, "gateway-es")


if __name__ == "__main__":
    unittest.main()
