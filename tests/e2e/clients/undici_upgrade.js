// undici, the HTTP client behind Node's fetch: switches by its `upgrade`.
//
//     node undici_upgrade.js URL TOKEN BYTES      prints what came, as JSON
'use strict';

const { upgrade } = require('undici');

async function main(url, token, bytes) {
  const { headers, socket } = await upgrade(url, { protocol: token });
  let rest = '';
  socket.setEncoding('utf8');
  socket.end(bytes);
  for await (const data of socket) rest += data;
  console.log(JSON.stringify({ upgrade: headers.upgrade, rest }));
}

main(...process.argv.slice(2));
