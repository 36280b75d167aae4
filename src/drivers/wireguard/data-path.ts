import type { Exec } from '../exec/exec.ts';
import { type DataPathChoice, tryAll } from '../tunnel/trial.ts';

const TRIALS = [{ what: 'WireGuard', line: 'link add rvn-try type wireguard', undo: 'link del rvn-try' }] as const;

/** Finds out whether this kernel has WireGuard, by making a device: see `tryAll`. Otherwise wireguard-go has to do it. */
export async function detectWireguard(exec: Exec): Promise<DataPathChoice> {
  const failures = await tryAll(exec, TRIALS);
  if (failures.length === 0) return { dataPath: 'kernel', reason: 'the kernel has WireGuard' };
  return { dataPath: 'user', reason: `the kernel lacks ${failures.join('; ')}: wireguard-go carries the packets` };
}
