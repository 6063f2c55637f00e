/** Real sockets: bytes through unix sockets and TCP, stale and taken addresses, and what a bad peer can do: nothing. */

import { fork } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { createConnection, createServer } from 'node:net';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { systemClock } from '../host/clock.js';
import { systemRandom } from '../host/random.js';
import { silentTrace, type Trace } from '../host/trace.js';
import type { BrickName, ClientId, FileId } from './ids.js';
import { frameBytesMax, transferBytesMax } from './limits.js';
import { BrickLink } from './link.js';
import type { Address, Connection } from './network.js';
import { Responder } from './responder.js';
import { SocketNetwork } from './socket-network.js';

/** As bricks and mounts use it, and as it is where the native part is not built. */
const networks = { native: new SocketNetwork(), 'node:net': new SocketNetwork(false) };
const ways = ['native', 'node:net'] as const;
let network = networks.native;
const file = 'f'.repeat(32) as FileId;

/** What a connection received, and its end. */
function record(connection: Connection): { bytes: () => Buffer; closed: Promise<string> } {
  const pieces: Uint8Array[] = [];
  connection.onData = (bytes) => void pieces.push(bytes);
  const closed = new Promise<string>((resolve) => {
    connection.onClose = resolve;
  });
  return { bytes: () => Buffer.concat(pieces), closed };
}

async function listen(t: Test, address: Address, onConnection: (connection: Connection) => void) {
  const accepted: Connection[] = [];
  const listener = await network.listen(address, (connection) => {
    accepted.push(connection);
    onConnection(connection);
  });
  t.teardown(async () => {
    await listener.close();
    for (const connection of accepted) connection.close('the test is over');
  });
  return listener;
}

async function connect(t: Test, address: Address): Promise<Connection> {
  const connection = await network.connect(address);
  t.teardown(() => connection.close('the test is over'));
  return connection;
}

const addresses = (t: Test): Record<string, Address> => {
  const folder = t.testdir({});
  const deep = join(folder, 'a-folder-with-a-long-name'.repeat(4), 'another-one-below-it'.repeat(4));
  mkdirSync(deep, { recursive: true });
  return {
    unix: `unix:${join('/tmp', `lockferry-test-${process.pid}.sock`)}`,
    'unix with a path longer than sun_path': `unix:${join(deep, 'socket')}`,
    tcp: 'tcp:127.0.0.1:0',
    'tcp by name': 'tcp:localhost:0',
  };
};

const everyWay = (kinds: readonly string[]) => ways.flatMap((way) => kinds.map((kind) => ({ way, kind })));

for (const { way, kind } of everyWay([
  'unix',
  'unix with a path longer than sun_path',
  'tcp',
  'tcp by name',
])) {
  t.test(`${way}, ${kind}: bytes arrive in order at both ends, and both learn of the end`, async (t) => {
    network = networks[way];
    const data = Buffer.alloc(3 * transferBytesMax, 'one and two and three ');
    let server: ReturnType<typeof record> | undefined;
    const { address } = await listen(t, addresses(t)[kind]!, (connection) => {
      server = record(connection);
      connection.send(Buffer.from('welcome '));
      connection.send(Buffer.from('to '));
      connection.send(Buffer.from('the brick'));
    });
    if (kind.startsWith('tcp')) t.match(address, /^tcp:.*:[1-9]\d*$/, 'the real port is reported');
    const connection = await connect(t, address);
    t.equal(connection.peer, address);
    const client = record(connection);
    for (let at = 0; at < data.byteLength; at += 100_000) connection.send(data.subarray(at, at + 100_000));
    t.ok(connection.queuedBytes > 0);
    while (!server || server.bytes().byteLength < data.byteLength || client.bytes().byteLength < 20) {
      await new Promise((resolve) => setImmediate(resolve));
    }
    t.equal(client.bytes().toString(), 'welcome to the brick');
    t.ok(server.bytes().equals(data));
    t.equal(connection.queuedBytes, 0);
    connection.send(Buffer.from('bye'));
    connection.close('enough');
    connection.send(Buffer.from('not any more'));
    t.equal(await client.closed, 'enough');
    await server.closed;
    t.equal(server.bytes().subarray(-3).toString(), 'bye', 'what was sent before the close arrives');
  });
}

t.test('closing a listener frees the address at once, and connections go on', async (t) => {
  for (const address of Object.values(addresses(t))) {
    let server: Connection | undefined;
    const listener = await network.listen(address, (connection) => {
      server = connection;
    });
    const connection = await connect(t, listener.address);
    const client = record(connection);
    while (!server) await new Promise((resolve) => setImmediate(resolve));
    await listener.close();
    if (address.startsWith('unix:')) t.notOk(existsSync(address.slice(5)), 'its file is gone');
    const again = await network.listen(listener.address, () => undefined);
    server.send(Buffer.from('still here'));
    while (client.bytes().byteLength < 10) await new Promise((resolve) => setImmediate(resolve));
    server.close('over');
    await client.closed;
    await again.close();
  }
});

t.test('a socket file left by a killed process is replaced', async (t) => {
  const path = join('/tmp', `lockferry-stale-${process.pid}.sock`);
  const program = `require('net').createServer().listen(${JSON.stringify(path)}, () => process.send('up'))`;
  const script = join(t.testdir({ 'serve.cjs': program }), 'serve.cjs');
  const child = fork(script, { execArgv: [] });
  t.teardown(() => child.kill('SIGKILL'));
  await once(child, 'message');
  await t.rejects(
    network.listen(`unix:${path}`, () => undefined),
    new RegExp(`cannot listen on unix:${path}: another process serves it already`),
  );
  child.kill('SIGKILL');
  await once(child, 'exit');
  t.ok(existsSync(path));
  await listen(t, `unix:${path}`, () => undefined);
  await connect(t, `unix:${path}`);
});

