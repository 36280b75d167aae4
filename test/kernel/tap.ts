import { messageOf } from '../../src/lib/errors.ts';

/** Prints results in the form that the test runner counts (TAP version 14), for scripts that run inside the virtual machine: vitest would need a minute to start there. */
export interface Tap {
  /** Runs one test; its failure is printed and the next one goes on. */
  test(name: string, body: () => Promise<void>): Promise<void>;
  /** Prints the plan. @returns the exit code */
  end(): number;
}

export function createTap(write: (line: string) => void): Tap {
  let count = 0;
  let failed = 0;
  return {
    async test(name, body) {
      count++;
      const begin = performance.now();
      const line = await body().then(
        () => `ok ${count} - ${name}`,
        (error: unknown) => {
          failed++;
          return `not ok ${count} - ${name}\n${messageOf(error).replaceAll(/^/gm, '# ')}`;
        },
      );
      write(`${line}\n# ${((performance.now() - begin) / 1000).toFixed(1)} s\n`);
    },
    end() {
      write(`1..${count}\n`);
      return failed === 0 ? 0 : 1;
    },
  };
}
