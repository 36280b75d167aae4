import { listAt, sectionsAt, textAt, type ViciMessage } from '../../net/vici.ts';

/** An IKE_SA as `list-sas` shows it. */
export interface IkeSa {
  /** Of the connection. */
  readonly name: string;
  /** charon counts them up: the greater, the newer. */
  readonly id: number;
  /** CREATED, CONNECTING, ESTABLISHED, REKEYING, REKEYED, DELETING, PASSIVE, DESTROYING. */
  readonly state: string;
  /** Where its packets come from or go to. */
  readonly remote: { readonly ip: string; readonly port: number } | undefined;
  readonly establishedS: number | undefined;
  /** Whether this side called. */
  readonly initiator: boolean;
  /** Whether an exchange that may bring a CHILD_SA is under way. */
  readonly busy: boolean;
  readonly children: readonly ChildSa[];
}

export interface ChildSa {
  /** Of the CHILD_SA's configuration. */
  readonly name: string;
  readonly id: number;
  /** CREATED, ROUTED, INSTALLING, INSTALLED, UPDATING, REKEYING, REKEYED, RETRYING, DELETING, DELETED, DESTROYING. */
  readonly state: string;
  /** Hex without leading zeros. */
  readonly spiIn: string;
  readonly spiOut: string;
  readonly bytesIn: number;
  readonly bytesOut: number;
  readonly installedS: number;
  /** Prefixes in charon's text form. */
  readonly localTs: readonly string[];
  readonly remoteTs: readonly string[];
}

/** Tasks of an IKE_SA that create a CHILD_SA (strongSwan, task_type_names). */
const BUSY_TASK = /^(IKE_AUTH|IKE_INIT|CHILD_CREATE)$/;

/** Reads the messages of `list-sa` events. */
export function parseIkeSas(messages: readonly ViciMessage[]): IkeSa[] {
  return messages.flatMap((message) => sectionsAt(message).map(([name, sa]) => toIkeSa(name, sa)));
}

/** Reads the messages of `list-conn` events: the CHILD_SA configurations of each connection. */
export function parseConnections(messages: readonly ViciMessage[]): Map<string, readonly string[]> {
  const entries = messages.flatMap((message) => sectionsAt(message));
  return new Map(entries.map(([name, conn]) => [name, sectionsAt(conn, 'children').map(([child]) => child)]));
}

/** Whether packets go through it, also while it is being replaced. */
export function isCarrying({ state }: ChildSa): boolean {
  return state === 'INSTALLED' || state === 'REKEYING' || state === 'UPDATING';
}

/** The newest CHILD_SA of a connection that carries packets, unless its IKE_SA has something else to do. */
export function renewableChild(ikeSas: readonly IkeSa[], connection: string): ChildSa | undefined {
  const idle = ikeSas.filter(({ name, state, busy }) => name === connection && state === 'ESTABLISHED' && !busy);
  return idle.flatMap(({ children }) => children.filter(isCarrying)).toSorted((a, b) => b.id - a.id)[0];
}

function toIkeSa(name: string, sa: ViciMessage): IkeSa {
  const established = textAt(sa, 'established');
  return {
    name,
    id: numberAt(sa, 'uniqueid'),
    state: textAt(sa, 'state') ?? '',
    remote: remoteOf(sa),
    establishedS: established === undefined ? undefined : Number(established),
    initiator: textAt(sa, 'initiator') === 'yes',
    busy: [...listAt(sa, 'tasks-active'), ...listAt(sa, 'tasks-queued')].some((task) => BUSY_TASK.test(task)),
    children: sectionsAt(sa, 'child-sas').map(([key, child]) => toChildSa(key, child)),
  };
}

function toChildSa(key: string, child: ViciMessage): ChildSa {
  return {
    name: textAt(child, 'name') ?? key,
    id: numberAt(child, 'uniqueid'),
    state: textAt(child, 'state') ?? '',
    spiIn: spiAt(child, 'spi-in'),
    spiOut: spiAt(child, 'spi-out'),
    bytesIn: numberAt(child, 'bytes-in'),
    bytesOut: numberAt(child, 'bytes-out'),
    installedS: numberAt(child, 'install-time'),
    localTs: listAt(child, 'local-ts'),
    remoteTs: listAt(child, 'remote-ts'),
  };
}

/** charon names %any as the host of a peer that it has not heard of. */
function remoteOf(sa: ViciMessage): IkeSa['remote'] {
  const ip = textAt(sa, 'remote-host');
  return ip === undefined || ip === '%any' || ip === '0.0.0.0' || ip === '::' ? undefined : { ip, port: numberAt(sa, 'remote-port') };
}

function numberAt(message: ViciMessage, key: string): number {
  const value = Number(textAt(message, key) ?? '0');
  return Number.isFinite(value) ? value : 0;
}

function spiAt(message: ViciMessage, key: string): string {
  return (textAt(message, key) ?? '').replace(/^0+/, '').toLowerCase();
}
