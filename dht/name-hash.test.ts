/** The vectors come from the original C function, compiled on x86-64. */
import t from 'tap';
import { byteTextFromUtf8 } from '../wire/ids.js';
import { hashBytes, hashName } from './name-hash.js';

const vectors: readonly (readonly [string, number])[] = [
  ['', 0x884774a2],
  ['a', 0x3a17e4e6],
  ['abc', 0xba8bd29a],
  ['file1', 0xa787fa82],
  ['passwd', 0x05361555],
  ['0123456789abcdef', 0x6ecb5ada],
  ['0123456789abcdefX', 0x09811a68],
  ['a name with spaces.txt', 0xd691591c],
  ['é', 0x65cfcaa1],
  ['ab€', 0x766c59d4],
];

t.test('a name hashes as GlusterFS hashes it', async (t) => {
  for (const [name, hash] of vectors) t.equal(hashBytes(byteTextFromUtf8(name)), hash, JSON.stringify(name));
});

t.test('the temporary name of rsync hashes as the name it becomes', async (t) => {
  t.equal(hashName(byteTextFromUtf8('.passwd.a8Xq2Z')), 0x05361555);
  t.equal(hashName(byteTextFromUtf8('.a name with spaces.txt.a8Xq2Z')), 0xd691591c, 'the last dot counts');
  t.equal(hashName(byteTextFromUtf8('.a\nb.x')), hashBytes('a\nb'), 'a line feed is a byte like others');
});

t.test('a hidden name, and one that only looks like a temporary name, hash as they are', async (t) => {
  for (const name of ['.bashrc', '..x', '.x.', 'passwd.tmp', '.', '.a..'])
    t.equal(hashName(byteTextFromUtf8(name)), hashBytes(name), name);
});
