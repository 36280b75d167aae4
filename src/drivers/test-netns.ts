import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { type Exec, hostExec } from './exec/exec.ts';
import { TEST_ADDRESS_6, TEST_ADDRESSES, TEST_DEVICE } from './arbitrary-plan.ts';
import type { TestMachine } from './kernel-conformance.ts';
import { createKernel } from './kernel.ts';
import type { Sysctls } from './sysctl/sysctl.ts';

/** A network namespace as a test machine. Whoever made it must call `remove`, also after a failure. */
export interface TestNetns extends TestMachine {
  readonly name: string;
  /** What stands before a command to run it in there. */
  readonly enter: readonly string[];
  /** @returns stdout of a script in the namespace */
  sh(script: string): Promise<string>;
  /** Makes `rvn-ipsec`, and holds it as charon would. */
  openTun(): Promise<void>;
  /** Takes it away, as charon does when it ends. */
  closeTun(): Promise<void>;
  remove(): Promise<void>;
}

/** `TUNSETIFF` with `IFF_TUN | IFF_NO_PI` (linux/if_tun.h). Only a device that a process holds has a carrier. */
const TUN_HOLDER = `$| = 1; open(my $tun, '+<', '/dev/net/tun') or die $!; my $request = pack('a16Sx22', 'rvn-ipsec', 0x1001); ioctl($tun, 0x400454ca, $request) or die $!; print "ready\n"; <STDIN>`;

let count = 0;

export async function createTestNetns(): Promise<TestNetns> {
  const name = `rvdrv-${process.pid}-${count++}`;
  await hostExec(['ip', 'netns', 'add', name]);
  const [program, ...enter] = entering(name);
  const exec: Exec = (argv, options) => hostExec([program, ...enter, ...argv], options);
  let tun: ChildProcess | undefined;

  const sh = (script: string): Promise<string> => exec(['sh', '-euc', script]);

  async function openTun(): Promise<void> {
    const child = spawn(program, [...enter, 'perl', '-e', TUN_HOLDER], { stdio: ['pipe', 'pipe', 'inherit'] });
    tun = child;
    const [first] = (await Promise.race([once(child.stdout, 'data'), once(child, 'exit')])) as [unknown];
    if (!Buffer.isBuffer(first)) throw new Error(`cannot make a TUN device: exit code ${String(first)}`);
  }

  async function closeTun(): Promise<void> {
    const child = tun;
    tun = undefined;
    if (child === undefined || child.exitCode !== null) return;
    child.stdin?.end();
    await once(child, 'exit');
  }

  async function remove(): Promise<void> {
    await closeTun();
    await hostExec(['ip', 'netns', 'del', name]);
  }

  try {
    await sh(`ip link set lo up
      ip link add ${TEST_DEVICE} type veth peer name u1
      ${TEST_ADDRESSES.map((address) => `ip addr add ${address}/24 dev ${TEST_DEVICE}`).join('\n')}
      ip addr add ${TEST_ADDRESS_6}/64 dev ${TEST_DEVICE} nodad
      ip link set ${TEST_DEVICE} addrgenmode none
      ip link set u1 addrgenmode none
      ip link set ${TEST_DEVICE} up
      ip link set u1 up`);
    await openTun();
  } catch (error) {
    await remove();
    throw error;
  }
  const run = async (command: string): Promise<void> => void (await exec(command.split(' ') as [string, ...string[]]));
  return {
    name,
    enter: [program, ...enter],
    kernel: createKernel(exec, { sysctls: netnsSysctls(name) }),
    run,
    sh,
    openTun,
    closeTun,
    remove,
  };
}

/** Lighter than `ip netns exec`, which mounts /sys anew each time. */
function entering(netns: string): [string, string] {
  return ['nsenter', `--net=/run/netns/${netns}`];
}

/** /proc/sys/net shows the namespace of the process that looks, so another process must. One look serves a whole run of reads. */
function netnsSysctls(netns: string): Sysctls {
  const [program, ...enter] = entering(netns);
  const inside = (script: string): string =>
    execFileSync(program, [...enter, 'sh', '-c', script], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] });
  let values: Map<string, string> | undefined;

  function readAll(): Map<string, string> {
    queueMicrotask(() => (values = undefined));
    const text = inside('cd /proc/sys; grep -H . net/ipv[46]/conf/raven0/* net/ipv[46]/conf/rvn-*/* 2>/dev/null; true');
    return new Map(text.split('\n').map((line) => line.split(':') as [string, string]));
  }

  return {
    read: (key) => (values ??= readAll()).get(key),
    write: (key, value) => void inside(`echo ${value} > /proc/sys/${key}`),
  };
}
