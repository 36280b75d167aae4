import { access, constants } from 'node:fs/promises';
import { join } from 'node:path';
import { UserError } from '../lib/errors.ts';
import { FAMILIES } from '../net/ip.ts';
import { restoreProgram } from './plan/lab-plan.ts';
import type { Topology } from './topology/resolve.ts';

const PROGRAM_DIRS = ['/usr/local/sbin', '/usr/local/bin', '/usr/sbin', '/usr/bin', '/sbin', '/bin'];

/** Debian packages of the programs that build a lab. */
const PACKAGES: Readonly<Record<string, string>> = {
  ip: 'iproute2',
  sysctl: 'procps',
  nft: 'nftables',
  'iptables-legacy-restore': 'iptables',
  'iptables-nft-restore': 'iptables',
  'ip6tables-legacy-restore': 'iptables',
  'ip6tables-nft-restore': 'iptables',
  ping: 'iputils-ping',
};

/** @throws {UserError} saying in one line what this machine lacks to carry a lab */
export async function checkHost({ masquerade, kubeProxy, services, dns, ipv6 }: Topology): Promise<void> {
  if (process.getuid?.() !== 0) throw new UserError('a lab needs root, for it makes network namespaces: run as root');
  const backends = new Set([...masquerade, ...(services.length > 0 || dns !== undefined ? [kubeProxy] : [])]);
  const families = ipv6 === 'on' ? FAMILIES : ([4] as const);
  const programs = [
    'ip',
    'sysctl',
    'nft',
    'ping',
    ...[...backends].flatMap((backend) => families.map((family) => restoreProgram({ backend, family }))),
  ];
  const found = await Promise.all(programs.map(isInstalled));
  const missing = programs.filter((_, i) => !found[i]);
  if (missing.length === 0) return;
  const packages = [...new Set(missing.map((program) => PACKAGES[program] ?? program))];
  throw new UserError(`a lab needs ${missing.join(', ')}: apt-get install ${packages.join(' ')}`);
}

async function isInstalled(program: string): Promise<boolean> {
  const found = await Promise.all(
    PROGRAM_DIRS.map((dir) =>
      access(join(dir, program), constants.X_OK).then(
        () => true,
        () => false,
      ),
    ),
  );
  return found.includes(true);
}
