/**
 * The process that level-store.test.ts kills: writes numbered records as fast as it can, and tells which are durable.
 */
import { openLevelStore } from './level-store.js';

const store = await openLevelStore(process.argv[2]!, { ballastBytes: 0, groupBytesMax: 32_768 });
const inFlightMax = 200;
const inFlight: Promise<void>[] = [];
for (let n = 0; ; n++) {
  const key = Buffer.alloc(4);
  key.writeUInt32BE(n);
  inFlight.push(
    store.write([{ type: 'put', key, value: Buffer.alloc(500 + (n % 9000), n) }]).then(() => {
      process.send!(n);
    }),
  );
  if (inFlight.length >= inFlightMax) await inFlight.shift();
}
