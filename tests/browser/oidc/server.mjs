// The identity provider of the tests: oidc-provider with its own login page, which takes any name.
//   node server.mjs PORT REDIRECT_URI
// In the working folder people.json says who exists: { "ann": { "name": "Ann", "email": "ann@corp.test", "groups": ["team"] } };
// it is read anew at every sign-in. Keys are made at every start: to start it again is to change them.
import { readFileSync } from 'node:fs';
import { generateKeyPairSync } from 'node:crypto';
import { Provider } from 'oidc-provider';

const [port, redirectUri] = process.argv.slice(2);
const issuer = `http://127.0.0.1:${port}`;

const key = (type, options, alg) => ({
  ...generateKeyPairSync(type, options).privateKey.export({ format: 'jwk' }),
  use: 'sig',
  alg,
});
const keys = [key('rsa', { modulusLength: 2048 }, 'RS256'), key('ec', { namedCurve: 'P-256' }, 'ES256')];

const people = () => JSON.parse(readFileSync('people.json', 'utf8'));
const client = {
  redirect_uris: [redirectUri],
  grant_types: ['authorization_code'],
  response_types: ['code'],
};

const provider = new Provider(issuer, {
  clients: [
    { ...client, client_id: 'redress', client_secret: 'p+w:%/ &=secret', id_token_signed_response_alg: 'RS256' },
    {
      ...client,
      client_id: 'redress-post',
      client_secret: 'p+w:%/ &=secret',
      token_endpoint_auth_method: 'client_secret_post',
      id_token_signed_response_alg: 'RS256',
    },
    {
      ...client,
      client_id: 'redress-public',
      token_endpoint_auth_method: 'none',
      id_token_signed_response_alg: 'ES256',
    },
  ],
  jwks: { keys },
  cookies: { keys: ['only for tests'] },
  pkce: { required: () => true },
  features: { devInteractions: { enabled: true } },
  scopes: ['openid', 'email', 'profile', 'groups'],
  claims: { openid: ['sub'], email: ['email'], profile: ['name'], groups: ['groups'] },
  findAccount: (_, id) => {
    const person = people()[id];
    return person && { accountId: id, claims: () => ({ sub: id, ...person }) };
  },
  ttl: { AccessToken: 60, AuthorizationCode: 60, IdToken: 60, Interaction: 600, Session: 600, Grant: 600 },
});

provider.listen(Number(port), '127.0.0.1');
