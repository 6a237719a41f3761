// Node's http2 client, by prior knowledge, switches streams by extended CONNECT: plays one of the scenes below.
//
//     node connect_node.js SCENE URL      prints what it saw, as JSON
'use strict';

const { once } = require('node:events');
const http2 = require('node:http2');

const { NGHTTP2_CANCEL } = http2.constants;

// A stream for a protocol, and what comes on it.
function tunnel(session, path, token, headers = {}) {
  const stream = session.request(
    { ':method': 'CONNECT', ':protocol': token, ':path': path, ...headers }, { endStream: false });
  const seen = { status: 0, headers: {}, text: '', closed: once(stream, 'close').then(() => stream.rstCode) };
  stream.on('response', (answer) => { seen.status = answer[':status']; seen.headers = answer; });
  stream.on('data', (data) => { seen.text += data; stream.emit('progress'); });
  stream.on('error', () => {});
  return [stream, seen];
}

async function until(stream, condition) {
  while (!condition()) await once(stream, 'progress');
}

async function told(seen) {
  const code = await seen.closed;
  return { status: seen.status, headers: seen.headers, text: seen.text, code };
}

const scenes = {
  // Lines of numbers, and the end of the stream in either direction.
  async addone(session) {
    const [stream, seen] = tunnel(session, '/addone', 'addone');
    stream.write('41\n');
    await until(stream, () => seen.text === '42\n');
    stream.write('1\n2\n');
    await until(stream, () => seen.text === '42\n2\n3\n');
    stream.end('99\n');
    return told(seen);
  },

  // Many streams and ordinary requests, all on one connection.
  async many(session) {
    const streams = Array.from({ length: 60 }, () => tunnel(session, '/addone', 'addone'));
    const pages = Array.from({ length: 20 }, () => {
      const stream = session.request({ ':path': '/' });
      stream.resume();
      return once(stream, 'response').then(([headers]) => headers[':status']);
    });
    streams.forEach(([stream], number) => stream.write(`${number}\n`));
    await Promise.all(streams.map(([stream, seen]) => until(stream, () => seen.text.endsWith('\n'))));
    streams.forEach(([stream]) => stream.end());
    const all = await Promise.all(streams.map(([, seen]) => told(seen)));
    return { texts: all.map((each) => each.text), codes: all.map((each) => each.code), pages: await Promise.all(pages) };
  },

  async unknown(session) {
    const [stream, seen] = tunnel(session, '/addone', 'nothing-we-know');
    await once(stream, 'response');
    return told(seen);
  },

  async cancelled(session) {
    const [stream, seen] = tunnel(session, '/addone', 'addone');
    stream.write('41\n');
    await until(stream, () => seen.text === '42\n');
    stream.close(NGHTTP2_CANCEL);
    return told(seen);
  },
};

async function main(scene, url) {
  const session = http2.connect(url);
  if (!session.remoteSettings.enableConnectProtocol) await once(session, 'remoteSettings');
  const enabled = session.remoteSettings.enableConnectProtocol;
  const seen = await scenes[scene](session);
  session.close();
  console.log(JSON.stringify({ enabled, ...seen }));
}

main(...process.argv.slice(2)).catch((error) => {
  console.error(error);
  process.exit(1);
});
