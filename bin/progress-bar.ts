/**
 * Shows the copy of a migration: a bar on a terminal, plain lines elsewhere. Only shows; migrate-command.ts and the
 * story feed it what the source brick reports.
 */
import { Presets, SingleBar } from 'cli-progress';
import type { MigrationReport } from '../wire/messages.js';
import { formatBytes } from './table.js';

export interface CopyProgress {
  update(report: MigrationReport): void;
  /** Takes the bar away, so that the next line stands alone. */
  stop(): void;
}

const barProgress = (indent: string): CopyProgress => {
  const bar = new SingleBar(
    {
      format: `${indent}{bar} {percentage}%  {copied} of {size}  {phase}`,
      barsize: 30,
      hideCursor: true,
      clearOnComplete: true,
      linewrap: false,
      fps: 30,
      stream: process.stdout,
    },
    Presets.shades_classic,
  );
  let isStarted = false;
  return {
    update: (report) => {
      const payload = {
        copied: formatBytes(Math.min(report.bytesCopied, report.bytesTotal)),
        size: formatBytes(report.bytesTotal),
        phase: report.phase,
      };
      // More can be copied than the file has: what is written during the copy goes again.
      const total = Math.max(report.bytesTotal, 1);
      const done = Math.min(report.bytesCopied, total);
      if (isStarted) bar.update(done, payload);
      else bar.start(total, done, payload);
      isStarted = true;
    },
    stop: () => bar.stop(),
  };
};

const lineProgress = (indent: string): CopyProgress => {
  let last = '';
  return {
    update: (report) => {
      const quarter = Math.floor((4 * report.bytesCopied) / Math.max(report.bytesTotal, 1));
      const key = `${report.phase} ${Math.min(quarter, 4)}`;
      if (key === last) return;
      last = key;
      const copied = `${formatBytes(Math.min(report.bytesCopied, report.bytesTotal))} of ${formatBytes(report.bytesTotal)}`;
      console.log(`${indent}${report.phase}: ${copied} copied`);
    },
    stop: () => undefined,
  };
};

export const openCopyProgress = (indent = ''): CopyProgress =>
  process.stdout.isTTY ? barProgress(indent) : lineProgress(indent);
