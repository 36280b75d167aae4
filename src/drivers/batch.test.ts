import { describe, expect, it } from 'vitest';
import { parseBatchErrors, runBatch } from './batch.ts';
import { CommandError, type Exec } from './exec/exec.ts';

/** `ip -force -batch -` with lines that fail by what they say; `die` makes it give up, as `invarg()` of iproute2 does. */
function fakeIp(run: (line: string) => void): Exec {
  return async (argv, { stdin = '' } = {}) => {
    const said: string[] = [];
    for (const [index, line] of stdin.trim().split('\n').entries()) {
      if (line.includes('die'))
        throw new CommandError(argv, 255, [...said, 'Error: argument "die" is wrong: Device does not exist', ''].join('\n'));
      try {
        run(line);
      } catch (error) {
        said.push(String(error), `Command failed -:${index + 1}`);
      }
    }
    if (said.length > 0) throw new CommandError(argv, 1, `${said.join('\n')}\n`);
    return '';
  };
}

function refusing(words: Record<string, string>): (line: string) => void {
  return (line) => {
    const message = Object.entries(words).find(([word]) => line.includes(word))?.[1];
    if (message !== undefined) throw message;
  };
}

describe('runBatch', () => {
  it('names each line that failed, with what was said', async () => {
    const exec = fakeIp(refusing({ bad: 'Error: Nexthop id does not exist.' }));
    expect(await runBatch(exec, ['ip'], ['route add good', 'route add bad', 'link set x up'])).toEqual([
      { index: 1, error: 'Error: Nexthop id does not exist.' },
    ]);
  });

  it('carries out every other line when one makes the tool give up', async () => {
    const done = new Set<string>();
    const exec = fakeIp((line) => {
      if (line.includes(' add ') && done.has(line)) throw 'RTNETLINK answers: File exists';
      done.add(line);
    });
    const lines = ['rule add 1', 'rule add 2', 'nexthop replace die', 'rule add 3', 'rule add 4', 'nexthop replace die 2'];
    expect((await runBatch(exec, ['ip'], lines)).map(({ index }) => index)).toEqual([2, 5]);
    expect([...done]).toEqual(['rule add 1', 'rule add 2', 'rule add 3', 'rule add 4']);
  });

  it('does not mind that what is to be deleted is gone', async () => {
    const exec = fakeIp(refusing({ 'route del': 'RTNETLINK answers: No such process', 'link del': 'Cannot find device "x"' }));
    expect(await runBatch(exec, ['ip'], ['route del 10.0.0.0/8', 'link del dev x'])).toEqual([]);
  });

  it('does mind that what is to be added is there already', async () => {
    const exec = fakeIp(refusing({ 'link add': 'RTNETLINK answers: File exists' }));
    expect(await runBatch(exec, ['ip'], ['link add raven0'])).toHaveLength(1);
  });

  it('gives up when the tool cannot run at all', async () => {
    const exec: Exec = (argv) => Promise.reject(new CommandError(argv, undefined, 'spawn ip ENOENT'));
    expect(await runBatch(exec, ['ip'], ['a', 'b'])).toHaveLength(2);
  });
});

describe('parseBatchErrors', () => {
  it('reads what iproute2 6.1 writes', () => {
    expect(
      parseBatchErrors('Cannot find device "nope"\nCommand failed -:2\nError: Nexthop id does not exist.\nCommand failed -:4\n'),
    ).toEqual({
      failures: [
        { line: 2, message: 'Cannot find device "nope"' },
        { line: 4, message: 'Error: Nexthop id does not exist.' },
      ],
      rest: '',
    });
    expect(parseBatchErrors('Error: argument "nope" is wrong: Device does not exist\n\n').rest).toContain('Device does not exist');
  });
});
