import { hostExec, netnsExec, type Exec } from '../../drivers/exec/exec.ts';
import { listLab } from '../ls.ts';
import type { LabState } from '../state.ts';
import type { MatrixHost, MatrixLab } from './types.ts';

/** Looks at a lab as it is now: what is alive, and which addresses the kernel has on every node and router. */
export async function loadMatrixLab(lab: LabState, exec: Exec = hostExec): Promise<MatrixLab> {
  const listing = await listLab(lab);
  const regionOfRouter = new Map(lab.topology.routers.map(({ name, region }) => [name, region]));
  const [nodes, routers] = await Promise.all([
    Promise.all(listing.nodes.map((node) => withAddresses(exec, { ...node, alive: node.state === 'up' }))),
    Promise.all(
      listing.routers.map((router) =>
        withAddresses(exec, { ...router, region: regionOfRouter.get(router.name) ?? '', addresses: [], alive: true }),
      ),
    ),
  ]);
  const pods = listing.pods.map((pod) => ({ ...pod, alive: pod.state === 'up' }));
  return { name: listing.name, nodes, routers, pods, services: listing.services, hasDns: lab.topology.dns !== undefined };
}

async function withAddresses(exec: Exec, { name, region, netns, addresses, alive }: MatrixHost): Promise<MatrixHost> {
  const own = alive ? await kernelAddresses(exec, netns) : [];
  return { name, region, netns, alive, addresses: [...new Set([...addresses, ...own])] };
}

/** Nothing for a namespace that has just gone: its node is then as good as killed. */
async function kernelAddresses(exec: Exec, netns: string): Promise<string[]> {
  const text = await netnsExec(netns, exec)(['ip', '-oneline', 'address', 'show', 'scope', 'global']).catch(() => '');
  return [...text.matchAll(/ inet6? ([\da-f.:]+)[/ ]/g)].flatMap(([, address]) => address ?? []);
}
