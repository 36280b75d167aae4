import { describe, expect, it } from 'vitest';
import { parseAgentOptions } from './options.ts';

const flags = {
  vpnDriver: 'ipsec',
  forwardNodeIp: 'false',
  charon: 'own',
  metricBindAddr: ':10265',
  healthBindAddr: ':10275',
  stateDir: '/var/lib/raven',
  runDir: '/run/raven',
  sysctlDir: '/proc/sys',
  namespace: 'kube-system',
  drainTimeout: '30',
  logLevel: 'info',
};

describe("the agent's options", () => {
  it('come from flags, and from the variables that the DaemonSet sets', () => {
    expect(
      parseAgentOptions({ ...flags, store: 'kube' }, { NODE_NAME: 'b1', NODE_IP: '192.0.2.7', VPN_CONNECTION_PSK: 'from the Secret' }),
    ).toEqual({
      node: 'b1',
      vpnDriver: 'ipsec',
      store: 'kube',
      psk: { text: 'from the Secret' },
      forwardNodeIp: false,
      charon: 'own',
      metrics: { host: '192.0.2.7', port: 10265 },
      health: { host: '127.0.0.1', port: 10275 },
      stateDir: '/var/lib/raven',
      runDir: '/run/raven',
      sysctlDir: '/proc/sys',
      namespace: 'kube-system',
      drainTimeoutMs: undefined,
      logLevel: 'info',
      cleanup: false,
    });
  });

  it('prefer flags to variables', () => {
    const env = { NODE_NAME: 'b1', NODE_IP: '192.0.2.7', VPN_CONNECTION_PSK: 'from the Secret' };
    expect(
      parseAgentOptions({ ...flags, node: 'a1', pskFile: '/psk', metricBindAddr: '0', healthBindAddr: '127.0.0.2:80' }, env),
    ).toMatchObject({
      node: 'a1',
      psk: { file: '/psk' },
      metrics: 'off',
      health: { host: '127.0.0.2', port: 80 },
    });
  });

  it('drain for so many seconds when told to', () => {
    expect(parseAgentOptions({ ...flags, node: 'b1', drain: true, drainTimeout: '45' }, {})).toMatchObject({ drainTimeoutMs: 45_000 });
  });

  it('take the settings of the Go implementation for what they mean', () => {
    expect(() => parseAgentOptions({ ...flags, vpnDriver: 'libreswan', forwardNodeIp: 'false' }, { NODE_NAME: 'b1' })).not.toThrow();
  });

  it.each<[Record<string, string>, Record<string, string>, RegExp]>([
    [{}, {}, /^--node: is required, as NODE_NAME is not set/],
    [{ node: 'b1', forwardNodeIp: 'maybe' }, {}, /^--forward-node-ip: is true or false/],
    [{ node: 'b1', vpnDriver: 'openvpn' }, {}, /^--vpn-driver: "openvpn" is not known; there is: ipsec, wireguard$/],
    [{ node: 'b1', charon: 'theirs' }, {}, /^--charon: "theirs" is not known; there is: own, external$/],
    [{ node: 'b1', metricBindAddr: '10265' }, {}, /^--metric-bind-addr: "10265" is no address/],
    [{ node: 'b1', drainTimeout: 'long' }, {}, /^--drain-timeout: must be 1 to 3600 seconds$/],
    [{ node: 'b1', drainTimeout: '0' }, {}, /^--drain-timeout: must be 1 to 3600 seconds$/],
    [{ node: 'b1' }, { NODE_IP: 'here' }, /^NODE_IP: "here" is no IP address/],
  ])('are refused when they are wrong: %j %j', (given, env, message) => {
    expect(() => parseAgentOptions({ ...flags, ...given }, env)).toThrow(message);
  });
});
