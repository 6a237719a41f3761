// Node's http2, in clear: a page. node node_http2.js PORT
'use strict';

const server = require('node:http2').createServer((request, response) => {
  response.writeHead(200, { 'content-type': 'text/plain', 'content-length': 6 });
  response.end('hello\n');
});

server.listen(Number(process.argv[2]), '127.0.0.1', 1024);
