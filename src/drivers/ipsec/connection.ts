import type { Tunnel, IpsecPlan } from '../../domain/node-plan.ts';
import { compareText } from '../../lib/compare.ts';
import { fnv1a } from '../../lib/hash.ts';
import type { Ip } from '../../net/ip.ts';
import type { ViciMessage, ViciValue } from '../../net/vici.ts';

/** Every connection and CHILD_SA of ours is called so; others in our charon are left alone. */
const NAME_PREFIX = 'raven-';
const HASH_DIGITS = 8;
const MEANING_LENGTH = NAME_PREFIX.length + HASH_DIGITS;
/** What no SA is made of: when things are done to it. */
const TIMERS = /^\s*(dpd_delay|rekey_time) = /;
/** Ends of the further names of a CHILD_SA. A far end that gets its new plan late answers several calls too narrowly, and each such SA keeps its name for some seconds. */
const FURTHER = ['-b', '-c', '-d'];

/** One tunnel in charon's terms. */
export interface Connection {
  readonly peer: string;
  /** `raven-<peer>`. */
  readonly name: string;
  /**
   * Names of its CHILD_SA, `raven-<hash of what SAs are made with>-<hash of the rest>` and some more: they tell what is loaded, and with what an SA was
   * made, also after a restart of the agent. charon makes no second SA beside one of equal configuration; the further names, with other lifetimes, are for that.
   */
  readonly children: readonly [string, ...string[]];
  readonly tunnel: Tunnel;
  /** What `load-conn` takes (swanctl.conf(5), section connections), with the CHILD_SA under one of its names. */
  readonly config: (child: string) => ViciMessage;
}

/** AES-GCM with X25519. The lists stay short: both ends are Raven's. */
const IKE_PROPOSALS = ['aes128gcm16-prfsha256-x25519', 'aes256gcm16-prfsha384-x25519'];
const ESP_PROPOSALS = ['aes128gcm16-x25519', 'aes256gcm16-x25519'];

/**
 * Silence from a peer for so long makes charon ask it. Also the time until a changed address of a NAT is noticed: by the first packet, which
 * only this question is when nothing can come back.
 */
const DPD_DELAY = '5s';

const CHILD_LIFETIME_S = 3600;
const IKE_LIFETIME = '4h';
const RENEWED_IKE_LIFETIME = '14401s';

/** The connections of a plan, in order of peer. */
export function planConnections(plan: IpsecPlan): Connection[] {
  return plan.tunnels.map((tunnel) => toConnection(plan, tunnel)).toSorted((a, b) => compareText(a.name, b.name));
}

/** The same association, called by us at `remote`. */
export function callingConnection(plan: IpsecPlan, { tunnel }: Connection, remote: { readonly ip: Ip; readonly port: number }): Connection {
  return toConnection(plan, { ...tunnel, remote });
}

/**
 * The same association, of an IKE_SA of its own: charon makes a CHILD_SA within the IKE_SA that it has, unless that was made with another
 * configuration. This one differs by a second of lifetime.
 */
export function renewedConnection(connection: Connection): Connection {
  return { ...connection, config: (child) => ({ ...connection.config(child), rekey_time: RENEWED_IKE_LIFETIME }) };
}

/** The peer of a connection's name, or undefined when it is not one of ours. */
export function peerOfConnection(name: string): string | undefined {
  return name.startsWith(NAME_PREFIX) ? name.slice(NAME_PREFIX.length) : undefined;
}

/** A connection as a person would write it into swanctl.conf(5). */
export function formatConnection({ name, children, config }: Connection): string {
  return `connections {\n  ${name} {\n${formatSection(config(children[0]), '    ')}  }\n}`;
}

/**
 * Whether an SA of this name is as good as one that `connection` would make now. Timers are not part of that: another version of the agent, with
 * others, loads them for the next SA and leaves this one alone.
 */
export function isMadeFor(child: string, { children: [own] }: Connection): boolean {
  return child.slice(0, MEANING_LENGTH) === own.slice(0, MEANING_LENGTH);
}

