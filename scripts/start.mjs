/**
 * `npm start`: makes the clone ready, then runs the story (bin/demo.ts) in this same process, so that Ctrl-C and
 * SIGTERM reach it and not a shell between.
 */
import { compile, orExplain, prepare } from './setup.mjs';

orExplain(() => {
  prepare();
  compile();
});
await import('../dist/bin/demo.js');
