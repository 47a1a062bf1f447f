// What a library of tokens says to each line of a file of cases: `accept`, or `refuse` and why.

import { readFileSync } from "node:fs";

export const ALGORITHMS = ["ES256", "EdDSA", "RS256"];

// What every token has to have (RFC 9068 section 2.2, and ours), for libraries that can be told.
export const REQUIRED =
  ["iss", "sub", "aud", "exp", "nbf", "iat", "jti", "client_id", "ver", "scope", "tenant", "env"];

/** `keySet` makes of a JWKS what `verify` takes beside a case; `verify` throws where it refuses. */
export async function judge(keySet, verify) {
  const keySets = new Map();
  const answers = [];
  for (const line of readFileSync(process.argv[2], "utf8").trimEnd().split("\n")) {
    const test = JSON.parse(line);
    try {
      if (!keySets.has(test.jwks)) keySets.set(test.jwks, keySet(JSON.parse(test.jwks)));
      await verify(test, keySets.get(test.jwks));
      answers.push("accept");
    } catch (refusal) {
      answers.push(`refuse ${refusal.code} ${JSON.stringify(refusal.message).slice(0, 100)}`);
    }
  }
  process.stdout.write(answers.join("\n") + "\n");
}
