// MQTT.js as a device, for tests. argv[2] is a folder that holds node_modules. Each line that comes is JSON:
// {"do": "connect", "options": {…}} | {"do": "subscribe", "filter": …} | {"do": "publish", "topic", "payload", "qos"}
// | {"do": "leave"} | {"do": "vanish"}. Each line that goes is JSON: {"did": …} after each deed, and {"topic", "payload"}
// for each message.
import { createRequire } from 'node:module';
import { createInterface } from 'node:readline';
import { pathToFileURL } from 'node:url';

const { default: mqtt } = await import(pathToFileURL(createRequire(`${process.argv[2]}/`).resolve('mqtt')));
const say = (facts) => process.stdout.write(`${JSON.stringify(facts)}\n`);
let client;

function connect({ options }) {
  client = mqtt.connect({ ...options, reconnectPeriod: 0 });
  client.on('message', (topic, payload) => say({ topic, payload: payload.toString() }));
  client.on('error', (error) => say({ did: 'error', why: String(error) }));
  return new Promise((done) => client.once('connect', ({ sessionPresent }) => done({ present: sessionPresent })));
}

const deeds = {
  connect,
  subscribe: async ({ filter }) => ({ granted: (await client.subscribeAsync(filter, { qos: 1 })).map(({ qos }) => qos) }),
  publish: async ({ topic, payload, qos }) => void (await client.publishAsync(topic, payload, { qos })),
  leave: async () => void (await client.endAsync()),
  vanish: async () => void client.stream.destroy(),
};

for await (const line of createInterface({ input: process.stdin })) {
  const asked = JSON.parse(line);
  say({ did: asked.do, ...(await deeds[asked.do](asked)) });
}
