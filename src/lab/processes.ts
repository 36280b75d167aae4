import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, open, readdir, readFile, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { netnsInode, netnsOfProcess } from './netns.ts';
import { formatPidFile, isAlive, lookUpProcess, type ProcessId, readPidFile } from './process-id.ts';
import type { LabProcess } from './programs.ts';

/** Generous: the kernel may be busy tearing down what a killed process held. */
const KILL_DEADLINE_MS = 15_000;

/**
 * Starts a program of the lab in its namespace and its own session, so that it outlives us. Writes its pid file; output goes to its log.
 * The pid is that of the program itself: `ip netns exec` becomes it.
 */
export async function startProcess({ argv, netns, log, pidFile, id }: LabProcess): Promise<ProcessId> {
  if (argv === undefined) throw new Error(`${id} cannot be started from here`);
  await mkdir(dirname(log), { recursive: true });
  const output = await open(log, 'a');
  try {
    const [file, ...args] = netns === undefined ? argv : (['ip', 'netns', 'exec', netns, ...argv] as const);
    const child = spawn(file, args, { detached: true, stdio: ['ignore', output.fd, output.fd], cwd: '/' });
    await once(child, 'spawn');
    child.unref();
    // A program that is gone already has no start time; an impossible one marks it as dead.
    const process_ = (await lookUpProcess(child.pid ?? 0)) ?? { pid: child.pid ?? 0, startTime: '0' };
    await writeFile(pidFile, formatPidFile(process_));
    return process_;
  } finally {
    await output.close();
  }
}

/** The process that a pid file means; undefined when there never was one. `alive` is false also when somebody else has its pid now. */
export async function findProcess(process_: LabProcess): Promise<(ProcessId & { alive: boolean }) | undefined> {
  if (process_.program === 'charon' || process_.program === 'wireguard-go') return findDaemon(process_);
  const id = await readPidFile(process_.pidFile);
  return id && { ...id, alive: await isAlive(id) };
}

/** Of charon and wireguard-go there is only the pid, so the name and namespace (or, when that was deleted under it, its settings) have to prove that it is still the one. */
async function findDaemon({ program, pidFile, netns = '' }: LabProcess): Promise<(ProcessId & { alive: boolean }) | undefined> {
  const pid = Number((await readFile(pidFile, 'utf8').catch(() => '')).trim());
  if (!Number.isInteger(pid) || pid <= 0) return undefined;
  const found = await lookUpProcess(pid);
  const name = await readFile(`/proc/${pid}/comm`, 'utf8').catch(() => '');
  const home = await netnsInode(netns);
  const isHome = home === undefined ? await hasSettingsIn(pid, dirname(pidFile)) : (await netnsOfProcess(pid)) === home;
  return { pid, startTime: found?.startTime ?? '0', alive: found !== undefined && name.startsWith(program) && isHome };
}

async function hasSettingsIn(pid: number, folder: string): Promise<boolean> {
  return (await readFile(`/proc/${pid}/environ`, 'utf8').catch(() => '')).includes(`=${folder}/`);
}

/** All processes in these namespaces, whoever started them. */
export async function processesInNetns(names: readonly string[]): Promise<ProcessId[]> {
  const inodes = new Set((await Promise.all(names.map(netnsInode))).filter((inode) => inode !== undefined));
  if (inodes.size === 0) return [];
  return collect(async (pid) => {
    const inode = await netnsOfProcess(pid);
    return inode !== undefined && inodes.has(inode);
  });
}

/** Processes with this program and this argument on their command line: those of a lab outside its namespaces, should its pid files be lost. */
export async function processesWithArguments(isMeant: (argv: readonly string[]) => boolean): Promise<ProcessId[]> {
  return collect(async (pid) => isMeant((await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')).split('\0')));
}

/** SIGKILLs until `find` finds nothing more: a process may fork while we look. */
export async function killAll(find: () => Promise<readonly ProcessId[]>): Promise<number> {
  const deadline = Date.now() + KILL_DEADLINE_MS;
  const killed = new Set<number>();
  for (;;) {
    const found = await find();
    if (found.length === 0) return killed.size;
    if (Date.now() > deadline) throw new Error(`processes that do not end: ${found.map(({ pid }) => pid).join(', ')}`);
    for (const { pid } of found) {
      killed.add(pid);
      signal(pid);
    }
    await sleep(10);
  }
}

/** Pids of one look into /proc are fresh enough not to belong to somebody else yet. */
function signal(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

async function collect(isMeant: (pid: number) => Promise<boolean>): Promise<ProcessId[]> {
  const pids = (await readdir('/proc')).map(Number).filter((pid) => pid > 1 && pid !== process.pid);
  const found = await Promise.all(pids.map(async (pid) => ((await isMeant(pid)) ? lookUpProcess(pid) : undefined)));
  return found.filter((each) => each !== undefined);
}
