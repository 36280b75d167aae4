import { totalmem } from 'node:os';

export interface VmShape {
  readonly memoryMiB: number;
  readonly cpus: number;
  /** `tcg` works everywhere, also inside virtual machines and containers; `kvm` is many times faster where `/dev/kvm` really works. */
  readonly accel: 'tcg' | 'kvm';
}

/** Enough for the `rig` with its agents; qemu takes memory only as the guest touches it. */
const MEMORY_MIB = 4096;

/** Two processors, also on a smaller host, so that races show; at most three quarters of the host's memory. */
export function defaultShape(): VmShape {
  const host = Math.floor((totalmem() / 2 ** 20) * 0.75);
  return { memoryMiB: Math.min(MEMORY_MIB, host), cpus: 2, accel: 'tcg' };
}

interface QemuParts {
  readonly kernel: string;
  readonly initrd: string;
  /** Folder for this run: the guest finds its scripts there and leaves the exit code; the guest kernel's console goes to `console`. */
  readonly share: string;
  readonly shape: VmShape;
}

/** The command line of the machine: no display, no network, no disk; the host's files over 9P, the output over a virtio port on stdout. */
export function qemuArgv({ kernel, initrd, share, shape }: QemuParts): string[] {
  const accel = shape.accel === 'kvm' ? 'kvm' : 'tcg,thread=multi';
  return [
    ['qemu-system-x86_64', '-accel', accel, '-cpu', shape.accel === 'kvm' ? 'host' : 'max'],
    ['-smp', String(shape.cpus), '-m', String(shape.memoryMiB)],
    ['-nodefaults', '-no-user-config', '-no-reboot', '-display', 'none', '-monitor', 'none', '-nic', 'none'],
    ['-kernel', kernel, '-initrd', initrd],
    // panic=-1 with -no-reboot: a kernel panic ends qemu at once instead of hanging until the time is over.
    ['-append', 'console=ttyS0 panic=-1 oops=panic'],
    ['-chardev', `file,id=console,path=${comma(share)}/console`, '-serial', 'chardev:console'],
    ['-device', 'virtio-serial-pci', '-chardev', 'stdio,id=out,signal=off', '-device', 'virtserialport,chardev=out,name=out'],
    ['-device', 'virtio-rng-pci'],
    nineP('root', '/', 'multidevs=remap,readonly=on'),
    nineP('run', share, 'multidevs=remap'),
  ].flat();
}

function nineP(tag: string, path: string, options: string): string[] {
  const fsdev = `local,id=${tag},path=${comma(path)},security_model=none,${options}`;
  return ['-fsdev', fsdev, '-device', `virtio-9p-pci,fsdev=${tag},mount_tag=${tag}`];
}

/** qemu's option syntax doubles a comma that belongs to a value. */
function comma(path: string): string {
  return path.replaceAll(',', ',,');
}
