import { type ConditionText, GATEWAY_CONDITIONS, GATEWAY_EVENTS, TUNNEL_ENDPOINT_CONDITIONS } from '../../src/api/reasons.ts';
import { page, table } from './markdown.ts';

/** The reference of Events and conditions. */
export function eventsPage(): string {
  return page(
    '# Events and conditions',
    '## Events of a Gateway\n\nIn namespace `default`: `kubectl get events --field-selector involvedObject.kind=Gateway`.',
    table(
      ['reason', 'type', 'meaning'],
      GATEWAY_EVENTS.map(({ reason, type, text }) => [`\`${reason}\``, type, text]),
    ),
    ...conditions('Gateway', GATEWAY_CONDITIONS),
    ...conditions('TunnelEndpoint', TUNNEL_ENDPOINT_CONDITIONS),
  );
}

function conditions(kind: string, all: readonly ConditionText[]): string[] {
  const rows = all.flatMap(({ type, text, reasons }) => [
    [`**${type}**`, '', text],
    ...reasons.map(({ reason, text: why }) => ['', `\`${reason}\``, why]),
  ]);
  return [`## Conditions of a ${kind}\n\n\`True\` is good; the message says what to do.`, table(['condition', 'reason', 'meaning'], rows)];
}
