import { describe, expect, it } from 'vitest';
import { CommandError, type Exec, hostExec } from '../exec/exec.ts';
import { detectDataPath } from './data-path.ts';

/** A kernel that fails where `stderr` says so. */
function kernel(stderr: { xfrmi?: string; esp?: string }): Exec {
  return (argv, options) => {
    const trouble = options?.stdin?.startsWith('link') === true ? stderr.xfrmi : stderr.esp;
    return trouble === undefined ? Promise.resolve('') : Promise.reject(new CommandError(argv, 2, trouble));
  };
}

describe('detectDataPath', () => {
  it('takes the kernel when it can do all that is needed', async () => {
    expect(await detectDataPath(kernel({}))).toEqual({
      dataPath: 'kernel',
      reason: 'the kernel has XFRM interfaces and ESP with AES-GCM in UDP',
    });
  });

  it('says what is missing', async () => {
    const exec = kernel({
      xfrmi: 'Error: Unknown device type.\nCommand failed -:1\n',
      esp: 'Error: Requested AEAD algorithm not found.\nCommand failed -:1\n',
    });
    expect(await detectDataPath(exec)).toEqual({
      dataPath: 'user',
      reason: 'the kernel lacks XFRM interfaces (Unknown device type); ESP with AES-GCM in UDP (Requested AEAD algorithm not found)',
    });
  });

  it('tries in place, and takes away what it made, where it may not make a network namespace', async () => {
    const commands: string[] = [];
    const exec: Exec = (argv, options) => {
      const trouble = argv[0] === 'unshare' ? 'unshare: unshare failed: Operation not permitted\n' : undefined;
      if (trouble !== undefined) return Promise.reject(new CommandError(argv, 1, trouble));
      commands.push(/^(link|xfrm state) \w+/.exec(options?.stdin ?? '')?.[0] ?? '');
      return Promise.resolve('');
    };
    expect((await detectDataPath(exec)).dataPath).toBe('kernel');
    expect(commands.filter((each) => each.startsWith('link'))).toEqual(['link del', 'link add', 'link del']);
    expect(commands.filter((each) => each.startsWith('xfrm'))).toEqual(['xfrm state delete', 'xfrm state add', 'xfrm state delete']);
  });

  it.runIf(process.getuid?.() === 0)('leaves nothing behind on this machine', async () => {
    const before = await hostExec(['ip', '-o', 'link']);
    expect((await detectDataPath(hostExec)).reason).toMatch(/^the kernel (has|lacks) /);
    expect(await hostExec(['ip', '-o', 'link'])).toBe(before);
  });
});
