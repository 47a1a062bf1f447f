"""PyJWT with all its checks; it knows none of `typ`."""

import json
from datetime import datetime

import jwt
from jwt import api_jwt

from judge import REQUIRED, judge


class Clock:
    """What PyJWT reads the time from, which it cannot be given."""

    seconds = 0

    @classmethod
    def now(cls, tz):
        return datetime.fromtimestamp(cls.seconds, tz)


def key_set(jwks):
    return {key.key_id: key for key in jwt.PyJWKSet.from_dict(json.loads(jwks)).keys}


def verify(case, keys):
    Clock.seconds = case["now"]
    key = keys[jwt.get_unverified_header(case["token"])["kid"]]
    jwt.decode(
        case["token"],
        key,
        algorithms=[key.algorithm_name],
        issuer=case["iss"],
        audience=case["aud"],
        leeway=case["leeway"],
        options={"require": REQUIRED, "strict_aud": True, "enforce_minimum_key_length": True},
    )


api_jwt.datetime = Clock
judge(key_set, verify)
