import { z } from 'zod';
import { VPN_DRIVERS, type VpnDriver } from '../domain/node-plan.ts';
import { UserError } from '../lib/errors.ts';
import { notKnown, parseFlags } from '../lib/flags.ts';
import { LOG_LEVELS } from '../lib/logger-levels.ts';
import { type BindAddress, requireBindAddress } from '../net/bind-address.ts';
import { parseIp } from '../net/ip.ts';

/** Variables that the agent reads beside its flags; the DaemonSet sets them. */
export interface AgentEnvironment {
  readonly NODE_NAME?: string | undefined;
  readonly NODE_IP?: string | undefined;
  /** The secret that all gateways share, where it is in no file. */
  readonly VPN_CONNECTION_PSK?: string | undefined;
}

export interface AgentOptions {
  readonly node: string;
  readonly store: string | undefined;
  readonly vpnDriver: VpnDriver;
  readonly psk: { readonly file: string } | { readonly text: string } | undefined;
  readonly stateDir: string;
  readonly runDir: string;
  readonly sysctlDir: string;
  readonly forwardNodeIp: boolean;
  readonly charon: 'own' | 'external';
  readonly metrics: BindAddress | 'off';
  readonly health: BindAddress | 'off';
  /** Of its Lease. */
  readonly namespace: string;
  /** How long another gateway may take to take over before the agent stops; undefined: it is not asked to. */
  readonly drainTimeoutMs: number | undefined;
  readonly logLevel: (typeof LOG_LEVELS)[number];
  readonly cleanup: boolean;
}

/** A longer drain is one that hangs. */
const MAX_DRAIN_SECONDS = 3600;

export function drainSeconds(min: number): z.ZodType<number> {
  const message = `must be ${min} to ${MAX_DRAIN_SECONDS} seconds`;
  return z.coerce.number(message).min(min, message).max(MAX_DRAIN_SECONDS, message);
}

const schema = z.object({
  node: z.string("is required, as NODE_NAME is not set: the name of this machine's Node").min(1),
  store: z.string().optional(),
  pskFile: z.string().optional(),
  // The existing Go implementation's word for it: its settings apply unchanged.
  vpnDriver: z.preprocess(
    (value) => (value === 'libreswan' ? 'ipsec' : value),
    z.enum(VPN_DRIVERS, { error: notKnown(VPN_DRIVERS.join(', ')) }),
  ),
  forwardNodeIp: z.stringbool({ error: 'is true or false' }),
  charon: z.enum(['own', 'external'], { error: notKnown('own, external') }),
  metricBindAddr: z.string(),
  healthBindAddr: z.string(),
  stateDir: z.string(),
  runDir: z.string(),
  sysctlDir: z.string(),
  namespace: z.string().min(1, 'must not be empty'),
  drain: z.boolean().default(false),
  drainTimeout: drainSeconds(1),
  logLevel: z.enum(LOG_LEVELS, { error: notKnown(LOG_LEVELS.join(', ')) }),
  cleanup: z.boolean().default(false),
});

/** @throws {UserError} naming every flag that is wrong */
export function parseAgentOptions(input: Readonly<Record<string, unknown>>, env: AgentEnvironment): AgentOptions {
  const flags = parseFlags(schema, { ...input, node: input['node'] ?? (env.NODE_NAME || undefined) });
  const { pskFile, metricBindAddr, healthBindAddr, drain, drainTimeout, ...rest } = flags;
  return {
    ...rest,
    store: flags.store,
    psk: pskOf(pskFile, env),
    drainTimeoutMs: drain ? drainTimeout * 1000 : undefined,
    // Metrics tell about all peers: not to be had from wherever the machine has an address.
    metrics: requireBindAddress('--metric-bind-addr', metricBindAddr, nodeIp(env)),
    health: requireBindAddress('--health-bind-addr', healthBindAddr, LOOPBACK),
  };
}

const LOOPBACK = '127.0.0.1';

function nodeIp({ NODE_IP }: AgentEnvironment): string {
  if (!NODE_IP) return LOOPBACK;
  const ip = parseIp(NODE_IP);
  if (ip === undefined) throw new UserError([{ source: 'NODE_IP', message: `${JSON.stringify(NODE_IP)} is no IP address` }]);
  return ip;
}

function pskOf(file: string | undefined, { VPN_CONNECTION_PSK: text }: AgentEnvironment): AgentOptions['psk'] {
  if (file !== undefined) return { file };
  return text ? { text } : undefined;
}
