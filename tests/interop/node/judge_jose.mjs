// jose with all its checks.

import { createLocalJWKSet, jwtVerify } from "jose";

import { ALGORITHMS, judge, REQUIRED } from "./judge.mjs";

await judge(createLocalJWKSet, ({ token, iss, aud, now, leeway }, keys) =>
  jwtVerify(token, keys, {
    algorithms: ALGORITHMS,
    typ: "at+jwt",
    issuer: iss,
    audience: aud,
    requiredClaims: REQUIRED,
    maxTokenAge: 900,
    clockTolerance: leeway,
    currentDate: new Date(now * 1000),
  }));
