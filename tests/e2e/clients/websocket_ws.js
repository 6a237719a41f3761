// ws, Node's usual WebSocket library: does what `websocket_steps.py` describes.
//
//     node websocket_ws.js TASK.json      prints what came, as JSON
'use strict';

const { createHash } = require('node:crypto');
const { once } = require('node:events');
const { readFileSync } = require('node:fs');
const WebSocket = require('ws');

const shown = (data, isBinary) => (
  isBinary ? [data.length, createHash('sha256').update(data).digest('hex')] : data.toString());

class Client {
  constructor({ url, subprotocols, origin, headers, deflate, ca }) {
    this.messages = []; // and null at the end
    this.arrived = () => {};
    this.socket = new WebSocket(url, subprotocols, {
      headers,
      ...(origin !== null && { origin }),
      ...(ca !== null && { ca: readFileSync(ca) }),
      perMessageDeflate: deflate && { threshold: 0 },
    });
    this.socket.on('upgrade', (response) => { this.connection = response.socket; });
    this.socket.on('message', (data, isBinary) => this.put(shown(data, isBinary)));
    this.closed = once(this.socket, 'close').then(([code, reason]) => {
      this.put(null);
      return [code, reason.toString()];
    });
  }

  // 101, or what the server answered instead.
  opened() {
    return new Promise((resolve, reject) => {
      this.socket.on('open', () => resolve(101));
      this.socket.on('unexpected-response', (request, { statusCode }) => {
        request.destroy();
        resolve(statusCode);
      });
      this.socket.on('error', reject);
    });
  }

  put(message) {
    this.messages.push(message);
    this.arrived();
  }

  async receive() {
    while (this.messages.length === 0) await new Promise((resolve) => { this.arrived = resolve; });
    return this.messages.shift();
  }
}

async function main(file) {
  const task = JSON.parse(readFileSync(file));
  const client = new Client(task);
  const { socket } = client;
  const status = await client.opened();
  if (status !== 101) return { status };
  const messages = [];
  const pongs = [];
  const steps = {
    text: (text) => socket.send(text),
    binary: (data) => socket.send(Buffer.from(data, 'base64')),
    fragments: (...parts) => parts.forEach((part, i) => socket.send(part, { fin: i === parts.length - 1 })),
    ping: async (payload) => {
      socket.ping(payload);
      pongs.push((await once(socket, 'pong'))[0].toString());
    },
    receive: async () => messages.push(await client.receive()),
    ready: () => console.log('ready'),
    close: (code, reason) => {
      socket.close(code, reason);
      return client.closed;
    },
    end: async () => {
      for (let message; (message = await client.receive()) !== null;) messages.push(message);
    },
  };
  for (const [name, ...parameters] of task.steps) await steps[name](...parameters);
  const closed = await client.closed;
  return {
    status,
    subprotocol: socket.protocol || null,
    deflate: socket.extensions === 'permessage-deflate',
    messages,
    pongs,
    closed,
    wire_bytes: client.connection.bytesRead,
  };
}

main(process.argv[2]).then((seen) => console.log(JSON.stringify(seen)));
