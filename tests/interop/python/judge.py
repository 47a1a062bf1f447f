"""What a library of tokens says to each line of a file of cases: `accept`, or `refuse` and why."""

import functools
import json
import sys

# What every token has to have (RFC 9068 section 2.2, and ours), for libraries that can be told.
REQUIRED = ["iss", "sub", "aud", "exp", "nbf", "iat", "jti", "client_id", "ver", "scope", "tenant", "env"]


def judge(key_set, verify):
    """`key_set` makes of a JWKS what `verify` takes beside a case; `verify` raises where it refuses."""
    key_set = functools.cache(key_set)
    with open(sys.argv[1], encoding="utf-8") as cases:
        for case in map(json.loads, cases):
            try:
                verify(case, key_set(case["jwks"]))
                print("accept")
            except Exception as refusal:
                print("refuse", type(refusal).__name__, ascii(str(refusal))[:100])
