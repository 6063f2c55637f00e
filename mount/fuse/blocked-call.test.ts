/** The lines that Linux writes for threads in fcntl(2), elsewhere, and nowhere. */
import t from 'tap';
import { blockedCall } from './blocked-call.js';

t.test('the kind of lock that a thread waits for', async (t) => {
  const ending = '0x7ffc8011d1c0 0x0 0x0 0x0 0x7ffc8011d1a8 0x7f08ca7db503\n';
  t.equal(blockedCall(`72 0x3 0x7 ${ending}`), 'process');
  t.equal(blockedCall(`221 0x3 0xe ${ending}`), 'process', 'a 32-bit program');
  t.equal(blockedCall(`72 0x3 0x26 ${ending}`), 'open file');
  t.equal(blockedCall(`73 0x3 0x2 ${ending}`), 'unknown', 'flock');
  t.equal(blockedCall('running\n'), 'unknown');
  t.equal(blockedCall('-1 0x7ffc8011d1a8 0x7f08ca7db503\n'), 'unknown', 'blocked, but in no system call');
  t.equal(blockedCall(''), 'unknown');
});
