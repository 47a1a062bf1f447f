// fast-jwt with all its checks. It reads no JWKS, so the key is chosen here, and `use` and `key_ops` go unread.

import { createPublicKey } from "node:crypto";

import { createDecoder, createVerifier } from "fast-jwt";

import { judge, REQUIRED } from "./judge.mjs";

const decode = createDecoder({ complete: true });

/** Verifiers for the keys of a set, made once for each time. */
function verifiers({ keys }) {
  const byKid = new Map(keys.map((jwk) => [jwk?.kid, jwk]));
  const made = new Map();
  return ({ iss, aud, now, leeway }, kid) => {
    const settings = JSON.stringify([iss, aud, now, leeway, kid]);
    if (!made.has(settings)) {
      const jwk = byKid.get(kid);
      if (!jwk) throw new Error("unknown kid");
      made.set(settings, createVerifier({
        key: createPublicKey({ key: jwk, format: "jwk" }).export({ type: "spki", format: "pem" }),
        algorithms: [jwk.alg],
        checkTyp: "at+jwt",
        allowedIss: iss,
        allowedAud: aud,
        requiredClaims: REQUIRED,
        clockTolerance: leeway * 1000,
        clockTimestamp: now * 1000,
      }));
    }
    return made.get(settings);
  };
}

await judge(verifiers, (test, verifier) =>
  verifier(test, decode(test.token).header.kid)(test.token));
