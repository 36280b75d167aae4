import { readdir, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { compareText } from '../lib/compare.ts';
import { CommandError, type Exec } from '../drivers/exec/exec.ts';

/** Where ip-netns(8) keeps names, and per-namespace copies of /etc files. */
const NETNS_DIR = '/run/netns';
export const NETNS_ETC_DIR = '/etc/netns';

/** Names of all namespaces of this machine, sorted. */
export async function listNetns(): Promise<string[]> {
  return (await readdir(NETNS_DIR).catch(() => [])).toSorted(compareText);
}

/** Identity of a namespace (inode of nsfs), as `/proc/PID/ns/net` shows it too; undefined when there is none of that name. */
export async function netnsInode(netns: string): Promise<number | undefined> {
  return (await stat(join(NETNS_DIR, netns)).catch(() => undefined))?.ino;
}

/** Namespace of a process; undefined when it is gone. */
export async function netnsOfProcess(pid: number): Promise<number | undefined> {
  return (await stat(`/proc/${pid}/ns/net`).catch(() => undefined))?.ino;
}

/** Deletes namespaces and their /etc files, in this order; those that are gone already do no harm. */
export async function deleteNetns(exec: Exec, names: readonly string[]): Promise<void> {
  const existing = new Set(await listNetns());
  const lines = names.filter((name) => existing.has(name)).map((name) => `netns del ${name}\n`);
  if (lines.length > 0) {
    await exec(['ip', '-force', '-batch', '-'], { stdin: lines.join('') }).catch((error: unknown) => {
      if (!(error instanceof CommandError && onlyMissing(error.stderr))) throw error;
    });
  }
  await Promise.all(names.map((name) => rm(join(NETNS_ETC_DIR, name), { recursive: true, force: true })));
}

function onlyMissing(stderr: string): boolean {
  const complaints = stderr.split('\n').filter((line) => line !== '' && !line.startsWith('Command failed'));
  return complaints.every((line) => line.includes('No such file or directory'));
}
