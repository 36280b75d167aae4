import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { findKubeBinaries } from '../../src/lab/control-plane/binaries.ts';

const CHECKOUT = fileURLToPath(new URL('../..', import.meta.url));
const HEAD = `# Made by \`make generate\` from deploy/chart/raven; do not edit. For clusters without Helm:
#   kubectl -n kube-system create secret generic raven-agent-secret --from-literal=vpn-connection-psk="$(openssl rand -base64 48)"
#   kubectl apply --server-side -f raven.yaml
# The image is called \`raven:<version>\`: put your registry's name for it in its place.
`;

export const MANIFESTS_FILE = 'deploy/manifests/raven.yaml';

/**
 * The chart's objects as plain manifests, with the defaults.
 * @returns undefined where there is no helm
 */
export function renderManifests(env: NodeJS.ProcessEnv): string | undefined {
  const helm = findKubeBinaries(env, CHECKOUT).paths.get('helm');
  if (helm === undefined) return undefined;
  const argv = [
    'template',
    'raven',
    `${CHECKOUT}deploy/chart/raven`,
    '-n',
    'kube-system',
    '--set',
    'vpn.existingSecret=raven-agent-secret',
  ];
  const { status, stdout, stderr } = spawnSync(helm, argv, { encoding: 'utf8', maxBuffer: 64 << 20 });
  if (status !== 0) throw new Error(stderr);
  return `${HEAD}${stdout}`;
}
