import type { DataPath } from '../../domain/node-plan.ts';
import { messageOf } from '../../lib/errors.ts';
import { CommandError, type Exec } from '../exec/exec.ts';

export interface DataPathChoice {
  readonly dataPath: DataPath;
  /** Why, in words for an operator; shown in status. */
  readonly reason: string;
}

interface Trial {
  readonly what: string;
  /** For `ip -batch`. */
  readonly line: string;
  readonly undo: string;
}

/** The last of our interface ids, which no plan uses. */
const IF_ID = 0x52ffffff;
/** What the kernel data path needs. The key (16 bytes and a salt of 4, RFC 4106 §8.1) protects nothing. */
const TRIALS: readonly Trial[] = [
  { what: 'XFRM interfaces', line: `link add rvn-try type xfrm dev lo if_id ${IF_ID}`, undo: 'link del rvn-try' },
  {
    what: 'ESP with AES-GCM in UDP',
    line: `xfrm state add src 127.0.0.1 dst 127.0.0.2 proto esp spi 0x1 mode tunnel aead rfc4106(gcm(aes)) 0x${'00'.repeat(20)} 128 encap espinudp 4500 4500 0.0.0.0 if_id ${IF_ID}`,
    undo: 'xfrm state delete src 127.0.0.1 dst 127.0.0.2 proto esp spi 0x1',
  },
];

/**
 * Finds out whether this kernel can carry the tunnels, by making one of each object in a network namespace that ends with the trial. The host's
 * own links and states are not touched; modules that the kernel has but has not loaded are loaded by this.
 *
 * A container without CAP_SYS_ADMIN may not make namespaces: the objects are made right here for a moment then.
 */
export async function detectDataPath(exec: Exec): Promise<DataPathChoice> {
  const failures = (await Promise.all(TRIALS.map((trial) => attempt(exec, trial)))).flat();
  if (failures.length === 0) return { dataPath: 'kernel', reason: `the kernel has ${TRIALS.map(({ what }) => what).join(' and ')}` };
  return { dataPath: 'user', reason: `the kernel lacks ${failures.join('; ')}` };
}

async function attempt(exec: Exec, { what, line, undo }: Trial): Promise<string[]> {
  try {
    await exec(['unshare', '--net', 'ip', '-batch', '-'], { stdin: `${line}\n` });
    return [];
  } catch (error) {
    if (!isUnshareRefused(error)) return [`${what} (${summary(error)})`];
  }
  const run = (command: string): Promise<string> => exec(['ip', '-batch', '-'], { stdin: `${command}\n` });
  // What a trial that was killed left behind.
  await run(undo).catch(() => undefined);
  try {
    await run(line);
    await run(undo);
    return [];
  } catch (error) {
    return [`${what} (${summary(error)})`];
  }
}

function isUnshareRefused(error: unknown): boolean {
  return error instanceof CommandError && /^unshare: .*not permitted/m.test(error.stderr);
}

/** iproute2's own words, without its remarks about the batch. */
function summary(error: unknown): string {
  if (!(error instanceof CommandError)) return messageOf(error);
  const lines = error.stderr.split('\n').filter((line) => line.trim() !== '' && !line.startsWith('Command failed'));
  return (lines[0] ?? error.message).replace(/^Error: |^RTNETLINK answers: /, '').replace(/\.$/, '');
}
