// node oidc-provider with its in-memory store: client credentials, introspection, key set.
// FORMAT=jwt issues ES256 JWTs (RFC 9068); opaque issues tokens that it can introspect.
import { generateKeyPairSync } from 'node:crypto'
import { Provider } from 'oidc-provider'

const { PORT, CLIENT, SECRET, FORMAT } = process.env
const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
const key = { ...privateKey.export({ format: 'jwk' }), use: 'sig', alg: 'ES256', kid: 'bench' }
const resource = {
  scope: 'introspect',
  accessTokenFormat: FORMAT,
  ...(FORMAT === 'jwt' ? { jwt: { sign: { alg: 'ES256' } } } : {})
}
const provider = new Provider(`http://127.0.0.1:${PORT}`, {
  jwks: { keys: [key] },
  clients: [{
    client_id: CLIENT,
    client_secret: SECRET,
    id_token_signed_response_alg: 'ES256',
    grant_types: ['client_credentials'],
    redirect_uris: [],
    response_types: []
  }],
  scopes: ['introspect'],
  ttl: { ClientCredentials: 3600 },
  features: {
    devInteractions: { enabled: false },
    clientCredentials: { enabled: true },
    introspection: { enabled: true },
    resourceIndicators: {
      enabled: true,
      defaultResource: () => 'urn:bench',
      getResourceServerInfo: () => resource,
      useGrantedResource: () => true
    }
  }
})
provider.listen(Number(PORT), '127.0.0.1')
