import { CHARON_RULE_PREF, CHARON_TABLE } from '../../api/names.ts';
import type { DataPath } from '../../domain/node-plan.ts';
import { UserError } from '../../lib/errors.ts';

export interface CharonConf {
  readonly dataPath: DataPath;
  /** UDP port of IKE and of encapsulated ESP. */
  readonly localPort: number;
  readonly socketPath: string;
  readonly logPath: string;
}

/** In this order: kernel-libipsec has to offer its data path before kernel-netlink does. No `updown`: charon runs no scripts. */
const CRYPTO_PLUGINS = 'random nonce openssl pem pkcs1 pubkey x509 curve25519 hmac kdf aes sha2 gcm';
const KERNEL_PLUGINS: Record<DataPath, string> = { kernel: 'kernel-netlink', user: 'kernel-libipsec kernel-netlink' };

/**
 * Our charon's whole configuration, in the syntax of strongswan.conf(5). It includes no other file: what the host's administrator set up for
 * the host's own strongSwan does not apply.
 */
export function renderCharonConf({ dataPath, localPort, socketPath, logPath }: CharonConf): string {
  return `# Written by raven; changes are overwritten.
charon {
  load = ${CRYPTO_PLUGINS} ${KERNEL_PLUGINS[dataPath]} socket-default vici
  # Never 500: the host's own strongSwan may be there. 0: any free port, unused.
  port = 0
  port_nat_t = ${localPort}
  install_routes = no
${routing(dataPath)}
  # 10.9 s in all until a peer counts as gone: 1 + 1.4 + 1.96 + 2.74 + 3.84.
  retransmit_timeout = 1.0
  retransmit_base = 1.4
  retransmit_tries = 4
  retransmit_jitter = 10
  # A region that starts calls many peers at once, a public one is called by many.
  half_open_timeout = 15
  cookie_threshold = 1000
  block_threshold = 0
  filelog {
    raven {
      path = ${quote(logPath)}
      time_format = %Y-%m-%dT%H:%M:%S
      time_add_ms = yes
      ike_name = yes
      flush_line = yes
      default = 1
      enc = 0
      net = 0
    }
  }
  plugins {
    vici {
      socket = ${quote(`unix://${socketPath}`)}
    }
    kernel-libipsec {
      allow_peer_ts = yes
    }
  }
}
charon-systemd {
  journal {
    default = -1
  }
}
`;
}

/**
 * Kernel data path: table 0 means none, and no rule either. User space: kernel-libipsec refuses a tunnel whose route it cannot install,
 * and 0 would be the main table; so it gets a table of its own that nobody consults.
 */
function routing(dataPath: DataPath): string {
  const [table, pref] = dataPath === 'kernel' ? [0, 0] : [CHARON_TABLE, CHARON_RULE_PREF];
  return `  routing_table = ${table}\n  routing_table_prio = ${pref}`;
}

/** strongswan.conf(5) knows no way to write a quote inside of quotes. */
function quote(path: string): string {
  if (/["\n\\]/.test(path))
    throw new UserError([
      { source: '--run-dir', message: `${JSON.stringify(path)}: quotes, backslashes and line ends cannot be used here` },
    ]);
  return `"${path}"`;
}
