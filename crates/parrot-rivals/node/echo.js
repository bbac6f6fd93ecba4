// Node's net module: what is received is written back, and a stream that is full pauses the reading.
const net = require("node:net");

const port = Number(process.argv[2]);
if (!port) {
  console.error("the only argument is a port");
  process.exit(2);
}
net
  .createServer({ noDelay: true }, (socket) => {
    socket.on("error", () => socket.destroy());
    socket.pipe(socket);
  })
  .listen({ port, host: "127.0.0.1", backlog: 4096 });
