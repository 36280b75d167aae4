import { readFile } from 'node:fs/promises';
import type { FirewallTable } from '../../domain/firewall.ts';
import { NFT_TABLE } from '../../api/names.ts';
import { messageOf } from '../../lib/errors.ts';
import type { Exec } from '../exec/exec.ts';
import { parseIptablesSave } from './iptables-save.ts';
import { parseBaseChains, parseNftTable } from './nft-ruleset.ts';

/** The packet filters that others have set up on this machine. Reads only, in whatever tool they were written. */
export interface HostFirewall {
  /**
   * The tables with a chain at the hook forward or input, those of iptables-legacy first. Never rejects: what cannot be read is left out and
   * told in the log once.
   *
   * Takes one process and one more for each back end in use. A machine whose filters take long to read gets its last answer again for a while,
   * so that reading takes `SHARE` of the time at most.
   */
  read(): Promise<readonly FirewallTable[]>;
}

export interface HostFirewallOptions {
  /** Names of the iptables-legacy tables that are there (kernel, `ip_tables`). */
  readonly legacyTablesFile?: string;
  readonly nowMs?: () => number;
  readonly log?: { warn(fields: object, message: string): void };
}

const SHARE = 0.03;

export function createHostFirewall(
  exec: Exec,
  { legacyTablesFile = '/proc/net/ip_tables_names', nowMs = () => performance.now(), log }: HostFirewallOptions = {},
): HostFirewall {
  let known: readonly FirewallTable[] = [];
  let notBeforeMs = Number.NEGATIVE_INFINITY;
  const reported = new Set<string>();

  async function read(): Promise<readonly FirewallTable[]> {
    const startMs = nowMs();
    if (startMs < notBeforeMs) return known;
    const [legacy, nft] = await Promise.all([attempt(readLegacy), attempt(readNft)]);
    known = [...legacy, ...nft];
    const endMs = nowMs();
    notBeforeMs = endMs + (endMs - startMs) / SHARE;
    return known;
  }

  async function attempt(task: () => Promise<readonly FirewallTable[]>): Promise<readonly FirewallTable[]> {
    try {
      return await task();
    } catch (error) {
      const message = messageOf(error);
      if (!reported.has(message)) log?.warn({ error: message }, 'a firewall of this host cannot be read; what it drops is not seen');
      reported.add(message);
      return [];
    }
  }

  /** Only where the table is there: the mere question would make it. */
  async function readLegacy(): Promise<readonly FirewallTable[]> {
    const names = await readFile(legacyTablesFile, 'utf8').catch(() => '');
    if (!names.split('\n').includes('filter')) return [];
    return toList(parseIptablesSave(await exec(['iptables-legacy-save', '-t', 'filter']), 'iptables-legacy'));
  }

  async function readNft(): Promise<readonly FirewallTable[]> {
    const bases = parseBaseChains(await exec(['nft', '-j', 'list', 'chains']));
    const names = new Set(bases.filter(({ family, table }) => !(family === 'inet' && table === NFT_TABLE)).map(tableName));
    const tables = await Promise.all([...names].toSorted().map((name) => readTable(name)));
    return tables.flat();
  }

  /** Its rules in iptables-nft's own words where that is to be had: nft names its extensions, and not what they ask. */
  async function readTable(name: string): Promise<readonly FirewallTable[]> {
    if (name === IPTABLES_NFT_TABLE) {
      const text = await exec(['iptables-nft-save', '-t', 'filter']).catch(() => undefined);
      if (text !== undefined) return toList(parseIptablesSave(text, 'iptables-nft'));
    }
    try {
      const table = parseNftTable(await exec(['nft', '-j', 'list', 'table', ...name.split(' ')]));
      return [name === IPTABLES_NFT_TABLE ? { ...table, backend: 'iptables-nft', name: 'filter' } : table];
    } catch (error) {
      // Gone since the listing of chains.
      if (messageOf(error).includes('No such file or directory')) return [];
      throw error;
    }
  }

  return { read };
}

/** The table that `iptables-nft` works on. */
const IPTABLES_NFT_TABLE = 'ip filter';

function tableName({ family, table }: { readonly family: string; readonly table: string }): string {
  return `${family} ${table}`;
}

function toList(table: FirewallTable | undefined): readonly FirewallTable[] {
  return table === undefined ? [] : [table];
}
