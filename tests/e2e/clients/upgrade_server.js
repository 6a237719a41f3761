// Node's own server, for our client: on /shout it switches to "shout", which greets in the packet of the 101 and says in
// capitals what it hears; on any other path it refuses.
//
//     node upgrade_server.js [KEY CERTIFICATE [http2]]     prints its port
//
// In TLS if it is given a key and a certificate; then it may choose HTTP/2, too, in which it switches nothing.
'use strict';

const fs = require('node:fs');
const http = require('node:http');
const http2 = require('node:http2');
const https = require('node:https');

const [key, cert] = process.argv.slice(2, 4).map((file) => fs.readFileSync(file));
const inTls = process.argv[4] === 'http2' ? () => http2.createSecureServer({ key, cert, allowHTTP1: true })
  : () => https.createServer({ key, cert });
const server = key ? inTls() : http.createServer();

server.on('upgrade', (request, socket, head) => {
  const { url, headers: { upgrade } } = request;
  if (url !== '/shout' || upgrade !== 'shout') {
    const body = `no ${upgrade} on ${url}`;
    socket.end(`HTTP/1.1 403 Forbidden\r\nUpgrade: shout\r\nConnection: Upgrade\r\nContent-Length: ${body.length}\r\n\r\n${body}`);
    return;
  }
  socket.write('HTTP/1.1 101 Switching Protocols\r\nUpgrade: Shout\r\nConnection: Upgrade\r\n\r\nhello\n');
  socket.unshift(head);
  socket.on('data', (data) => { socket.write(data.toString().toUpperCase()); });
  socket.on('end', () => { socket.end(); });
});

server.listen(0, '127.0.0.1', () => { console.log(server.address().port); });
