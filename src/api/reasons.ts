/** What objects say by conditions and Events: the vocabulary, for the reference in the documentation. A test keeps it complete. */

export interface ReasonText {
  readonly reason: string;
  readonly text: string;
}

export interface EventText extends ReasonText {
  readonly type: 'Normal' | 'Warning';
}

export interface ConditionText {
  readonly type: string;
  /** What `True` means. */
  readonly text: string;
  readonly reasons: readonly ReasonText[];
}

/** Why some part of a region's subnets cannot be used; Events, and reasons of the condition SubnetsUsable. */
const SUBNET_REASONS: readonly ReasonText[] = [
  { reason: 'NoNodes', text: 'no node carries the label of the region' },
  { reason: 'SubnetOverlap', text: 'another region claims the same addresses; they are routed to neither' },
  { reason: 'EmptyPodCIDR', text: 'a node has no pod CIDR' },
  { reason: 'InvalidPodCIDR', text: 'a pod CIDR of a node is none, or cannot be carried' },
  {
    reason: 'InvalidExtraCIDR',
    text: 'an entry of the annotation `raven.openyurt.io/extra-allowed-source-cidrs` is no CIDR, or cannot be carried',
  },
  { reason: 'CalicoBlocksNotRead', text: "the nodes' pod CIDRs are taken, since Calico's blocks are not to be had" },
];

/** Events about Gateways. */
export const GATEWAY_EVENTS: readonly EventText[] = [
  { type: 'Normal', reason: 'ActiveEndpointElected', text: 'a node became an active endpoint' },
  {
    type: 'Normal',
    reason: 'ActiveEndpointMoved',
    text: 'the part of one node went to another; the message says why: the node is drained, is not Ready, its agent is silent, it does not forward (these are Warnings)',
  },
  {
    type: 'Warning',
    reason: 'ActiveEndpointKept',
    text: 'a node stays active although something stands against it: nobody is better, or the region as a whole is not heard of',
  },
  { type: 'Warning', reason: 'ActiveEndpointLost', text: 'a node is no longer an active endpoint, and no other of its type is left' },
  {
    type: 'Warning',
    reason: 'DeleteServiceFail',
    text: 'a Service or EndpointSlice that exposed the gateway cannot be deleted; it is tried again',
  },
  ...SUBNET_REASONS.map((each) => ({ type: 'Warning' as const, ...each })),
];

export const GATEWAY_CONDITIONS: readonly ConditionText[] = [
  {
    type: 'Ready',
    text: 'everything that should be active in the region has an active endpoint',
    reasons: [
      { reason: 'EndpointElected', text: 'it has' },
      { reason: 'LastActiveKept', text: 'it had: all candidates became NotReady at once, and the last active ones stay' },
      { reason: 'NoEndpoints', text: '`spec.endpoints` is empty' },
      { reason: 'NoTunnelEndpointFit', text: 'no node of a tunnel endpoint is Ready and belongs to the region' },
      { reason: 'NoProxyEndpointFit', text: 'the same of proxies' },
      { reason: 'NoTunnelReplicas', text: '`spec.tunnelConfig.Replicas` is absent or 0' },
      { reason: 'NoProxyReplicas', text: '`spec.proxyConfig.Replicas` is absent or 0' },
      { reason: 'TunnelDisabled', text: '`enable-l3-tunnel` is not `true` in ConfigMap `raven-cfg`' },
      { reason: 'ProxyDisabled', text: '`enable-l7-proxy` is not `true` there' },
    ],
  },
  {
    type: 'Accepted',
    text: 'the object follows the contract',
    reasons: [
      { reason: 'Valid', text: 'it does' },
      { reason: 'Invalid', text: 'the message names the fields; what can be used of the object is used' },
    ],
  },
  {
    type: 'EndpointsKnown',
    text: "every endpoint's node exists and belongs to the region",
    reasons: [
      { reason: 'NodesFound', text: 'they do' },
      { reason: 'UnknownNodes', text: 'the message names those that do not' },
    ],
  },
  {
    type: 'EndpointsFit',
    text: 'nothing stands against any endpoint; details are in `status.impaired`',
    reasons: [
      { reason: 'AllFit', text: 'nothing does' },
      {
        reason: 'Draining',
        text: 'a node is cordoned, or has the annotation `raven.openyurt.io/drain=true`, or its agent is about to stop',
      },
      { reason: 'AgentSilent', text: 'an agent has not renewed its Lease for half a minute while others of its region did' },
      { reason: 'NotForwarding', text: 'a gateway says that packets do not get across it (`status.forwarding` of its TunnelEndpoint)' },
      { reason: 'NodeNotReady', text: 'a node is not Ready' },
    ],
  },
  {
    type: 'RegionReachable',
    text: "the API server hears from at least one of the region's endpoint nodes",
    reasons: [
      { reason: 'NodeReady', text: 'it does' },
      { reason: 'AllNodesNotReady', text: 'it hears from none' },
      { reason: 'NoCandidates', text: 'no node of the region is an endpoint (status Unknown)' },
    ],
  },
  {
    type: 'PeersConnected',
    text: "the tunnels of the region's active endpoints are up; absent while none of them has told anything",
    reasons: [
      { reason: 'AllLinksUp', text: 'they are' },
      { reason: 'LinksDown', text: 'the message names those that are not, and why: which UDP port of which address never answered, say' },
    ],
  },
  {
    type: 'SubnetsUsable',
    text: 'all pod addresses of the region can be routed from elsewhere',
    reasons: [{ reason: 'AllUsable', text: 'they can' }, ...SUBNET_REASONS],
  },
];

