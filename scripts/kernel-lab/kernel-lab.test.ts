import { execFileSync } from 'node:child_process';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fc, test } from '@fast-check/vitest';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { packCpio } from './cpio.ts';
import { findKernel, kernelVersions, listKernels } from './kernel.ts';
import { loadOrder, parseModulesDep } from './modules.ts';
import { defaultShape, qemuArgv } from './qemu.ts';
import { shellQuote } from './vm.ts';

const DEP = `kernel/fs/9p/9p.ko.xz: kernel/net/9p/9pnet.ko.xz kernel/fs/fscache/fscache.ko.xz kernel/fs/netfs/netfs.ko.xz
kernel/fs/netfs/netfs.ko.xz:
kernel/fs/fscache/fscache.ko.xz: kernel/fs/netfs/netfs.ko.xz
kernel/net/9p/9pnet.ko.xz:
kernel/net/9p/9pnet_virtio.ko.xz: kernel/net/9p/9pnet.ko.xz
kernel/drivers/char/hw_random/virtio-rng.ko:
`;

describe('loadOrder', () => {
  it('loads each module once, after all that it needs', () => {
    const { files, missing } = loadOrder(parseModulesDep(DEP), ['9pnet_virtio', '9p', 'virtio_rng', 'built_in']);
    expect(files).toMatchInlineSnapshot(`
      [
        "kernel/net/9p/9pnet.ko.xz",
        "kernel/net/9p/9pnet_virtio.ko.xz",
        "kernel/fs/netfs/netfs.ko.xz",
        "kernel/fs/fscache/fscache.ko.xz",
        "kernel/fs/9p/9p.ko.xz",
        "kernel/drivers/char/hw_random/virtio-rng.ko",
      ]
    `);
    expect(missing).toEqual(['built_in']);
  });
});

it('takes the newest kernel of /boot', () => {
  const names = ['config-6.1.0-9-amd64', 'vmlinuz-6.1.0-9-amd64', 'vmlinuz-6.1.0-56-amd64', 'vmlinuz', 'vmlinuz-5.10.0-30-amd64'];
  expect(kernelVersions(names)).toEqual(['6.1.0-56-amd64', '6.1.0-9-amd64', '5.10.0-30-amd64']);
});

describe('findKernel', () => {
  let folder: string;
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'raven-kernels-'));
    for (const version of ['6.1.0-9-test', '6.12.9-test', '6.12.10-test', '6.13.1-cloud']) {
      const modules = join(folder, version, 'lib/modules', version);
      await mkdir(modules, { recursive: true });
      await mkdir(join(folder, version, 'boot'));
      await writeFile(join(folder, version, 'boot', `vmlinuz-${version}`), '');
      await writeFile(join(modules, 'modules.dep'), version.endsWith('cloud') ? '' : DEP);
    }
  });
  afterEach(() => rm(folder, { recursive: true, force: true }));

  it('takes the newest whose version begins as wanted, wherever it is', async () => {
    const { version, image, modulesDir } = await findKernel({ unpackedDir: folder, wanted: '6.12' });
    expect(version).toBe('6.12.10-test');
    expect([image, modulesDir]).toEqual([
      join(folder, version, 'boot/vmlinuz-6.12.10-test'),
      join(folder, version, 'lib/modules/6.12.10-test'),
    ]);
    expect((await findKernel({ unpackedDir: folder, wanted: '6.12.9' })).version).toBe('6.12.9-test');
  });

  it('lists the newest of each release, oldest release first', async () => {
    const versions = await listKernels(folder);
    expect(versions).toContain('6.12.10-test');
    expect(versions.filter((version) => version.startsWith('6.12.') || version.startsWith('6.13.'))).toHaveLength(1);
    expect(versions.indexOf('6.12.10-test')).toBe(versions.length - 1);
  });

  it.each(['6.13', '6.123', '9'])('says what there is when there is no %s', async (wanted) => {
    await expect(findKernel({ unpackedDir: folder, wanted })).rejects.toThrow(/no kernel .*6\.12\.10-test.*setup\.sh kernels/);
  });
});

it('packs what cpio(1) of busybox unpacks', ({ skip }) => {
  const archive = packCpio([{ path: 'bin/' }, { path: 'bin/a', content: Buffer.from('12345'), executable: true }, { path: 'b' }]);
  try {
    expect(String(execFileSync('busybox', ['cpio', '-tv'], { input: archive, env: { ...process.env, TZ: 'UTC' }, stdio: 'pipe' })))
      .toMatchInlineSnapshot(`
      "drwxr-xr-x 0/0         0 1970-01-01 00:00:00 bin
      -rwxr-xr-x 0/0         5 1970-01-01 00:00:00 bin/a
      -rw-r--r-- 0/0         0 1970-01-01 00:00:00 b
      "
    `);
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') skip('no busybox here');
    throw error;
  }
});

test.prop([fc.string({ unit: 'grapheme' }).filter((text) => !text.includes('\0'))], { numRuns: 20 })(
  'quotes any text for a shell',
  (text) => {
    expect(String(execFileSync('sh', ['-c', `printf %s ${shellQuote(text)}`]))).toBe(text);
  },
);

it('gives the guest no network, and the host’s files read-only', () => {
  const argv = qemuArgv({ kernel: '/boot/vmlinuz', initrd: '/c/initrd', share: '/tmp/a,b', shape: defaultShape() });
  expect(argv.join(' ')).toContain('-nic none');
  expect(argv).toContain('local,id=root,path=/,security_model=none,multidevs=remap,readonly=on');
  expect(argv).toContain('local,id=run,path=/tmp/a,,b,security_model=none,multidevs=remap');
});
