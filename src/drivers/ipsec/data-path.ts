import type { DataPath } from '../../domain/node-plan.ts';
import { messageOf } from '../../lib/errors.ts';
import { CommandError, type Exec } from '../exec/exec.ts';

export interface DataPathChoice {
  readonly dataPath: DataPath;
  /** Why, in words for an operator; shown in status. */
  readonly reason: string;
}

/** What the kernel data path needs, as `ip -batch` lines that try it. The key (16 bytes and a salt of 4, RFC 4106 §8.1) protects nothing. */
const TRIALS = [
  { what: 'XFRM interfaces', line: 'link add rvn-try type xfrm dev lo if_id 1' },
  {
    what: 'ESP with AES-GCM in UDP',
    line: `xfrm state add src 127.0.0.1 dst 127.0.0.2 proto esp spi 0x1 mode tunnel aead rfc4106(gcm(aes)) 0x${'00'.repeat(20)} 128 encap espinudp 4500 4500 0.0.0.0 if_id 1`,
  },
] as const;

/**
 * Finds out whether this kernel can carry the tunnels, by making one of each object in a network namespace that ends with the trial. The host's
 * own links and states are not touched; modules that the kernel has but has not loaded are loaded by this.
 */
export async function detectDataPath(exec: Exec): Promise<DataPathChoice> {
  const failures = (await Promise.all(TRIALS.map(async ({ what, line }) => attempt(exec, what, line)))).flat();
  if (failures.length === 0) return { dataPath: 'kernel', reason: `the kernel has ${TRIALS.map(({ what }) => what).join(' and ')}` };
  return { dataPath: 'user', reason: `the kernel lacks ${failures.join('; ')}` };
}

async function attempt(exec: Exec, what: string, line: string): Promise<string[]> {
  try {
    await exec(['unshare', '--net', 'ip', '-batch', '-'], { stdin: `${line}\n` });
    return [];
  } catch (error) {
    return [`${what} (${summary(error)})`];
  }
}

/** iproute2's own words, without its remarks about the batch. */
function summary(error: unknown): string {
  if (!(error instanceof CommandError)) return messageOf(error);
  const lines = error.stderr.split('\n').filter((line) => line.trim() !== '' && !line.startsWith('Command failed'));
  return (lines[0] ?? error.message).replace(/^Error: |^RTNETLINK answers: /, '').replace(/\.$/, '');
}
