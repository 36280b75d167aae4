import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** The kernel's settings under /proc/sys, of the network namespace that this process is in. */
export interface Sysctls {
  /** @returns undefined when there is no such setting, or its device is gone */
  read(key: string): string | undefined;
  /** @throws when the kernel refuses */
  write(key: string, value: string): void;
}

/** Each access takes some 15 µs and never waits, so it is synchronous. */
export function createSysctls(root: string): Sysctls {
  return {
    read: (key) => {
      try {
        return readFileSync(join(root, key), 'utf8').trim();
      } catch {
        return undefined;
      }
    },
    // `r+` would fail where 'w' creates: a setting that is not there must not become a file.
    write: (key, value) => writeFileSync(join(root, key), `${value}\n`, { flag: 'r+' }),
  };
}
