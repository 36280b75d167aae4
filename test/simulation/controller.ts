import type { Gateway } from '../../src/api/gateway.ts';
import { type ClusterView, createClusterView } from '../../src/controller/cluster-view.ts';
import { reconcileGateway } from '../../src/controller/reconcile.ts';
import type { Logger } from '../../src/lib/logger.ts';
import type { ClusterStore } from '../../src/store/cluster-store.ts';
import type { Api, Client, SimEvent } from './api.ts';
import type { VirtualClock } from './virtual-clock.ts';

/** The controller: its real picture of the cluster, its real decisions and its real writes; in place of `src/controller/controller.ts` a queue of its own. */
export interface SimController {
  start(): void;
  stop(): void;
  /** The API may have come back. */
  touched(): void;
}

export interface ControllerParts {
  readonly api: Api;
  readonly clock: VirtualClock;
  readonly log: Logger;
  readonly isReachable: () => boolean;
  readonly onWritten: (gateway: Gateway) => void;
}

const QUIET_MS = 20;
const RETRY_MS = 1_000;
/** As `src/controller/controller.ts`: what is about tunnels only may be so old. */
const TUNNELS_MS = 2_000;

export function createSimController({ api, clock, log, isReachable, onWritten }: ControllerParts): SimController {
  let view: ClusterView | undefined;
  let client: Client | undefined;
  let isSynced = false;
  let isDue = false;
  let areTunnelsDue = false;
  const again = new Set<string>();

  function take(event: SimEvent): void {
    if (view === undefined) return;
    if ('deleted' in event) view.deleteEndpoint(event.deleted.replace('TunnelEndpoint/', ''));
    else if (event.object.kind === 'Node') view.setNode(event.object);
    else if (event.object.kind === 'Gateway') view.setGateway(event.object);
    else view.setEndpoint(event.object);
    const isAboutTunnels = 'deleted' in event || event.object.kind === 'TunnelEndpoint';
    if (isAboutTunnels) scheduleTunnels(view);
    else schedule();
  }

  function scheduleTunnels(of: ClusterView): void {
    if (areTunnelsDue) return;
    areTunnelsDue = true;
    clock.after(TUNNELS_MS, () => {
      areTunnelsDue = false;
      if (view !== of) return;
      of.affectByTunnels();
      schedule();
    });
  }

  function schedule(delayMs = QUIET_MS): void {
    if (isDue || !isSynced) return;
    isDue = true;
    const current = view;
    clock.after(delayMs, () => {
      isDue = false;
      if (current === undefined || view !== current || client === undefined) return;
      const names = [...new Set([...current.takeAffected(), ...again])].toSorted();
      again.clear();
      clock.settle();
      for (const name of names) void reconcile(current, client, name);
    });
  }

  async function reconcile(of: ClusterView, { store }: Client, name: string): Promise<void> {
    const recordEvent = async (): Promise<void> => undefined;
    try {
      const done = await reconcileGateway({ store: store as unknown as ClusterStore, view: of, clock, log, recordEvent }, name);
      if (done !== undefined) onWritten(done.gateway);
    } catch {
      if (view !== of) return;
      again.add(name);
      schedule(RETRY_MS);
    }
  }

  return {
    start: () => {
      view = createClusterView(clock);
      isSynced = false;
      isDue = false;
      areTunnelsDue = false;
      again.clear();
      const options = { name: 'controller', isReachable, isBlind: () => false, onEvent: take };
      client = api.connect({
        ...options,
        onSynced: () => {
          isSynced = true;
          schedule();
        },
      });
      client.start();
    },
    stop: () => {
      client?.stop();
      client = undefined;
      view = undefined;
    },
    touched: () => schedule(),
  };
}
