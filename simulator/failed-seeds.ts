/**
 * Seeds that once found a fault in the product, each with what it found. They are replayed in every test run: a
 * change of the product or of the simulator changes their course, so they are no proof, but they were lucky once.
 */
export const failedSeeds: readonly (readonly [seed: number, found: string])[] = [
  [2, 'a wait that was redirected more than 16 times failed with EIO and stayed in the queue'],
  [
    44,
    'locks that a move had brought stayed on disk when the file went on, and came back with its next stay',
  ],
  [
    64,
    'a stage that could not be removed from a failing disk took the content of the file with it at a restart',
  ],
  [
    34,
    'a source that missed the answer to stageOpen asked for ever, when the file had moved on from the target',
  ],
  [597, 'data of a moved file was never removed after one failure of the disk'],
  [177, 'a confirmation of moved locks was not synced: a loss of power brought old locks back'],
  [1405, 'a wait that a failing disk refused after a move was granted later to nobody'],
  [1998, 'an unlock that was carried out but not answered was undone by the reclaim after a restart'],
  [3, 'a file that had just arrived left again before its locks were in the table'],
  [191, 'a request that waited for a file to arrive did not confirm its moved locks'],
  [1796, 'a wait that had moved to a brick which was down was given up, and granted later to nobody'],
  [4575, 'an unlock met the end of its session at a brick from which the file had moved with the lock'],
  [11073, 'a release that was repeated in the background took the locks that its owner had got since'],
  [
    11179,
    'a grant to a wait that had been given up was taken back after the same owner had got the lock again',
  ],
  [14381, 'a wait that a full disk refused after a move was granted later to nobody'],
  [226, 'moved locks of a client that had left were revived by a restart'],
  [2007869, 'the last word of a handover that came twice was carried out twice'],
  [503777, 'a restarted target took no client back while the source of a staged file was out of reach'],
  [20440, 'an open file without a name was deleted by the restart of the brick that it had moved to'],
  [76, 'answers for a client stayed on disk where its brick crashed just after the end of its session'],
  [2000562, 'the end of a session met a store that mends itself, and would have ended the brick'],
  [3001424, 'a wait that a signal restarted while its brick was down lost its place to a younger one'],
  [41263, 'a restarted brick did not know who had a moved file open, and deleted it with its last name'],
  [1001463, 'a file without names that a full disk refused to remove was left until the next restart'],
  [
    4900013,
    'a file that a loss of power had taken stayed in use when it was closed: no change of graphs ended',
  ],
  [5004388, 'a name that a full disk could not take off its inode in the background stayed for good'],
  [5004943, 'both sessions of a change of graphs reclaimed the same locks at a brick that restarted'],
];
