import type { Gateway } from '../api/gateway.ts';
import type { ClusterStore } from '../store/cluster-store.ts';

/** The Gateways of which this node is an endpoint, of either type: most often one or none. */
export interface Membership {
  gateways(): readonly Gateway[];
  /** Calls `listener` now, as soon as the Gateways are known, and after each change of one of these. */
  onChange(listener: () => void): void;
  close(): void;
}

export function followMembership(store: ClusterStore, node: string): Membership {
  const own = new Map<string, Gateway>();
  const listeners: (() => void)[] = [];
  let isSynced = false;

  function tell(): void {
    if (isSynced) for (const listener of listeners) listener();
  }

  const watch = store.watch('Gateway', (event) => {
    if (event.type === 'synced') {
      isSynced = true;
      return tell();
    }
    const name = event.type === 'set' ? event.object.metadata.name : event.name;
    const was = own.delete(name);
    const isOwn = event.type === 'set' && isEndpoint(event.object, node);
    if (isOwn) own.set(name, event.object);
    if (was || isOwn) tell();
  });

  return {
    gateways: () => [...own.values()],
    onChange: (listener) => {
      listeners.push(listener);
      if (isSynced) listener();
    },
    close: () => watch.close(),
  };
}

function isEndpoint({ spec, status }: Gateway, node: string): boolean {
  return [...spec.endpoints, ...(status?.activeEndpoints ?? [])].some(({ nodeName }) => nodeName === node);
}