export const TUNNEL_ENDPOINT_CONDITIONS: readonly ConditionText[] = [
  {
    type: 'Ready',
    text: 'all links are up',
    reasons: [
      { reason: 'AllLinksUp', text: 'they are' },
      { reason: 'LinksDown', text: 'the message names those that are not, and why' },
      { reason: 'HostUnfit', text: 'the node carries nothing, as in PlanComplete' },
    ],
  },
  {
    type: 'KernelDataPath',
    text: 'the kernel encrypts; otherwise a process does, which is slower and nothing wrong',
    reasons: [{ reason: 'Detected', text: 'the message says what was found missing' }],
  },
  {
    type: 'PlanComplete',
    text: 'the node can carry everything that the Gateways ask for',
    reasons: [
      { reason: 'AllPlanned', text: 'it can' },
      { reason: 'NoRegion', text: 'the node is in no Gateway’s `status.nodes`' },
      {
        reason: 'HostUnfit',
        text: 'the machine lacks a program, or the kernel a feature, that its role takes: nothing is set up until it is there; the message names it',
      },
      {
        reason: 'ForwardDropped',
        text: 'a firewall of the host drops what is forwarded between regions; the message names tool, table, chain and the command that opens it',
      },
      { reason: 'InputDropped', text: 'the same of a UDP port that other nodes have to reach' },
      { reason: 'NodeAddressMissing', text: "no network device has the node's InternalIP" },
      { reason: 'NoActiveEndpoint', text: 'the region has no active gateway node' },
      { reason: 'NoHostAddress', text: 'the node has no address inside its pod CIDRs: its own processes cannot reach other regions' },
      { reason: 'FamilyNotCarried', text: 'one of two regions lacks the family, or this node cannot carry it; the other family goes on' },
      {
        reason: 'IPv6ForwardingOff',
        text: '`net.ipv6.conf.all.forwarding`, which is the host’s own, is 0: no IPv6 packet of pods passes this node',
      },
      { reason: 'UnderlayFamilyDiffers', text: 'a node of the region has its address in the other family, and `raven0` cannot reach it' },
      { reason: 'SubnetCoversUnderlay', text: 'pod CIDRs of a region cover addresses that carry the tunnels; that part is not routed' },
      {
        reason: 'NodeAddressDuplicate',
        text: '`--forward-node-ip`: nodes of two regions have the same address; it is forwarded to neither',
      },
      {
        reason: 'NodeAddressInPodCIDR',
        text: '`--forward-node-ip`: pod CIDRs of some region hold the address of a node; it is not forwarded',
      },
      { reason: 'SubnetsOverlap', text: 'two regions claim the same addresses; they are not routed' },
      { reason: 'VpnDriverDiffers', text: "a region's gateway node uses another VPN driver: there is no tunnel between the two" },
      { reason: 'PeerKeyMissing', text: "a gateway node has not published its WireGuard key yet, or has another node's" },
      { reason: 'RegionUnreachable', text: 'both regions are behind NATs, and no region with a public address relays' },
    ],
  },
];
