import { access, constants, readFile } from 'node:fs/promises';
import { UserError } from '../../lib/errors.ts';

/** charon-systemd first: charon itself insists on /var/run/charon.pid, which belongs to the host's own. */
const PROGRAMS = [
  { path: '/usr/sbin/charon-systemd', profile: '/etc/apparmor.d/usr.sbin.charon-systemd' },
  { path: '/usr/lib/ipsec/charon', profile: '/etc/apparmor.d/usr.lib.ipsec.charon' },
] as const;
const AA_EXEC = '/usr/bin/aa-exec';
/** PATH of charon unless another is given. */
export const DEFAULT_CHARON_PATH = '/usr/sbin:/usr/bin:/sbin:/bin';
const PACKAGES = 'charon-systemd strongswan-swanctl libcharon-extra-plugins';

/**
 * The command line that starts charon here.
 *
 * The distributions' AppArmor profile lets charon read its configuration only where the host's own strongSwan has it. Where that profile is
 * enforced, ours runs without it.
 *
 * @throws {UserError} naming the packages when charon is not installed
 */
export async function charonCommand(): Promise<readonly [string, ...string[]]> {
  for (const { path, profile } of PROGRAMS) {
    if (!(await isExecutable(path))) continue;
    return (await isConfined(profile)) && (await isExecutable(AA_EXEC)) ? [AA_EXEC, '-p', 'unconfined', '--', path] : [path];
  }
  throw new UserError(
    `strongSwan's charon is not installed (looked for ${PROGRAMS.map(({ path }) => path).join(', ')}); run: apt-get install ${PACKAGES}`,
  );
}

async function isConfined(profile: string): Promise<boolean> {
  const [own, text] = await Promise.all([readOr('/proc/self/attr/current', ''), readOr(profile, '')]);
  return own.startsWith('unconfined') && enforces(text);
}

/** Whether the text of a profile makes the kernel deny, and not only log. */
export function enforces(profile: string): boolean {
  const header = profile.split('\n').find((line) => /^[^#]*\{\s*$/.test(line));
  return header !== undefined && !/flags=\([^)]*\b(complain|unconfined)\b/.test(header);
}

async function isExecutable(path: string): Promise<boolean> {
  try {
    await access(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

async function readOr(path: string, otherwise: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch {
    return otherwise;
  }
}
