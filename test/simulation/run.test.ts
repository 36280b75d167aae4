import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';

const RUN = fileURLToPath(new URL('run.ts', import.meta.url));

function run(...argv: string[]): Promise<{ code: number; stdout: string; stderr: string }> {
  return new Promise((resolve) => {
    execFile(process.execPath, [RUN, ...argv], (error, stdout, stderr) =>
      resolve({ code: error === null ? 0 : Number(error.code), stdout, stderr }),
    );
  });
}

it('replays one history with all that happens, the same each time', async () => {
  const [first, second] = [await run('--seed', '7', '-v'), await run('--seed', '7', '-v')];
  expect(first).toEqual(second);
  expect(first.code).toBe(0);
  expect(first.stdout).toMatch(/FAULT .*\n[^]*digest [0-9a-f]{16}\n$/);
});

it('plays many and sums up', async () => {
  const { code, stdout } = await run('--histories', '3', '--first', '50', '--jobs', '2');
  expect(stdout).toMatch(/^loop: held\nreachable: held\n[^]*3 histories of 0\.\d h with \d+ probes, 0 failed\n/);
  expect(code).toBe(0);
});

it.each([
  [['--seed', 'x'], '--seed: "x" is no whole number from 0 to 999999999'],
  [['--histories', '-1'], 'histories'],
  [['--nothing'], 'nothing'],
])('refuses %j', async (argv, message) => {
  const { code, stderr } = await run(...argv);
  expect(code).toBe(2);
  expect(stderr).toContain(message);
});
