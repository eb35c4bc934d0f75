// A certified OpenID provider for tests, on loopback. argv[2] is a folder that holds node_modules; argv[3] is JSON:
// {clients, users: {name: claims}, callback}. It says {"issuer": …} on a line, and rotates its key at POST /rotate.
// A login needs no page: whom `login_hint` names is logged in.
import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';

const [folder, settings] = [process.argv[2], JSON.parse(process.argv[3])];
const { default: Provider } = await import(pathToFileURL(createRequire(`${folder}/`).resolve('oidc-provider')));
const cookieKeys = [randomBytes(16).toString('hex')];
const RESOURCE = 'urn:pulse';
const KEPT = 100;
let [keys, provider, issuer] = [[], null, ''];

function newKey() {
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  return { ...privateKey.export({ format: 'jwk' }), kid: randomBytes(8).toString('hex'), use: 'sig', alg: 'RS256' };
}

async function existingGrant(ctx) {
  const { client, session } = ctx.oidc;
  const grant = new ctx.oidc.provider.Grant({ clientId: client.clientId, accountId: session.accountId });
  grant.addOIDCScope('openid email offline_access');
  grant.addResourceScope(RESOURCE, 'use');
  await grant.save();
  return grant;
}

function configuration() {
  return {
    clients: settings.clients,
    cookies: { keys: cookieKeys },
    jwks: { keys },
    claims: { openid: ['sub', 'tenant_id', 'role'], email: ['email'] },
    conformIdTokenClaims: false,
    findAccount: (_ctx, sub) => settings.users[sub] && {
      accountId: sub,
      claims: async () => ({ sub, email: `${sub}@example.com`, ...settings.users[sub] }),
    },
    extraTokenClaims: (_ctx, token) => settings.users[token.accountId ?? token.clientId],
    interactions: { url: (_ctx, interaction) => `/interaction/${interaction.uid}` },
    issueRefreshToken: async () => true,
    loadExistingGrant: existingGrant,
    features: {
      devInteractions: { enabled: false },
      clientCredentials: { enabled: true },
      revocation: { enabled: true },
      rpInitiatedLogout: { enabled: true, logoutSource: (ctx, form) => { ctx.body = form; } },
      resourceIndicators: {
        enabled: true,
        defaultResource: () => RESOURCE,
        useGrantedResource: () => true,
        getResourceServerInfo: () => ({
          scope: 'use', audience: 'pulse', accessTokenFormat: settings.opaque ? 'opaque' : 'jwt',
        }),
      },
    },
    ttl: { AccessToken: 300, ClientCredentials: 300, IdToken: 300, RefreshToken: 3600, Session: 3600, Grant: 3600,
           Interaction: 600, AuthorizationCode: 60 },
  };
}

function rotate() {
  keys = [newKey(), ...keys].slice(0, KEPT);
  provider = new Provider(issuer, configuration());
  return provider;
}

async function answer(request, response) {
  if (request.url === '/rotate') {
    rotate();
    response.end(keys[0].kid);
  } else if (request.url.startsWith('/interaction/')) {
    const { params } = await provider.interactionDetails(request, response);
    await provider.interactionFinished(request, response, { login: { accountId: params.login_hint } });
  } else {
    provider.callback()(request, response);
  }
}

const server = createServer((request, response) => answer(request, response).catch((error) => {
  console.error(error);
  response.writeHead(500).end();
}));
server.listen(0, '127.0.0.1', () => {
  issuer = `http://127.0.0.1:${server.address().port}`;
  rotate();
  console.log(JSON.stringify({ issuer }));
});