function toConnection(plan: IpsecPlan, tunnel: Tunnel): Connection {
  const name = `${NAME_PREFIX}${tunnel.peer}`;
  const config = (child: string): ViciMessage => configOf(plan, tunnel, child);
  const lines = formatSection(config('child'), '').split('\n');
  const first = `${NAME_PREFIX}${hashOf(lines.filter((line) => !TIMERS.test(line)))}-${hashOf(lines.filter((line) => TIMERS.test(line)))}`;
  return { peer: tunnel.peer, name, children: [first, ...FURTHER.map((end) => `${first}${end}`)], tunnel, config };
}

function hashOf(lines: readonly string[]): string {
  return fnv1a(lines.join('\n')).toString(16).padStart(HASH_DIGITS, '0');
}

function configOf({ localName, localPort, dataPath }: IpsecPlan, tunnel: Tunnel, child: string): ViciMessage {
  const { peer, remote, initiate } = tunnel;
  return {
    version: '2',
    // What a NAT does is followed without MOBIKE as well (RFC 7296 §2.23). With it, charon would tell every peer each address of this
    // machine, also those of pods, and try to reach peers at theirs: probes to addresses that mean something else here.
    mobike: 'no',
    encap: 'yes',
    // Wherever the own address moves to, any may be used.
    local_addrs: ['%any'],
    remote_addrs: [remote?.ip ?? '%any'],
    local_port: String(localPort),
    ...(remote !== undefined && { remote_port: String(remote.port) }),
    proposals: IKE_PROPOSALS,
    dpd_delay: DPD_DELAY,
    // The side that calls never gives up. What fails for good (a wrong secret) is tried again by us, with a pause.
    keyingtries: initiate ? '0' : '1',
    rekey_time: IKE_LIFETIME,
    // A peer that starts anew has forgotten the old SA; it must not linger beside the new one.
    unique: 'replace',
    local: { auth: 'psk', id: ikeIdentity(localName) },
    remote: { auth: 'psk', id: ikeIdentity(peer) },
    children: { [child]: childOf(tunnel, dataPath, `${CHILD_LIFETIME_S + 1 + FURTHER.findIndex((end) => child.endsWith(end))}s`) },
  };
}

function childOf({ localTs, remoteTs, ifId, initiate }: Tunnel, dataPath: IpsecPlan['dataPath'], rekeyTime: string): ViciMessage {
  return {
    mode: 'tunnel',
    local_ts: [...localTs],
    remote_ts: [...remoteTs],
    esp_proposals: ESP_PROPOSALS,
    rekey_time: rekeyTime,
    // Calls are ours to make. A trap would need an address to call, and where there is one, the tunnel is kept up anyway.
    start_action: 'none',
    // When the peer is silent charon calls again by itself, even while no agent runs. The other side can only forget.
    dpd_action: initiate ? 'restart' : 'clear',
    // Not `start`: charon would also revive SAs that were just replaced by better ones (swanctl.conf(5), close_action). We call again.
    close_action: 'none',
    ...(dataPath === 'kernel' && ifId !== undefined && { if_id_in: String(ifId), if_id_out: String(ifId) }),
    // Packets that several CPUs encrypt arrive far out of order; only the kernel can look back further than 32.
    ...(dataPath === 'kernel' && { replay_window: '1024' }),
  };
}

/** Node names are unique in a cluster and never leave the machine otherwise; `fqdn:` keeps charon from reading one as an address. */
function ikeIdentity(node: string): string {
  return `fqdn:${node}.raven`;
}

function formatSection(section: ViciMessage, indent: string): string {
  return Object.entries(section)
    .map(([key, value]) => formatEntry(key, value, indent))
    .join('');
}

function formatEntry(key: string, value: ViciValue, indent: string): string {
  if (typeof value === 'string') return `${indent}${key} = ${value}\n`;
  if (isList(value)) return `${indent}${key} = ${value.join(', ')}\n`;
  return `${indent}${key} {\n${formatSection(value, `${indent}  `)}${indent}}\n`;
}

function isList(value: ViciValue): value is readonly string[] {
  return Array.isArray(value);
}
