/**
 * `npm run benchmark`: makes the clone ready, installs what the floor is compiled with where that is missing and may
 * be installed, then runs benchmark/benchmark.ts in this same process, so that Ctrl-C reaches it.
 */
import { compile, installForBenchmark, orExplain, prepare } from './setup.mjs';

orExplain(() => {
  prepare();
  installForBenchmark();
  compile();
});
const { main } = await import('../dist/benchmark/benchmark.js');
process.exitCode = await main(process.argv.slice(2));