t.test('errors name the address and the cause', async (t) => {
  const folder = t.testdir({});
  const path = join('/tmp', `lockferry-file-${process.pid}`);
  writeFileSync(path, 'precious');
  t.teardown(() => rmSync(path, { force: true }));
  const none = () => undefined;
  await t.rejects(network.listen(`unix:${path}`, none), /lockferry-file-.*not a socket/);
  t.ok(existsSync(path), 'a file that is no socket is left alone');
  await t.rejects(
    network.connect('unix:/tmp/no-such-lockferry.sock'),
    /cannot connect to unix:\/tmp\/no-such/,
  );
  await t.rejects(network.listen(`unix:${folder}/missing/socket`, none), /cannot listen on unix:/);
  for (const wrong of ['unix:relative', 'tcp:localhost', 'tcp:localhost:99999', 'http://x', '']) {
    await t.rejects(network.connect(wrong), /is not an address: expected unix:\/path or tcp:host:port/);
  }
  const server = createServer();
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve);
  });
  t.teardown(() => server.close());
  const { port } = server.address() as { port: number };
  await t.rejects(
    network.listen(`tcp:127.0.0.1:${port}`, none),
    new RegExp(`cannot listen on tcp:127.0.0.1:${port}`),
  );
});

/** A brick that answers reads with content and everything else with nothing. */
async function smallBrick(t: Test, address: Address) {
  const warnings: string[] = [];
  const trace: Trace = {
    ...silentTrace,
    warn: (event, fields) => void warnings.push(`${event}: ${fields?.reason}`),
  };
  const listener = await listen(t, address, (connection) => {
    new Responder(connection, trace, {
      onRequest: (responder, { seq, op, body }) => {
        if (op === 'hello') responder.answer(seq, op, { session: 'new', graceMs: 10_000 });
        else if (op === 'read') {
          responder.answer(seq, op, { data: Buffer.alloc(body.length, body.offset % 256), change: 1 });
        } else responder.answer(seq, op, {} as never);
      },
      onClose: () => undefined,
    });
  });
  return { address: listener.address, warnings };
}

function linkTo(t: Test, address: Address): BrickLink {
  const link = new BrickLink({
    network,
    address,
    clock: systemClock,
    random: systemRandom,
    trace: silentTrace,
    hello: {
      volume: 'v',
      brick: 'brick-1' as BrickName,
      secret: 's',
      client: 'c'.repeat(32) as ClientId,
      role: 'mount',
      title: 'test',
      host: 'here',
      pid: 1,
    },
    giveUpMs: 10_000,
  });
  t.teardown(() => link.abandon());
  return link;
}

for (const { way, kind } of everyWay(['unix', 'tcp'])) {
  t.test(
    `${way}, ${kind}: a malformed or oversized message ends its own connection and no other`,
    async (t) => {
      network = networks[way];
      const { address, warnings } = await smallBrick(t, addresses(t)[kind]!);
      const link = linkTo(t, address);
      await link.start();
      const tooLong = Buffer.alloc(4);
      tooLong.writeUInt32LE(frameBytesMax + 1);
      const bad: [string, Buffer, RegExp][] = [
        ['a frame of no length', Buffer.alloc(8), /a frame of 0 bytes/],
        ['a frame over the limit', tooLong, /a frame of \d+ bytes; it must be/],
        ['another protocol', Buffer.from('GET / HTTP/1.1\r\n\r\n'), /a frame of \d+ bytes/],
        ['no msgpack', Buffer.from([2, 0, 0, 0, 0xc1, 0xc1]), /not msgpack/],
        ['no envelope', Buffer.from([1, 0, 0, 0, 5]), /expected an envelope/],
        [
          'an unknown message',
          Buffer.from([7, 0, 0, 0, 0x95, 0, 1, 1, 0x7f, 0x90, 0xc0]),
          /not msgpack|no message/,
        ],
      ];
      for (const [what, bytes, reason] of bad) {
        const held = link.call('read', { file, offset: 7, length: transferBytesMax });
        const path = address.slice(5);
        const raw =
          kind === 'unix' ? createConnection({ path }) : createConnection(Number(address.split(':')[2]));
        t.teardown(() => raw.destroy());
        const closed = once(raw, 'close');
        raw.on('error', () => undefined).resume();
        raw.write(bytes);
        await closed;
        t.match(warnings.at(-1), reason, what);
        const { data } = await held;
        t.ok(data.byteLength === transferBytesMax && data.every((byte) => byte === 7), 'the other is served');
      }
      t.equal(warnings.length, bad.length);
      t.equal(link.state, 'up');
      await link.close();
    },
  );
}

for (const way of ways)
  t.test(`${way}: many calls at once, small and large, over one socket`, async (t) => {
    network = networks[way];
    const { address } = await smallBrick(t, addresses(t).unix!);
    const link = linkTo(t, address);
    await link.start();
    const calls = Array.from({ length: 400 }, (_, at) => {
      const length = at % 10 === 0 ? 300_000 : at;
      return link.call('read', { file, offset: at, length }).then(({ data }) => {
        if (data.byteLength !== length || data.some((byte) => byte !== at % 256))
          t.fail(`read ${at} is wrong`);
      });
    });
    await Promise.all(calls);
    await link.close();
    t.equal(link.state, 'closed');
  });
