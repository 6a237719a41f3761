// Node's http2 client, by prior knowledge: plays one of the scenes below.
//
//     node h2c_node.js SCENE URL      prints what it saw, as JSON
'use strict';

const { createHash } = require('node:crypto');
const { once } = require('node:events');
const http2 = require('node:http2');
const { pipeline } = require('node:stream/promises');

const { NGHTTP2_CANCEL } = http2.constants;
const PIECE = Buffer.alloc(65536, 'piece');

// What comes on a stream, until its end.
async function answer(stream) {
  const [headers] = await once(stream, 'response');
  const hash = createHash('sha256');
  const parts = [];
  let length = 0;
  for await (const part of stream) {
    hash.update(part);
    length += part.length;
    if (length <= PIECE.length) parts.push(part);
  }
  const text = Buffer.concat(parts).toString();
  return { status: headers[':status'], headers, length, digest: hash.digest('hex'), text, code: stream.rstCode };
}

const get = (session, path) => answer(session.request({ ':path': path }));
const echo = async (session, path = '/echo') => JSON.parse((await get(session, path)).text);

// A body, piece by piece.
function* pieces(number) {
  for (let i = 0; i < number; i += 1) yield PIECE;
}

const scenes = {
  async requests(session) {
    const got = await get(session, '/echo/get');
    const head = await answer(session.request({ ':path': '/echo/head', ':method': 'HEAD' }));
    const lost = await get(session, '/nowhere');
    const post = session.request({ ':path': '/echo/post', ':method': 'POST', cookie: 'a=1; b=2' });
    post.write('one, ');
    post.end('two');
    return { got, head, lost, post: await answer(post) };
  },

  // An answer that comes while the body is still going up; the session goes on.
  async early(session) {
    const post = session.request({ ':path': '/echo', ':method': 'POST' });
    const body = pipeline(pieces(256), post, { end: true }).catch(() => {});
    const refused = await answer(post);
    await body;
    return { refused, next: await echo(session) };
  },

  async trailers(session) {
    const post = session.request({ ':path': '/echo', ':method': 'POST' }, { waitForTrailers: true });
    post.on('wantTrailers', () => post.sendTrailers({ 'x-checksum': 'abc' }));
    post.end('with trailers');
    return { post: await answer(post), next: await echo(session) };
  },

  // A body goes up piece by piece and comes back; twisted.web takes it whole before it answers.
  async mirror(session) {
    const bodies = [32, 48, 64].map(async (number) => {
      const post = session.request({ ':path': '/mirror', ':method': 'POST' });
      const [seen] = await Promise.all([answer(post), pipeline(pieces(number), post, { end: true })]);
      return seen;
    });
    return Promise.all(bodies);
  },

  // A hundred streams that are answered only when all are there, and then more than the server allows at once.
  async together(session) {
    await once(session, 'remoteSettings');
    const times = (number, path) => Promise.all(Array.from({ length: number }, () => get(session, path)));
    const hundred = await times(100, '/together/node?count=100');
    const more = await times(250, '/echo');
    return { hundred: hundred.map(({ text }) => text), more: more.map(({ status }) => status) };
  },

  async cancel(session) {
    const cut = ['/never/node', '/stream/node?pieces=1000000', '/stream/fast?seconds=0&pieces=1000000'];
    const streams = cut.map((path) => session.request({ ':path': path }));
    const patient = get(session, '/together/patient?count=2');
    await Promise.all(streams.slice(1).map((stream) => once(stream, 'data')));
    const ended = streams.map(async (stream) => {
      stream.close(NGHTTP2_CANCEL);
      await once(stream, 'close');
      return stream.rstCode;
    });
    const codes = await Promise.all(ended);
    return { codes, next: await get(session, '/together/patient?count=2'), patient: await patient };
  },

  // Its own GOAWAY, while answers are awaited that only a second connection can bring about.
  async close(session, url) {
    const waiting = [1, 2, 3].map(() => get(session, '/together/close?count=4'));
    await echo(session); // so the others have arrived
    const closed = once(session, 'close');
    session.close();
    const other = http2.connect(url);
    const last = await get(other, '/together/close?count=4');
    other.close();
    const seen = await Promise.all(waiting);
    await closed;
    return [last, ...seen].map(({ text, code }) => [text, code]);
  },

  async control(session) {
    let pushes = 0;
    session.on('stream', () => { pushes += 1; });
    const [settings] = await once(session, 'remoteSettings');
    const pong = await new Promise((resolve, reject) => {
      session.ping(Buffer.from('are you?'), (error, _, payload) => (error ? reject(error) : resolve(String(payload))));
    });
    await new Promise((resolve, reject) => {
      session.settings({ initialWindowSize: 1000, enablePush: false }, (error) => (error ? reject(error) : resolve()));
    });
    const big = await get(session, '/files/big.txt');
    return { settings, pong, big, pushes };
  },

  // Two answers are not read for as long as others come and go.
  async slow(session) {
    const paths = ['/files/big.txt', '/stream/slow?pieces=5000&size=1000&seconds=0'];
    const slow = paths.map((path) => session.request({ ':path': path }));
    const counts = slow.map(() => 0);
    const hashes = slow.map(() => createHash('sha256'));
    slow.forEach((stream, i) => stream.on('data', (part) => {
      counts[i] += part.length;
      hashes[i].update(part);
    }));
    await Promise.all(slow.map(async (stream) => {
      await once(stream, 'data');
      stream.pause();
    }));
    const others = [];
    for (let i = 0; i < 10; i += 1) others.push((await get(session, '/files/big.txt')).length);
    const held = [...counts];
    const written = (await get(session, '/written/slow')).text;
    const ended = slow.map((stream) => once(stream, 'end'));
    slow.forEach((stream) => stream.resume());
    await Promise.all(ended);
    return { others, held, written, counts, digests: hashes.map((hash) => hash.digest('hex')) };
  },

  // An answer that goes on until the server is told to end.
  async farewell(session) {
    const order = [];
    const stream = session.request({ ':path': '/stream/node' });
    session.on('goaway', (code, last) => {
      order.push(['goaway', code, last]);
    });
    const closed = once(session, 'close');
    const seen = await answer(stream);
    order.push(['end', stream.rstCode]);
    await closed;
    return { order, text: seen.text };
  },
};

async function main(scene, url) {
  const session = http2.connect(url);
  const seen = await scenes[scene](session, url);
  if (!session.closed) session.close();
  return seen;
}

main(...process.argv.slice(2)).then((seen) => console.log(JSON.stringify(seen)));
