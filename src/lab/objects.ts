import { type Kind, type ObjectOf, RESOURCES } from '../api/kinds.ts';
import { type Exec, hostExec, netnsExec } from '../drivers/exec/exec.ts';
import { parseObject } from '../store/object.ts';
import { openStore } from '../store/open-store.ts';
import { labPaths } from './paths.ts';
import { CONTROL } from './plan/control.ts';
import { netnsName } from './plan/names.ts';
import type { LabState } from './state.ts';

/** The cluster's objects as its API has them now. An API server is asked on its own machine, for nothing else of this one reaches it. */
export async function readObjects<K extends Kind>(
  lab: LabState,
  kind: K,
  { root, exec = hostExec }: { readonly root?: string; readonly exec?: Exec } = {},
): Promise<readonly ObjectOf<K>[]> {
  if (lab.kubernetes !== undefined) return askKubectl(lab, lab.kubernetes.kubectl, kind, { exec, ...(root !== undefined && { root }) });
  const store = await openStore(`dir:${labPaths(lab.name, root).store}`);
  try {
    return await store.list(kind);
  } finally {
    await store.close();
  }
}

async function askKubectl<K extends Kind>(
  { name }: LabState,
  kubectl: string,
  kind: K,
  { root, exec }: { readonly root?: string; readonly exec: Exec },
): Promise<readonly ObjectOf<K>[]> {
  const inside = netnsExec(netnsName(name, CONTROL), exec);
  const { plural, apiVersion } = RESOURCES[kind];
  const group = apiVersion.includes('/') ? `.${apiVersion.split('/')[0]}` : '';
  const text = await inside([
    kubectl,
    `--kubeconfig=${labPaths(name, root).adminKubeconfig}`,
    'get',
    `${plural}${group}`,
    '-A',
    '-o',
    'json',
  ]);
  const { items } = JSON.parse(text) as { readonly items: readonly unknown[] };
  return items.flatMap((item) => {
    const parsed = parseObject(kind, item);
    return 'object' in parsed ? [parsed.object] : [];
  });
}
