import type { DataPath } from '../../domain/node-plan.ts';
import type { Clock } from '../../lib/clock.ts';
import type { Logger } from '../../lib/logger.ts';
import type { Exec } from '../exec/exec.ts';

export interface IpsecDriverOptions {
  readonly exec: Exec;
  /** For what a reboot may take: configuration, socket, log, process number. */
  readonly runDir: string;
  /** For what must outlive a reboot; nothing so far. */
  readonly stateDir: string;
  /** Given to charon over its socket; never written to disk or log. */
  readonly psk: string;
  readonly dataPath: DataPath;
  readonly log: Logger;
  readonly clock?: Clock;
  /** `external`: `raven charon` runs it in the same run directory; default: it is started from here. */
  readonly charon?: 'own' | 'external';
  /** What starts a program where charon belongs, such as `ip netns exec NAME`; nothing when we are there already. */
  readonly spawnPrefix?: readonly string[];
  /** PATH of charon. */
  readonly path?: string;
  /** Where the kernel's settings are, as programs that `exec` starts see it; /proc/sys when absent. */
  readonly sysctlDir?: string;
  /** In [0, 1). */
  readonly random?: () => number;
}
