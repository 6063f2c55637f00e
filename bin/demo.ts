/**
 * `npm start`: the story of a file that moves from brick to brick while processes hold and wait for locks on it.
 * Decides the order: stage, cast, plot, and the clean-up that always comes; the exit code is 0 only if all held.
 */
import { relative } from 'node:path';
import { Command } from 'commander';
import { exitCodes, explain } from './failure.js';
import { untilSignal } from './signals.js';
import { Cast } from './story/cast.js';
import { Narrator } from './story/narrator.js';
import { Plot } from './story/plot.js';
import { Stage } from './story/stage.js';

const interruptedCode = 130;

const tell = new Narrator();
const cast = new Cast();

async function play(stage: Stage): Promise<readonly [string, string]> {
  tell.heading('A volume of three bricks, mounted twice');
  tell.say(`volume in ${stage.folder}`);
  await stage.startBricks();
  tell.say(`bricks run: ${stage.place.volume.bricks.map((brick) => brick.name).join(', ')}`);
  const points = [await stage.mount('mount-a'), await stage.mount('mount-b')] as const;
  for (const point of points) tell.say(`mounted over /dev/fuse: ${point}`);
  await new Plot(stage, cast, tell, points).play();
  return points;
}

function inviteToPlay(stage: Stage, [a, b]: readonly [string, string]): void {
  const here = (path: string): string => `./${relative(process.cwd(), path)}`;
  console.log(`
The volume stays mounted on ${here(a)} and ${here(b)} until Ctrl-C. In other terminals, try:

  npx lockferry hold ${here(a)}/ledger.dat --type write
  npx lockferry hold ${here(b)}/ledger.dat --type write --wait
  npx lockferry locks ${here(stage.folder)}
  npx lockferry migrate ${here(stage.folder)} ledger.dat --to brick-2
  npx lockferry status ${here(stage.folder)}
`);
}

async function run(options: { volume: string; stay: boolean }): Promise<number> {
  const interrupted = untilSignal();
  let stage: Stage | undefined;
  let exitCode: number = exitCodes.failed;
  try {
    stage = await Stage.build(options.volume);
    const points = await Promise.race([play(stage), interrupted]);
    if (typeof points === 'string') exitCode = interruptedCode;
    else {
      console.log(`\n${tell.summary()}`);
      exitCode = tell.isUnbroken ? exitCodes.ok : exitCodes.failed;
      if (options.stay) {
        inviteToPlay(stage, points);
        await interrupted;
      }
    }
  } catch (error) {
    const { exitCode: code, line } = explain(error);
    console.error(`\nlockferry: ${line}`);
    if (process.env.LOCKFERRY_DEBUG) console.error(error);
    exitCode = code;
  }
  return (await clear(stage)) ? exitCode : exitCode || exitCodes.failed;
}

async function clear(stage: Stage | undefined): Promise<boolean> {
  try {
    await cast.leave();
    if (!stage) return true;
    await stage.clear();
    tell.say('unmounted, bricks stopped, folder removed: nothing is left behind');
    return true;
  } catch (error) {
    console.error(`lockferry: the clean-up failed: ${explain(error).line}`);
    return false;
  }
}

const program = new Command('npm start --')
  .description('Moves a file with its locks from brick to brick while real processes hold and wait for them.')
  .option('--volume <dir>', 'where the volume is made; it is removed at the end', './volume')
  .option('--stay', 'keep the volume mounted after the story, until Ctrl-C', false)
  .parse();

process.exitCode = await run(program.opts());
// An interrupted story has promises that nobody waits for any more.
if (process.exitCode === interruptedCode) process.exit();
