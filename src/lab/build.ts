import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type Exec, netnsExec } from '../drivers/exec/exec.ts';
import { forEachConcurrently } from './concurrent.ts';
import { NETNS_ETC_DIR } from './netns.ts';
import { type NamespacePlan, restoreProgram } from './plan/lab-plan.ts';

/** Little programs that mostly wait for the kernel; more at once than this only queue up in front of it. */
const CONCURRENCY = 4;
/** Inner namespaces first: the far end of a cable is up when the near end joins its bridge. */
const WAVES = ['pod', 'node', 'router', 'control', 'internet'] as const;

/** Makes the namespaces of `plans`. What they are plugged into must be among them or exist. Any of them existing already is an error. */
export async function buildNamespaces(exec: Exec, plans: readonly NamespacePlan[]): Promise<void> {
  await exec(['ip', '-batch', '-'], { stdin: plans.map(({ netns }) => `netns add ${netns}\n`).join('') });
  await forEachConcurrently(plans, CONCURRENCY, (plan) => prepare(exec, plan));
  for (const kind of WAVES) {
    const wave = plans.filter((plan) => plan.kind === kind);
    await forEachConcurrently(wave, CONCURRENCY, ({ netns, ip }) => ipBatch(exec, netns, [...ip, ...pluggedInto(plans, netns)]));
  }
  const inPlan = new Set(plans.map(({ netns }) => netns));
  const outer = new Set(plans.flatMap(({ attach }) => (attach !== undefined && !inPlan.has(attach.netns) ? [attach.netns] : [])));
  await forEachConcurrently([...outer], CONCURRENCY, (netns) => ipBatch(exec, netns, pluggedInto(plans, netns)));
}

/** Pulls the cables of `plans` out of the namespaces that stay: these see it at once, not when the kernel gets round to it. */
export async function unplug(exec: Exec, plans: readonly NamespacePlan[]): Promise<void> {
  const outer = plans.flatMap(({ attach }) => (attach !== undefined && !plans.some(({ netns }) => netns === attach.netns) ? [attach] : []));
  await forEachConcurrently(outer, CONCURRENCY, ({ netns, device }) => ipBatch(exec, netns, [`link del dev ${device}`]));
}

/** All that needs no devices yet. */
async function prepare(exec: Exec, { netns, sysctls, nft, iptables, resolvConf }: NamespacePlan): Promise<void> {
  const inside = netnsExec(netns, exec);
  // -e: a kernel without IPv6 lacks its settings.
  if (sysctls.length > 0) await inside(['sysctl', '-e', '-q', '-w', ...sysctls]);
  if (nft !== undefined) await inside(['nft', '-f', '-'], { stdin: nft });
  // The legacy tool's lock is shared by all namespaces: --wait.
  for (const each of iptables) await inside([restoreProgram(each), '--noflush', '--wait'], { stdin: each.text });
  if (resolvConf === undefined) return;
  const etc = join(NETNS_ETC_DIR, netns);
  await mkdir(etc, { recursive: true });
  await writeFile(join(etc, 'resolv.conf'), resolvConf);
}

function pluggedInto(plans: readonly NamespacePlan[], netns: string): string[] {
  return plans.flatMap(({ attach }) => (attach?.netns === netns ? attach.ip : []));
}

async function ipBatch(exec: Exec, netns: string, lines: readonly string[]): Promise<void> {
  await exec(['ip', '-n', netns, '-batch', '-'], { stdin: lines.map((line) => `${line}\n`).join('') });
}
