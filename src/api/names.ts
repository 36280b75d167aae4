/** Names that users, other programs and the kernel see: the one place where they are written down. */

export const API_GROUP = 'raven.openyurt.io';
/** Versions of Gateway: the older one is still served. */
export const ALPHA_VERSION = 'v1alpha1';
export const BETA_VERSION = 'v1beta1';
/** Gateway annotation, in v1alpha1 only: what v1alpha1 has no field for (JSON). */
export const BETA_FIELDS_ANNOTATION = 'raven.openyurt.io/v1beta1-fields';

/** Node label: member of the region of that name. */
export const GATEWAY_LABEL = 'raven.openyurt.io/gateway';
/** Node annotation: `true` asks that the node gives its part as a gateway to another, `false` that it does not although it is cordoned. */
export const DRAIN_ANNOTATION = 'raven.openyurt.io/drain';
/** Annotation of an agent's own Lease, while that agent is about to stop: since when (RFC 3339). */
export const DRAINING_ANNOTATION = 'raven.openyurt.io/draining';
/** Gateway annotation: comma-separated source CIDRs that the region carries besides its pod CIDRs. */
export const EXTRA_CIDRS_ANNOTATION = 'raven.openyurt.io/extra-allowed-source-cidrs';
/** Gateway annotation: regions with the same value reach each other's nodes already, so packets between them go without a tunnel. */
export const ROUTABLE_DOMAIN_ANNOTATION = 'raven.openyurt.io/routable-domain';

export const DEFAULT_TUNNEL_PORT = 4500;
export const DEFAULT_PROXY_PORT = 10262;

/** Names and numbers in the kernel. */
export const VXLAN_DEVICE = 'raven0';
export const VXLAN_ID = 200;
export const VXLAN_PORT = 4472;
/** Every tunnel device's name starts so. */
export const TUNNEL_DEVICE_PREFIX = 'rvn-';
/** The TUN device of the user-space IPsec data path. */
export const USER_TUNNEL_DEVICE = 'rvn-ipsec';
/** The WireGuard device: the kernel's, or the TUN device of wireguard-go. */
export const WIREGUARD_DEVICE = 'raven-wg0';
/** Interface group of all tunnel devices; nft and rules match it (`ip-link(8)` group). */
export const TUNNEL_GROUP = 9027;
/** Routes to other regions. */
export const TABLE_TO_REGIONS = 9027;
/** Routes to nodes of the own region, for packets that come out of a tunnel. */
export const TABLE_FROM_REGIONS = 9028;
/** Routes to other gateways' agents for Raven's own probes: to that very one, and larger packets than the routes for everybody else let out. */
export const TABLE_PROBES = 9030;
/** All tables of which every route is ours, unless a foreign one stands there. */
export const OUR_TABLES = [TABLE_TO_REGIONS, TABLE_FROM_REGIONS, TABLE_PROBES] as const;
export const RULE_PREF_PROBES = 99;
export const RULE_PREF_TO_REGIONS = 100;
export const RULE_PREF_FROM_REGIONS = 101;
/** Mark bit of packets that came out of a tunnel; the other 31 bits are never touched. */
export const FROM_TUNNEL_MARK = 0x40;
/** Route and nexthop origin (`ip-route(8)` protocol): tells our objects from everybody else's. Free in the kernel's and iproute2's lists. */
export const ROUTE_PROTOCOL = 82;
/**
 * Stands on each of our devices, scope host, and is never used by a packet: a device without any IPv4 address drops what it receives as soon as the
 * reverse path filter is on, even when loose (kernel, `__fib_validate_source`).
 */
export const ANCHOR_ADDRESS = '169.254.90.27';
/** Next-hop ids FIRST..FIRST+65535 are ours. */
export const NEXTHOP_ID_FIRST = 0x52560000;
export const NFT_TABLE = 'raven';
/** UDP port of the agent's echo responder on the overlay address. */
export const PROBE_PORT = 4473;
/** Table into which user-space charon writes the routes that it insists on (kernel-libipsec ignores `install_routes`); no rule looks there. */
export const CHARON_TABLE = 9029;
/**
 * Prefix length of IPv6 addresses that only charon shall see. So short a prefix loses against every other one when the kernel chooses a source
 * (RFC 6724 §5, rule 8), and nobody else uses it. charon does not see deprecated addresses, which would lose as well.
 */
export const STAND_IN_PREFIX_LENGTH_6 = 1;
/** Preference of charon's own rule for that table, which is deleted as soon as charon runs; behind main and default until then. */
export const CHARON_RULE_PREF = 32768;

/** Names in the cluster, as `gateway-api.md` and the Helm chart have them. */
export const DEFAULT_NAMESPACE = 'kube-system';
export const CONTROLLER_NAME = 'raven-controller';
export const CONTROLLER_ACCOUNT = 'raven-controller-account';
/** Lease that the leading controller holds. */
export const LEADER_LEASE = 'raven-controller';
export const AGENT_DAEMONSET = 'raven-agent-ds';
export const AGENT_ACCOUNT = 'raven-agent-account';
/** An agent's own Lease is named so, and its node's name follows. */
export const AGENT_LEASE_PREFIX = 'raven-agent-';
/** ConfigMap with the switches `enable-l3-tunnel` and `enable-l7-proxy`. */
export const SWITCHES_CONFIG_MAP = 'raven-cfg';
/** ConfigMap with the agents' settings. */
export const AGENT_CONFIG_MAP = 'raven-agent-config';
export const WEBHOOK_SERVICE = 'raven-webhook';
/** Port that the webhook server listens on; the Service maps 443 to it. */
export const WEBHOOK_PORT = 9443;
export const WEBHOOK_CERT_SECRET = 'raven-webhook-cert';
export const VALIDATING_WEBHOOK = 'raven-validating-webhook';
export const MUTATING_WEBHOOK = 'raven-mutating-webhook';
/** Labels of exposing Services and their EndpointSlices, beside `GATEWAY_LABEL`. */
export const GATEWAY_TYPE_LABEL = 'raven.openyurt.io/gateway-type';
export const ENDPOINTS_NAME_LABEL = 'raven.openyurt.io/endpoints-name';
/** Annotation of exposing Services: other controllers of the platform leave them alone. */
export const SERVICE_DISCARD_ANNOTATION = 'svc.openyurt.io/discard';
/** Where an agent keeps sockets and process numbers, unless told otherwise. */
export const DEFAULT_RUN_DIR = '/run/raven';
/** TCP ports of the agent and the controller for Prometheus and for probes. */
export const METRICS_PORT = 10265;
export const HEALTH_PORT = 10275;
/** `metadata.managedFields` names these as the writers (server-side apply). */
export const AGENT_FIELD_MANAGER = 'raven-agent';
export const CONTROLLER_FIELD_MANAGER = 'raven-controller';
