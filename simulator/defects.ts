/**
 * Planted defects, one for each invariant: what a bug of that kind would do, done to frames and disks on their way.
 * The product is not touched and knows nothing of them. They show that the checks can fail (defects.test.ts).
 */
import { redirectKey } from '../brick-store/records/keys.js';
import type { FileId } from '../wire/ids.js';
import { messages } from '../wire/messages.js';
import type { CheckName } from './checks/violation.js';
import type { FrameFilter } from './lossy-network.js';
import type { SimulatedCluster } from './simulated-cluster.js';
import { changeAnswers, changeRequests, headOf, inTurn } from './wire-tap.js';

export type Defect = (cluster: SimulatedCluster) => void;

const onWire =
  (make: (cluster: SimulatedCluster) => FrameFilter): Defect =>
  (cluster) => {
    const { network } = cluster;
    network.filter = inTurn(network.filter, make(cluster));
  };

/** Every so often, the same in every run. */
const everyNth = (n: number): (() => boolean) => {
  let count = 0;
  return () => ++count % n === 0;
};

export interface PlantedDefect {
  readonly finds: CheckName;
  readonly what: string;
  readonly plant: Defect;
}

export const plantedDefects: readonly PlantedDefect[] = [
  {
    finds: 'exclusion',
    what: 'a brick locks other bytes than it was asked for',
    plant: onWire(() =>
      changeRequests('lock', (body) =>
        body.start === 0n ? body : { ...body, start: body.start + 50_000n, end: body.end + 50_000n },
      ),
    ),
  },
  {
    finds: 'no lock lost',
    what: 'half of the locks that move do not arrive',
    plant: onWire(() => {
      const now = everyNth(2);
      return changeRequests('stageLocks', (body) => (now() ? { ...body, held: [] } : body));
    }),
  },
  {
    finds: 'no ghost lock',
    what: 'a close frees the locks of somebody else',
    plant: onWire(() =>
      changeRequests('flushOwner', (body) => ({ ...body, owner: 'f'.repeat(16) as never })),
    ),
  },
  {
    finds: 'ticket order',
    what: 'waiters move in the wrong order',
    plant: onWire(() => {
      const now = everyNth(2);
      return changeRequests('lock', (body) =>
        body.ticket !== undefined && now() ? { ...body, ticket: (body.ticket + 100_000) as never } : body,
      );
    }),
  },
  {
    finds: 'no waiter forgotten',
    what: 'every eighth answer to a lock request is forgotten',
    plant: onWire(() => {
      const now = everyNth(8);
      return changeAnswers('lock', (answer) => (now() ? undefined : answer));
    }),
  },
  {
    finds: 'content',
    what: 'the copy of a chunk is empty',
    plant: onWire(() => {
      const now = everyNth(3);
      return changeRequests('stageContent', (body) =>
        now() ? { ...body, chunks: body.chunks.map(({ index }) => ({ index, data: undefined })) } : body,
      );
    }),
  },
  {
    finds: 'one home',
    what: 'REPLAY records do not reach the disk',
    plant: (cluster) => {
      const isRedirect = (key: Uint8Array): boolean => key[0] === redirectKey('0'.repeat(32) as FileId)[0];
      for (const { disk } of cluster.bricks.values())
        disk.filter = (ops) => ops.filter((op) => op.type === 'del' || !isRedirect(op.key));
    },
  },
  {
    finds: 'everything settles',
    what: 'a source is never told that its target opened',
    plant: onWire(() => {
      const now = everyNth(2);
      const asked = new Set<string>();
      return (from, to, frame) => {
        const head = headOf(frame);
        if (head.kind === 'request' && head.number === messages.stageOpen.op && now())
          asked.add(`${from.name} ${to.name} ${head.seq}`);
        return head.kind === 'answer' && asked.has(`${to.name} ${from.name} ${head.seq}`) ? undefined : frame;
      };
    }),
  },
];
