// A client and a resource server on node's own `fetch` and `jose`.

import assert from 'node:assert/strict'
import { once } from 'node:events'
import test from 'node:test'
import { createRemoteJWKSet, decodeJwt, decodeProtectedHeader, jwtVerify } from 'jose'

// What each audience's tokens are signed with; the service is set up so.
const AUDIENCES = { 'gateway-es': 'ES256', 'gateway-ed': 'EdDSA', 'gateway-rs': 'RS256' }

const ours = await issuer('SCRIP_')
const stranger = await issuer('STRANGER_')

for (const [audience, algorithm] of Object.entries(AUDIENCES)) {
  test(`good ${algorithm} tokens are accepted`, async () => {
    const reply = await obtain(ours, { audience, ttl: 60 })
    const { payload, protectedHeader } = await verify(reply.access_token, { audience })
    assert.equal(protectedHeader.alg, algorithm)
    assert.equal(payload.jti, reply.jti)
    assert.equal(payload.scope, reply.scope)
    assert.equal(payload.exp - payload.iat, 60)
  })

  test(`${algorithm} tokens that were tampered with are refused`, async () => {
    const { access_token } = await obtain(ours, { audience })
    for (const forged of tampered(access_token)) {
      await assert.rejects(verify(forged, { audience }), { code: /^ERR_(JWS|JOSE)_/ }, forged)
    }
  })
}

test('another audience is refused', async () => {
  const { access_token } = await obtain(ours, { audience: 'gateway-es' })
  await assert.rejects(verify(access_token, { audience: 'gateway-ed' }), { claim: 'aud' })
})

test('another issuer is refused', async () => {
  const token = await obtain(ours, { audience: 'gateway-es' })
  await assert.rejects(verify(token.access_token, { issuer: stranger.metadata.issuer }), { claim: 'iss' })
  const foreign = await obtain(stranger, { audience: 'gateway-es' })
  await assert.rejects(verify(foreign.access_token), { code: 'ERR_JWKS_NO_MATCHING_KEY' })
})

test('an expired token is refused', async () => {
  const { access_token } = await obtain(ours, { audience: 'gateway-es', ttl: 60 })
  const { exp } = decodeJwt(access_token)
  await verify(access_token, { currentDate: new Date((exp - 1) * 1000) })
  await assert.rejects(verify(access_token, { currentDate: new Date(exp * 1000) }), { code: 'ERR_JWT_EXPIRED' })
})

test('a rotation is followed', async () => {
  const before = await obtain(ours, { audience: 'gateway-es' })
  const keys = createRemoteJWKSet(new URL(ours.metadata.jwks_uri), { cooldownDuration: 0 })
  await verify(before.access_token, {}, keys)
  const known = keys.jwks().keys.map((key) => key.kid)
  console.log('rotate')
  await once(process.stdin, 'data')
  process.stdin.unref()
  const after = await obtain(ours, { audience: 'gateway-es' })
  assert(!known.includes(decodeProtectedHeader(after.access_token).kid))
  await verify(after.access_token, {}, keys)
  await verify(before.access_token, {}, keys)
})

test('a refusal names its reason', async () => {
  const reply = await ask(ours, { audience: 'gateway-es', scope: 'db:all' })
  assert.equal(reply.status, 400)
  assert.equal((await reply.json()).error, 'invalid_scope')
})

// An issuer, of which nothing is known but the address of its metadata and a client's credential.
async function issuer(prefix) {
  const metadata = await (await fetch(process.env[`${prefix}METADATA`])).json()
  const credential = ['CLIENT_ID', 'CLIENT_SECRET'].map((name) => encodeURIComponent(process.env[prefix + name]))
  const authorization = `Basic ${Buffer.from(credential.join(':')).toString('base64')}`
  return { metadata, authorization }
}

async function obtain(issuer, parameters) {
  const reply = await ask(issuer, parameters)
  assert.equal(reply.status, 200)
  return reply.json()
}

function ask({ metadata, authorization }, parameters) {
  const body = new URLSearchParams({ grant_type: 'client_credentials', ...parameters })
  return fetch(metadata.token_endpoint, { method: 'POST', headers: { authorization }, body })
}

async function verify(token, options, keys = createRemoteJWKSet(new URL(ours.metadata.jwks_uri))) {
  const { issuer } = ours.metadata
  return jwtVerify(token, keys, { issuer, audience: 'gateway-es', typ: 'at+jwt', ...options })
}

// The token in each way that somebody may have written into it.
function* tampered(token) {
  const [header, claims, signature] = token.split('.')
  const wider = Buffer.from(claims, 'base64url').toString().replace('"llm:chat"', '"llm:chat db:all"')
  assert(wider.includes('db:all'))
  yield [header, Buffer.from(wider).toString('base64url'), signature].join('.')
  yield [Buffer.from('{"alg":"none","typ":"at+jwt"}').toString('base64url'), claims, ''].join('.')
  yield [header, claims, signature.slice(0, 9) + (signature[9] === 'B' ? 'C' : 'B') + signature.slice(10)].join('.')
}
